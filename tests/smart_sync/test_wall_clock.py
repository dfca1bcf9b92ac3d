from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_pipeline.smart_sync.interval import resolve_interval
from sync_pipeline.smart_sync.upper_bound import OpenTransaction, upper_bound
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.plans import moment

NEW_YORK = WallClock("America/New_York")
MICROSECOND = timedelta(microseconds=1)

# Zones and a moment at which each changes its offset: by one hour, by half an hour, by three hours, for good, by the
# whole day that Samoa left out and the one that Kwajalein had twice, and back and forth within a month of Ramadan.
CHANGES = {
    "America/New_York": ("2024-11-03 06:00", "2024-03-10 07:00"),
    "Europe/Berlin": ("2024-10-27 01:00", "2024-03-31 01:00"),
    "Australia/Lord_Howe": ("2024-04-06 15:00", "2024-10-05 15:30"),
    "Antarctica/Casey": ("2010-03-04 15:00", "2018-03-10 17:00"),
    "Asia/Pyongyang": ("2015-08-14 15:00", "2018-05-04 15:00"),
    "Africa/Casablanca": ("2024-03-10 02:00", "2024-04-14 02:00"),
    "Pacific/Apia": ("2011-12-30 10:00",),
    "Pacific/Kwajalein": ("1969-09-30 13:00",),
    "Asia/Kathmandu": ("1985-12-31 18:30",),
    "Asia/Tokyo": ("2024-01-01 00:00",),
    "UTC": ("2024-01-01 00:00",),
}
CASES = [(zone, moment(change)) for zone, changes in CHANGES.items() for change in changes]
_minutes = st.integers(-4 * 60, 4 * 60).map(lambda minutes: timedelta(minutes=minutes))
_near = st.tuples(st.sampled_from(CASES), _minutes, st.integers(0, 59_999_999)).map(
    lambda drawn: (WallClock(drawn[0][0]), drawn[0][1] + drawn[1] + timedelta(microseconds=drawn[2]))
)


@pytest.mark.parametrize(
    ("instant", "reading"),
    [
        pytest.param("2024-07-01 16:00:00", "2024-07-01 12:00:00", id="any time"),
        pytest.param("2024-11-03 05:00:00", "2024-11-03 00:59:59.999999", id="an hour before clocks are set back"),
        pytest.param("2024-11-03 05:30:00", "2024-11-03 00:59:59.999999", id="01:30 for the first time"),
        pytest.param("2024-11-03 06:00:00", "2024-11-03 01:00:00", id="01:00 for the second time"),
        pytest.param("2024-11-03 06:30:00", "2024-11-03 01:30:00", id="01:30 for the second time"),
        pytest.param("2024-03-10 06:59:59", "2024-03-10 01:59:59", id="before an hour that is left out"),
        pytest.param("2024-03-10 07:00:00", "2024-03-10 03:00:00", id="after it"),
    ],
)
def test_what_new_york_does_not_show_again(instant: str, reading: str) -> None:
    assert NEW_YORK.passed(moment(instant)) == moment(reading)


@given(_near, st.timedeltas(MICROSECOND, timedelta(hours=30)))
def test_every_later_moment_shows_a_later_time(near: tuple[WallClock, datetime], later: timedelta) -> None:
    clock, instant = near
    assert clock.passed(instant) < clock.reading(instant + later)
    assert clock.passed(instant) <= clock.passed(instant + later)


@given(_near)
def test_it_is_not_held_back_without_need(near: tuple[WallClock, datetime]) -> None:
    clock, instant = near
    passed = clock.passed(instant)
    shown_next = clock.earliest(passed + MICROSECOND)
    shown_again = (passed + MICROSECOND).replace(tzinfo=ZoneInfo(clock.zone), fold=1).astimezone(UTC)
    assert passed == clock.reading(instant) or max(shown_next, shown_again) > instant


@given(_near, st.timedeltas(timedelta(0), timedelta(hours=5)), st.timedeltas(timedelta(0), timedelta(hours=5)))
def test_a_lookback_reaches_all_that_was_shown_since(
    near: tuple[WallClock, datetime], lookback: timedelta, within: timedelta
) -> None:
    clock, instant = near
    start = clock.less(clock.reading(instant), lookback)
    assert start <= clock.reading(instant) - lookback
    assert within >= lookback or start < clock.reading(instant - within)


_writes = st.lists(st.tuples(_minutes, st.integers(0, 180)), min_size=1, max_size=8)
_runs = st.lists(_minutes, max_size=8)


@example(CASES[0], [(timedelta(0), 0), (timedelta(minutes=-60), 61)], [timedelta(minutes=1)])
@given(st.sampled_from(CASES), _writes, _runs)
def test_every_row_is_appended_once_whenever_it_commits(
    case: tuple[str, datetime], writes: list[tuple[timedelta, int]], runs: list[timedelta]
) -> None:
    zone, change = case
    clock = WallClock(zone)
    opened = [change + begin for begin, _ in writes]
    committed = [change + begin + timedelta(minutes=minutes) for begin, minutes in writes]
    stamps = [clock.reading(begin) for begin in opened]
    loaded: list[int] = []
    latest = None
    for now in (*sorted(change + run for run in runs), change + timedelta(days=4)):
        pending = [
            OpenTransaction(begin, "an application")
            for begin, end in zip(opened, committed, strict=True)
            if begin <= now < end
        ]
        safe = upper_bound(now, pending, settle=timedelta(), max_hold=timedelta(days=1))
        interval = resolve_interval(
            latest,
            clock.passed(safe.end),
            sync_all_on_empty_table=True,
            fallback_days=1,
            lookback=timedelta(),
            table_is_replaced=False,
            wall_clock=clock,
        )
        read = [
            row
            for row, stamp in enumerate(stamps)
            # What is not open any more is seen.
            if committed[row] <= now and interval.start < stamp <= interval.end
        ]
        loaded += read
        latest = max((stamps[row] for row in loaded), default=None)
    assert sorted(loaded) == list(range(len(writes)))


@pytest.mark.parametrize(("zone", "change"), CASES)
def test_the_end_never_goes_back(zone: str, change: datetime) -> None:
    clock = WallClock(zone)
    ends = [clock.passed(change + timedelta(minutes=minutes)) for minutes in range(-300, 300, 7)]
    assert all(before <= after for before, after in pairwise(ends))
