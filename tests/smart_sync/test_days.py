"""Smart Sync by a column of dates: rows of the latest day are read again, so that none is missed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval, bound_literal, resolve_interval
from sync_pipeline.smart_sync.steps import TimestampRange, step_of
from sync_pipeline.smart_sync.upper_bound import OpenTransaction, upper_bound
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.plans import moment

DAY = timedelta(days=1)
NEW_YORK = WallClock("America/New_York", shows_days=True)


def test_a_clock_that_shows_days() -> None:
    assert NEW_YORK.reading(moment("2025-07-22 03:59")) == moment("2025-07-21 00:00")
    assert NEW_YORK.passed(moment("2025-07-22 03:59")) == moment("2025-07-21 00:00")
    assert NEW_YORK.earliest(moment("2025-07-22 00:00")) == moment("2025-07-22 04:00")
    assert NEW_YORK.less(moment("2025-07-22 00:00"), DAY) == moment("2025-07-21 00:00")


@pytest.mark.parametrize(("zone", "day"), [("America/New_York", "2024-11-03"), ("America/New_York", "2024-03-10")])
def test_a_day_less_is_before_the_day_whatever_the_clocks_do(zone: str, day: str) -> None:
    clock = WallClock(zone, shows_days=True)
    assert clock.less(moment(f"{day} 00:00"), DAY) <= moment(f"{day} 00:00") - DAY


def test_a_step_ends_with_a_day() -> None:
    whole = SyncInterval(moment("2025-07-01"), moment("2025-07-22"), StartOrigin.FALLBACK, wall_clock=NEW_YORK)
    found = TimestampRange(moment("2025-07-03"), moment("2025-07-20"))
    assert step_of(whole, whole, found, timedelta(hours=30)).end == moment("2025-07-04")
    assert step_of(whole, whole, found, timedelta(hours=1)).end == moment("2025-07-03")
    assert str(step_of(whole, whole, found, DAY)) == "(2025-07-01, 2025-07-04]"


def test_literals() -> None:
    at = moment("2025-07-22 13:00")
    assert bound_literal(at, "TIMESTAMP") == "TIMESTAMP '2025-07-22 13:00:00.000000+00'"
    assert bound_literal(at, "DATETIME") == "DATETIME '2025-07-22 13:00:00.000000'"
    assert bound_literal(at, "DATE") == "DATE '2025-07-22'"


# Transactions: when each begins, and how long it is open. Runs: when each reads its clock. In hours.
_times = st.integers(0, 24 * 8)


def lost(transactions: list[tuple[int, int]], runs: list[int], zone: str, lookback: timedelta) -> set[int]:
    """Return the rows that no run has loaded: each transaction writes one, with its first day as the date."""
    clock = WallClock(zone, shows_days=True)
    begin = moment("2024-11-01 00:00")
    spans = [(begin + timedelta(hours=at), begin + timedelta(hours=at + open_for)) for at, open_for in transactions]
    loaded: set[int] = set()
    for at in [*sorted(runs), 24 * 30]:
        now = begin + timedelta(hours=at, minutes=30)
        dates = {row: clock.reading(start) for row, (start, end) in enumerate(spans) if end <= now}
        open_ones = [OpenTransaction(start, "x") for start, end in spans if start <= now < end]
        safe = upper_bound(now, open_ones, settle=timedelta(), max_hold=timedelta(days=365))
        interval = resolve_interval(
            max((dates[row] for row in loaded), default=None),
            clock.passed(safe.end),
            sync_all_on_empty_table=True,
            fallback_days=1,
            lookback=lookback,
            table_is_replaced=False,
            wall_clock=clock,
        )
        within = {row for row, day in dates.items() if day <= interval.end}
        loaded |= {row for row in within if interval.after is None or dates[row] > interval.after}
    return set(range(len(spans))) - loaded


@given(
    transactions=st.lists(st.tuples(_times, st.integers(0, 60)), min_size=1, max_size=8),
    runs=st.lists(_times, max_size=10),
    zone=st.sampled_from(["UTC", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]),
    lookback=st.sampled_from([DAY, DAY + timedelta(hours=7), 3 * DAY]),
)
def test_no_row_is_lost(transactions: list[tuple[int, int]], runs: list[int], zone: str, lookback: timedelta) -> None:
    assert not lost(transactions, runs, zone, lookback)


def test_without_the_lookback_rows_are_lost() -> None:
    assert lost([(0, 0), (5, 0)], [1], "UTC", timedelta()) == {1}
    assert not lost([(0, 0), (5, 0)], [1], "UTC", DAY)


def test_less_than_a_day_reaches_the_day_before_too() -> None:
    """Readings are days, so that any lookback begins before the latest day; a whole day says so."""
    latest = datetime.fromisoformat("2025-07-22T00:00+00:00")
    assert NEW_YORK.less(latest, timedelta(hours=1)) == latest - DAY
