"""Timestamps without a time zone: readings of a wall clock, and which readings it will not show again.

This package writes a reading of a wall clock as if it were UTC. When clocks are set back, the wall clock shows some
times twice; when they are set forward, it skips some. A column of dates holds readings of a clock that shows only the
day, which is written as its midnight. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

# The origin of a zone that the user gave.
ZONE_GIVEN = "from smart_sync_time_zone"

_UTC_NAMES = frozenset({"UTC", "ETC/UTC", "GMT", "ETC/GMT", "UCT", "ETC/UCT", "ZULU", "ETC/ZULU"})

_MICROSECOND = timedelta(microseconds=1)
_STEP = timedelta(hours=1)

# Offsets from UTC lie within one day on either side, so a change of the offset later than this cannot repeat a reading.
_HORIZON = timedelta(days=2)


@dataclass(frozen=True)
class WallClock:
    """The clock that a column without a time zone holds readings of.

    Attributes:
        zone: IANA time zone name, such as `America/New_York`.
        origin: what determined the zone, for the plan.
        shows_days: whether the column holds dates. Rows of a day that the clock still shows may follow.
    """

    zone: str
    origin: str = ""
    shows_days: bool = False

    def __str__(self) -> str:
        return f"{self.zone}, {self.origin}" if self.origin else self.zone

    @cached_property
    def _info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @property
    def is_utc(self) -> bool:
        return self.zone.upper() in _UTC_NAMES

    def reading(self, instant: datetime) -> datetime:
        """Return the clock's reading at `instant`, written as UTC."""
        return self.shown(instant.astimezone(self._info).replace(tzinfo=UTC, fold=0))

    def shown(self, reading: datetime) -> datetime:
        """Return what the clock shows of a reading: all of it, or its day."""
        return reading.replace(hour=0, minute=0, second=0, microsecond=0) if self.shows_days else reading

    def passed(self, instant: datetime) -> datetime:
        """Return the latest reading that the clock cannot show again after `instant`; of days, the day that it shows.

        Usually this is the reading at `instant`. Shortly before clocks are set back it is the reading just before the
        first one that repeats, until the clock has passed the repeated time.
        """
        lowest = self.reading(instant)
        before = instant
        while before < instant + _HORIZON:
            after = before + _STEP
            if self._offset(after) < self._offset(before):
                lowest = min(lowest, self._first_reading_after_change(before, after) - _MICROSECOND)
            before = after
        return self.shown(lowest)

    def earliest(self, reading: datetime) -> datetime:
        """Return the first instant at which the clock shows `reading`; for a skipped reading, an instant before it."""
        local = reading.replace(tzinfo=self._info)
        return min(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

    def less(self, reading: datetime, duration: timedelta) -> datetime:
        """Return a reading before every reading that the clock showed since `duration` before `reading`.

        Of days, it is before the day of `reading` if the duration is at least a day.
        """
        return self.shown(min(reading - duration, self.passed(self.earliest(reading) - duration)))

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self._info).utcoffset()
        assert offset is not None, "every zone has an offset at every instant"
        return offset

    def _first_reading_after_change(self, before: datetime, after: datetime) -> datetime:
        """Return the reading right after the offset changes between two instants."""
        old = self._offset(before)
        while after - before > _MICROSECOND:
            middle = before + (after - before) / 2
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return after.astimezone(self._info).replace(tzinfo=UTC, fold=0)
