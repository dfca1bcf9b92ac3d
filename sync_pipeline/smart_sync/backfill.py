"""A backfill: an interval that the user names is loaded again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sync_pipeline.smart_sync.wall_clock import WallClock


@dataclass(frozen=True)
class Backfill:
    """(start, end], as Smart Sync's own intervals: adjoining backfills neither leave out a row nor load one twice.

    Both bounds are aware, or both are naive: readings of a wall clock.
    """

    start: datetime
    end: datetime

    @property
    def has_zone(self) -> bool:
        """Whether the bounds have a time zone."""
        return self.start.tzinfo is not None

    def shown_by(self, wall_clock: WallClock | None) -> tuple[datetime, datetime]:
        """Return both bounds aware, in UTC: with `wall_clock` its readings, written as UTC.

        Raises:
            ValueError: a bound has no time zone, and there is no wall clock.
        """
        return _shown(self.start, wall_clock), _shown(self.end, wall_clock)


def _shown(moment: datetime, wall_clock: WallClock | None) -> datetime:
    if wall_clock is None:
        if moment.tzinfo is None:
            raise ValueError("a bound without a time zone")
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else wall_clock.reading(moment)
