"""Smart Sync: the interval of the timestamp column that a run reads. Pure: clocks and answers are arguments.

The column has timestamps, readings of a wall clock, dates, or numbers of a sequence: see `Bound`.

A run reads the half-open interval (start, end]. `start` is the latest timestamp in the destination, so a run does not
read rows again that an earlier run loaded. `end` is a safe upper bound from the source's own clock: it lies before the
start of every transaction that may still commit rows with an older timestamp. If such a row appeared below the
destination's latest timestamp after the read, no run would ever read it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sync_pipeline.smart_sync.wall_clock import WallClock

# A bound of an interval: a timestamp, aware, in UTC; a reading of a wall clock, written as UTC; a number of a sequence.
type Bound = datetime | int

# The start of "all historical data" where a query needs a value. A run over everything reads older rows too.
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)


# The earliest and the latest timestamp that BigQuery holds.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

# The lowest number that SQL reads as a bigint, so that an index on the column serves.
LOWEST_NUMBER = 1 - 2**63

# More than the offset of any wall clock from UTC.
_ZONES = timedelta(days=3)


class StartOrigin(enum.Enum):
    """What determined the start of an interval. The value is the sentence in the plan."""

    DESTINATION = "latest timestamp in the destination"
    LOOKBACK = "latest timestamp in the destination, less smart_sync_lookback_seconds"
    EVERYTHING = "the destination is empty and sync_all_on_empty_table=true; includes older rows"
    FALLBACK = "the destination is empty and sync_all_on_empty_table=false: fallback_days back from the end"
    BACKFILL = "interval_start; the run loads the interval again"
    REPLACED = "delete_existing_table=true: the run replaces the table; includes older rows"
    RECONCILE = "reconcile; the run compares all rows, whatever their timestamps are"


@dataclass(frozen=True)
class SyncInterval:
    """(start, end]: `start` was loaded before, `end` is included. Timestamps are aware, in UTC, to the microsecond.

    If `is_everything`, rows before `start` belong to the interval too; `start` is only a value for queries.

    Attributes:
        latest: the destination's latest timestamp at planning time, None if it had none. Of all runs planned with the
            same `latest`, only one may publish.
        wall_clock: the clock of a column without a time zone. `start`, `end` and `latest` are then readings of that
            clock, written as UTC. None if the column's timestamps have a time zone.
        more_is_left: whether the source has rows after `end` that a run could load already; see `smart_sync.steps`.
    """

    start: Bound
    end: Bound
    origin: StartOrigin
    latest: Bound | None = None
    wall_clock: WallClock | None = None
    more_is_left: bool = False

    def __post_init__(self) -> None:
        if any(isinstance(bound, datetime) and bound.tzinfo is None for bound in (self.start, self.end)):
            raise ValueError("a SyncInterval needs time zone aware timestamps")
        if isinstance(self.start, datetime) is not isinstance(self.end, datetime):
            raise ValueError("a SyncInterval is of timestamps or of numbers")

    def __str__(self) -> str:
        if self.is_unbounded:
            return "all"
        if self.wall_clock is not None and self.wall_clock.shows_days:
            return f"({as_moment(self.start).date()}, {as_moment(self.end).date()}]"
        text = f"({bound_text(self.start)}, {bound_text(self.end)}]"
        return text if self.wall_clock is None or self.wall_clock.is_utc else text.replace("+00", "")

    @property
    def is_everything(self) -> bool:
        """Whether the run reads all rows up to `end`, including rows before `start`."""
        return self.origin in (StartOrigin.EVERYTHING, StartOrigin.REPLACED, StartOrigin.RECONCILE)

    @property
    def is_unbounded(self) -> bool:
        """Whether the run reads all rows: those without a timestamp and those from the future too.

        `start` and `end` are only values for queries.
        """
        return self.origin is StartOrigin.RECONCILE

    @property
    def is_backfill(self) -> bool:
        """Whether the run loads an interval again that the user has named."""
        return self.origin is StartOrigin.BACKFILL

    @property
    def after(self) -> Bound | None:
        """The exclusive lower bound of the rows; None if the run reads everything."""
        return None if self.is_everything else self.start

    @property
    def end_moment(self) -> datetime | None:
        """The instant of `end`; None for a number. If the wall clock shows `end` twice, the earlier instant."""
        if not isinstance(self.end, datetime):
            return None
        return self.end if self.wall_clock is None else self.wall_clock.earliest(self.end)


# The interval of all rows, for a query that has placeholders for its bounds.
ALL_TIMESTAMPS = SyncInterval(BEGINNING, LATEST, StartOrigin.EVERYTHING)


@dataclass(frozen=True)
class LatestTimestamp:
    """The destination's latest timestamp or number.

    Attributes:
        value: the latest timestamp at or before the source's clock; None if the destination has none.
        future: the latest timestamp of all if it lies after the source's clock, else None.
    """

    value: Bound | None = None
    future: Bound | None = None


def resolve_interval(
    latest: Bound | None,
    end: Bound,
    *,
    sync_all_on_empty_table: bool,
    fallback_days: int,
    lookback: timedelta,
    table_is_replaced: bool,
    wall_clock: WallClock | None,
) -> SyncInterval:
    """Return the interval to read.

    If `end` lies before the start (the source's clock was set back, or open transactions hold the end back), the
    interval is empty. A later run then reads the rows.

    Args:
        latest: the destination's latest timestamp at or before the source's clock; None for an empty table.
        end: the safe upper bound. Lookback and `fallback_days` are for timestamps only.
        sync_all_on_empty_table: if `latest` is None, read everything instead of the last `fallback_days`.
        fallback_days: days before `end` at which to start if the run does not read everything.
        lookback: time before `latest` at which to start; only for merges.
        table_is_replaced: the run replaces the destination's rows, so `latest` does not count.
        wall_clock: the clock of a column without a time zone; `latest` and `end` are readings of it.
    """
    if latest is not None and not table_is_replaced:
        start = _less(as_moment(latest), lookback, wall_clock) if lookback else latest
        origin = StartOrigin.LOOKBACK if lookback else StartOrigin.DESTINATION
        return SyncInterval(start, _later(start, end), origin, latest, wall_clock)
    if sync_all_on_empty_table:
        origin = StartOrigin.REPLACED if table_is_replaced else StartOrigin.EVERYTHING
        beginning = BEGINNING if isinstance(end, datetime) else min(0, end)
        return SyncInterval(beginning, end, origin, wall_clock=wall_clock)
    start = as_moment(end) - timedelta(days=fallback_days)
    return SyncInterval(start, end, StartOrigin.FALLBACK, wall_clock=wall_clock)


def as_moment(bound: Bound) -> datetime:
    """Return a bound that is no number."""
    assert isinstance(bound, datetime), "what needs timestamps is refused for numbers"
    return bound


def is_later(bound: Bound, other: Bound) -> bool:
    """Whether a bound lies after another of the same kind."""
    if isinstance(bound, datetime):
        return bound > as_moment(other)
    assert not isinstance(other, datetime), "of the same kind"
    return bound > other


def _later(bound: Bound, other: Bound) -> Bound:
    return bound if is_later(bound, other) else other


def _less(latest: datetime, lookback: timedelta, wall_clock: WallClock | None) -> datetime:
    if latest - EARLIEST < lookback + _ZONES:
        return EARLIEST
    return latest - lookback if wall_clock is None else wall_clock.less(latest, lookback)


def zone_without_effect(column: str) -> str:
    """Return the warning for smart_sync_time_zone on a column whose timestamps have a time zone."""
    return f"smart_sync_time_zone is ignored: the timestamps of {column} already have a time zone"


def bound_text(bound: Bound) -> str:
    """Return a number, or the timestamp in UTC with microseconds and offset: `2025-07-22 13:00:00.000000+00`."""
    if not isinstance(bound, datetime):
        return str(bound)
    return bound.astimezone(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix(":00")


def bound_literal(bound: Bound, type_name: str) -> str:
    """Return a bound as a literal of GoogleSQL: of TIMESTAMP, DATETIME or DATE, or a number."""
    text = bound_text(bound)
    if not isinstance(bound, datetime):
        return text
    if type_name != "TIMESTAMP":
        # Readings of a wall clock are written as if they were UTC.
        text = str(bound.date()) if type_name == "DATE" else text.removesuffix("+00")
    return f"{type_name} '{text}'"
