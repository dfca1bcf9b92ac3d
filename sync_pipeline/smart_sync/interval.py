"""Smart Sync: which interval of the timestamp column a run reads. Pure: clocks and answers are arguments.

A run reads the half-open interval (start, end]. `start` is the latest timestamp the destination holds, so what was
loaded before is not read again. `end` comes from the source's own clock, and is held back behind every transaction
that may still commit rows with an older stamp: what commits after the read with a stamp below the destination's
latest would never be read.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sync_pipeline.smart_sync.wall_clock import WallClock

# How "all historical data" begins where a text has to say it; rows from before are read as well.
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)


# The earliest and the latest timestamp that BigQuery holds.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

# More than a wall clock can be from UTC.
_ZONES = timedelta(days=3)


class StartOrigin(enum.Enum):
    """Where the start of an interval came from; the value is the sentence shown in the plan."""

    DESTINATION = "latest timestamp in the destination"
    LOOKBACK = "latest timestamp in the destination, less smart_sync_lookback_seconds"
    EVERYTHING = "the destination is empty and sync_all_on_empty_table=true; older rows are read too"
    FALLBACK = "the destination is empty and sync_all_on_empty_table=false: fallback_days back from the end"
    REPLACED = "delete_existing_table=true: the table is loaded anew, with older rows too"


@dataclass(frozen=True)
class SyncInterval:
    """(start, end]: `start` was loaded before, `end` is included. Both are aware, in UTC, to the microsecond.

    The interval of everything has no start but for a text that has to name one: see `is_everything`.

    Attributes:
        latest: the destination's latest timestamp when the run was planned, None when it held none. Of runs that
            were planned with the same one, only one may publish.
        wall_clock: for a column without a time zone, the clock of its stamps: all three are readings of it, written as
            UTC. None where the column's timestamps are moments.
    """

    start: datetime
    end: datetime
    origin: StartOrigin
    latest: datetime | None = None
    wall_clock: WallClock | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a SyncInterval needs time zone aware timestamps")

    def __str__(self) -> str:
        text = f"({timestamp_text(self.start)}, {timestamp_text(self.end)}]"
        return text if self.wall_clock is None or self.wall_clock.is_utc else text.replace("+00", "")

    @property
    def is_everything(self) -> bool:
        """Whether all rows up to the end are read, also those from before `start`."""
        return self.origin in (StartOrigin.EVERYTHING, StartOrigin.REPLACED)

    @property
    def after(self) -> datetime | None:
        """What the rows are later than; None where everything is read."""
        return None if self.is_everything else self.start

    @property
    def end_moment(self) -> datetime:
        """The moment of the end, which a wall clock may show twice: the first."""
        return self.end if self.wall_clock is None else self.wall_clock.earliest(self.end)


@dataclass(frozen=True)
class LatestTimestamp:
    """What the destination answered.

    Attributes:
        value: the latest timestamp that is not in the source's future; None when there is none.
        future: the latest timestamp of all when it lies in the source's future, else None.
    """

    value: datetime | None = None
    future: datetime | None = None


def resolve_interval(
    latest: datetime | None,
    end: datetime,
    *,
    sync_all_on_empty_table: bool,
    fallback_days: int,
    lookback: timedelta = timedelta(),
    table_is_replaced: bool = False,
    wall_clock: WallClock | None = None,
) -> SyncInterval:
    """Return the interval to read.

    Args:
        latest: the destination's latest timestamp that is not in the source's future; None for an empty table.
        end: the safe end.
        sync_all_on_empty_table: with no latest timestamp, read everything rather than the last days.
        fallback_days: how many days before the end to start when not reading everything.
        lookback: how far to start before the latest timestamp; only for rows that are merged.
        table_is_replaced: the destination's rows go away, so what it holds does not count.
        wall_clock: for a column without a time zone, the clock that `latest` and `end` are readings of.

    An end that lies before the start (the source's clock was set back, or the end is held back) gives an empty
    interval, not an error: the rows come with a later run.
    """
    if latest is not None and not table_is_replaced:
        start = _less(latest, lookback, wall_clock) if lookback else latest
        origin = StartOrigin.LOOKBACK if lookback else StartOrigin.DESTINATION
        return SyncInterval(start, max(start, end), origin, latest, wall_clock)
    if sync_all_on_empty_table:
        origin = StartOrigin.REPLACED if table_is_replaced else StartOrigin.EVERYTHING
        return SyncInterval(BEGINNING, end, origin, wall_clock=wall_clock)
    return SyncInterval(end - timedelta(days=fallback_days), end, StartOrigin.FALLBACK, wall_clock=wall_clock)


def _less(latest: datetime, lookback: timedelta, wall_clock: WallClock | None) -> datetime:
    if latest - EARLIEST < lookback + _ZONES:
        return EARLIEST
    return latest - lookback if wall_clock is None else wall_clock.less(latest, lookback)


def zone_without_effect(column: str) -> str:
    """Return what is said where a time zone was given for timestamps that have one."""
    return f"smart_sync_time_zone is ignored: the timestamps of {column} are moments, whichever the zone"


def timestamp_text(timestamp: datetime) -> str:
    """Return `2025-07-22 13:00:00.000000+00`: microseconds and the offset, whatever the session's time zone."""
    return timestamp.astimezone(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix(":00")
