"""Timestamps without a time zone: what the wall clock of their zone shows, and which times it will not show again.

A reading of a wall clock is written as if it were UTC, here and wherever such timestamps are compared. Where clocks
are set back, the wall clock shows some times twice; where they are set forward, it leaves some out. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

# Who says which zone it is, where the user does.
ZONE_GIVEN = "as smart_sync_time_zone says"

_UTC_NAMES = frozenset({"UTC", "ETC/UTC", "GMT", "ETC/GMT", "UCT", "ETC/UCT", "ZULU", "ETC/ZULU"})

_MICROSECOND = timedelta(microseconds=1)
_STEP = timedelta(hours=1)

# Offsets from UTC lie within a day on either side, so no change of them that comes later than this can lead back.
_HORIZON = timedelta(days=2)


@dataclass(frozen=True)
class WallClock:
    """The clock by which rows are stamped in a column without a time zone.

    Attributes:
        zone: its name in the IANA time zone database, such as `America/New_York`.
        origin: who says so, for the plan.
    """

    zone: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.zone}, {self.origin}" if self.origin else self.zone

    @cached_property
    def _info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @property
    def is_utc(self) -> bool:
        return self.zone.upper() in _UTC_NAMES

    def reading(self, instant: datetime) -> datetime:
        """Return what the clock shows at `instant`, written as UTC."""
        return instant.astimezone(self._info).replace(tzinfo=UTC, fold=0)

    def passed(self, instant: datetime) -> datetime:
        """Return the latest reading that no moment after `instant` can show: all of those show a later one.

        It is the clock's reading, but for the time before clocks are set back: then it is just before the first reading
        that comes again, until that has come again.
        """
        lowest = self.reading(instant)
        before = instant
        while before < instant + _HORIZON:
            after = before + _STEP
            if self._offset(after) < self._offset(before):
                lowest = min(lowest, self._first_reading_after_change(before, after) - _MICROSECOND)
            before = after
        return lowest

    def earliest(self, reading: datetime) -> datetime:
        """Return a moment at or before the first at which the clock shows `reading`, or would have shown it."""
        local = reading.replace(tzinfo=self._info)
        return min(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

    def less(self, reading: datetime, duration: timedelta) -> datetime:
        """Return a reading that is before all that the clock has shown from `duration` before `reading` on."""
        return min(reading - duration, self.passed(self.earliest(reading) - duration))

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self._info).utcoffset()
        assert offset is not None, "every zone has an offset at every moment"
        return offset

    def _first_reading_after_change(self, before: datetime, after: datetime) -> datetime:
        """Return what the clock shows at the moment at which its offset changes, between two moments."""
        old = self._offset(before)
        while after - before > _MICROSECOND:
            middle = before + (after - before) / 2
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return self.reading(after)
