"""Intervals of numbers that a sequence gives out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sync_pipeline.parameters.config import SmartSyncConfig
from sync_pipeline.planning.staging_names import FOLDER, folder_name, start_name
from sync_pipeline.smart_sync.interval import (
    StartOrigin,
    SyncInterval,
    bound_literal,
    bound_text,
    is_later,
    resolve_interval,
)
from sync_pipeline.sources.interval_query import IntervalQuery
from tests.plans import moment

SMART_SYNC = SmartSyncConfig("id", True, 1, timedelta(), timedelta(), timedelta(), include_null_timestamps=False)


def resolved(latest: int | None, end: int, *, table_is_replaced: bool = False) -> SyncInterval:
    return resolve_interval(
        latest,
        end,
        sync_all_on_empty_table=True,
        fallback_days=1,
        lookback=timedelta(),
        table_is_replaced=table_is_replaced,
        wall_clock=None,
    )


@pytest.mark.parametrize(
    ("latest", "end", "text", "origin", "condition"),
    [
        (3, 5, "(3, 5]", StartOrigin.DESTINATION, "{column} > 3 AND {column} <= 5"),
        (0, 5, "(0, 5]", StartOrigin.DESTINATION, "{column} > 0 AND {column} <= 5"),
        (-9, -2, "(-9, -2]", StartOrigin.DESTINATION, "{column} > -9 AND {column} <= -2"),
        # The sequence stands where the last run left it.
        (5, 5, "(5, 5]", StartOrigin.DESTINATION, "{column} > 5 AND {column} <= 5"),
        # A concurrent run has loaded later numbers.
        (7, 5, "(7, 7]", StartOrigin.DESTINATION, "{column} > 7 AND {column} <= 7"),
        (None, 5, "(0, 5]", StartOrigin.EVERYTHING, "{column} <= 5"),
        (None, -5, "(-5, -5]", StartOrigin.EVERYTHING, "{column} <= -5"),
    ],
)
def test_intervals(latest: int | None, end: int, text: str, origin: StartOrigin, condition: str) -> None:
    interval = resolved(latest, end)
    assert (str(interval), interval.origin, interval.latest) == (text, origin, latest)
    assert interval.end_moment is None
    assert IntervalQuery("", SMART_SYNC).condition(interval) == condition


def test_a_table_that_is_replaced_is_read_from_its_first_row() -> None:
    assert resolved(3, 5, table_is_replaced=True).after is None


def test_bounds_of_two_kinds_are_no_interval() -> None:
    with pytest.raises(ValueError, match="of timestamps or of numbers"):
        SyncInterval(1, moment("2025-07-22 15:00"), StartOrigin.DESTINATION)


def test_texts() -> None:
    assert (bound_text(-5), bound_literal(-5, "INT64")) == ("-5", "-5")


@pytest.mark.parametrize(("bound", "other", "later"), [(2, 1, True), (1, 1, False), (-1, 0, False)])
def test_is_later(bound: int, other: int, *, later: bool) -> None:
    assert is_later(bound, other) is later


def test_names_of_folders_sort_as_their_numbers() -> None:
    numbers = [1 - 2**63, -10, -1, 0, 1, 9, 10, 2**63 - 1]
    names = [start_name(None), *map(start_name, numbers)]
    assert names == sorted(names)
    for name in names:
        match = FOLDER.match(folder_name(name, "20250722T150000_1f0c9a7b"))
        assert match is not None
        assert match["start"] == name
