from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.smart_sync.interval import BEGINNING, LATEST, StartOrigin, SyncInterval
from sync_pipeline.smart_sync.steps import TimestampRange, step_of, unloaded_part
from tests.plans import INTERVAL, moment

HOUR = timedelta(hours=1)
FIRST = SyncInterval(BEGINNING, moment("2025-07-22 15:00"), StartOrigin.EVERYTHING)


def step(interval: SyncInterval, longest: timedelta, *timestamps: datetime) -> SyncInterval:
    """Return the step that a run takes of an interval in which a source has rows with these timestamps."""
    unloaded = unloaded_part(interval, longest)
    if unloaded is None:
        return interval
    inside = [at for at in timestamps if (unloaded.after is None or at > unloaded.after) and at <= unloaded.end]
    found = TimestampRange(min(inside), max(inside)) if inside else None
    return step_of(unloaded, interval, found, longest)


def test_a_short_interval_is_not_asked_about() -> None:
    assert unloaded_part(INTERVAL, 2 * HOUR) is None
    assert unloaded_part(INTERVAL, HOUR) is not None
    assert unloaded_part(FIRST, timedelta(days=1)) is not None


def test_a_first_load_begins_at_the_oldest_timestamp_and_reads_what_is_older_too() -> None:
    found = step(FIRST, HOUR, moment("2020-01-01 00:00"), moment("2025-01-01 00:00"))
    assert found == replace(FIRST, end=moment("2020-01-01 01:00"), more_is_left=True)
    assert found.is_everything


def test_an_empty_stretch_takes_no_step() -> None:
    found = step(INTERVAL, timedelta(minutes=5), moment("2025-07-22 14:10"), moment("2025-07-22 14:50"))
    assert found == replace(INTERVAL, end=moment("2025-07-22 14:15"), more_is_left=True)


@pytest.mark.parametrize("timestamps", [(), ("2025-07-22 14:10",), ("2025-07-22 14:10", "2025-07-22 14:15")])
def test_rows_within_one_step_are_the_last_and_leave_nothing(timestamps: tuple[str, ...]) -> None:
    assert step(INTERVAL, timedelta(minutes=5), *map(moment, timestamps)) == INTERVAL


def test_a_lookback_is_read_besides_the_step() -> None:
    """And does not count for it: a step shorter than the lookback would never get beyond the latest timestamp."""
    looking_back = replace(INTERVAL, start=moment("2025-07-20 13:00"), origin=StartOrigin.LOOKBACK)
    timestamps = [moment("2025-07-21 00:00"), moment("2025-07-22 13:30"), moment("2025-07-22 14:45")]
    found = step(looking_back, HOUR, *timestamps)
    assert (found.start, found.end) == (looking_back.start, moment("2025-07-22 14:30"))
    assert step(looking_back, 2 * HOUR, *timestamps) == looking_back


def test_a_row_that_a_query_returns_before_the_start_does_not_move_the_end_back() -> None:
    unloaded = unloaded_part(INTERVAL, HOUR)
    assert unloaded is not None
    found = TimestampRange(moment("2020-01-01 00:00"), INTERVAL.end)
    assert step_of(unloaded, INTERVAL, found, HOUR).end == INTERVAL.start + HOUR


def test_the_last_timestamp_of_all() -> None:
    found = TimestampRange(LATEST - HOUR, LATEST)
    assert step_of(FIRST, FIRST, found, timedelta(days=36_500)) == FIRST


@given(
    minutes=st.lists(st.integers(0, 100_000), min_size=1, max_size=20),
    hours=st.integers(1, 300),
    lookback=st.integers(0, 3000),
)
def test_steps_load_each_row_once_and_end(minutes: list[int], hours: int, lookback: int) -> None:
    begin, longest = moment("2025-01-01 00:00"), timedelta(hours=hours)
    rows = [begin + timedelta(minutes=number) for number in minutes]
    end = begin + timedelta(minutes=90_000)
    loaded: list[datetime] = []
    for _ in range(len(rows) + 1):
        latest = max(loaded, default=None)
        whole = SyncInterval(BEGINNING, end, StartOrigin.EVERYTHING)
        if latest is not None:
            back = latest - timedelta(minutes=lookback)
            whole = SyncInterval(back, end, StartOrigin.LOOKBACK if lookback else StartOrigin.DESTINATION, latest)
        taken = step(whole, longest, *rows)
        new = [at for at in rows if (latest is None or at > latest) and at <= taken.end]
        assert not new or max(new) - min(new) <= longest
        loaded += new
        if not taken.more_is_left:
            break
        assert new
    else:
        pytest.fail("the steps do not end")
    assert sorted(loaded) == sorted(at for at in rows if at <= end)
