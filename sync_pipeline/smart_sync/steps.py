"""Long intervals in steps: a run takes only so much of an interval, and the next ones the rest. Pure.

A step ends so long after the first timestamp that is not loaded yet, however far from the interval's start that is.
So it has at least one row, which moves the destination's latest timestamp: every step gets further, and a stretch
without rows takes no step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sync_pipeline.smart_sync.interval import LATEST, SyncInterval, as_moment


@dataclass(frozen=True)
class TimestampRange:
    """The earliest and the latest timestamp of the source's rows in an interval, as bounds of intervals are written."""

    first: datetime
    last: datetime


def unloaded_part(interval: SyncInterval, longest: timedelta) -> SyncInterval | None:
    """Return the part of an interval that no run has loaded, which a lookback is not; None if it is not too long."""
    start = as_moment(interval.start)
    if interval.latest is not None:
        start = max(start, as_moment(interval.latest))
    if not interval.is_everything and as_moment(interval.end) - start <= longest:
        return None
    return replace(interval, start=start)


def step_of(
    unloaded: SyncInterval, interval: SyncInterval, found: TimestampRange | None, longest: timedelta
) -> SyncInterval:
    """Return the part of `interval` that this run takes: all of it if the rows end within a step.

    Args:
        unloaded: see `unloaded_part`.
        found: the range of its timestamps; None if it has no rows.
    """
    if found is None:
        return interval
    # A query whose placeholders compare something else may return rows before the start.
    first = found.first if unloaded.after is None else max(found.first, as_moment(unloaded.start))
    if LATEST - first <= longest:
        return interval
    end = first + longest if interval.wall_clock is None else interval.wall_clock.shown(first + longest)
    return interval if found.last <= end else replace(interval, end=end, more_is_left=True)
