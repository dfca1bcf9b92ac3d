"""Plans a backfill: an interval that earlier runs have loaded is loaded again, and replaced in one change.

Smart Sync continues from the destination's latest timestamp, so a backfill must not move that past rows that are not
loaded: its interval begins in what is loaded, and ends where no new row can appear any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB
from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.smart_sync.backfill import Backfill
from sync_pipeline.smart_sync.interval import Bound, StartOrigin, SyncInterval, as_moment, bound_text, is_later
from sync_pipeline.sources.source import SourceClock

# The shortest time that a partition covers.
_PARTITION_TIMES = {
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
    "MONTH": timedelta(days=28),
    "YEAR": timedelta(days=365),
}


def backfill_interval(
    backfill: Backfill,
    column: str,
    clock: SourceClock,
    table_id: str,
    table: ExistingTable | None,
    latest: Bound | None,
) -> SyncInterval:
    """Return the interval of a backfill.

    Args:
        column: the destination's name of the timestamp column.
        table: the destination; None if it does not exist.
        latest: the latest timestamp in it; None if it has none.

    Raises:
        ConfigError: the interval cannot be loaded, or a row could be lost by it.
    """
    if clock.wall_clock is None and not backfill.has_zone:
        problem = f"interval_start and interval_end have no time zone, but the timestamps of {column} have one"
        raise ConfigError([f"{problem}: write, for example, {backfill.start.isoformat()}Z"])
    start, end = backfill.shown_by(clock.wall_clock)
    interval = SyncInterval(start, end, StartOrigin.BACKFILL, latest, clock.wall_clock)
    problem = (
        _wrong_bounds(interval, clock)
        or _wrong_place(interval, column, table_id)
        or (_too_many_partitions(interval, column, table) if table is not None else "")
    )
    if problem:
        raise ConfigError([problem])
    return interval


def _wrong_bounds(interval: SyncInterval, clock: SourceClock) -> str:
    start, end = (_shown(bound, interval) for bound in (interval.start, interval.end))
    if not is_later(interval.end, interval.start):
        # In the hour that a wall clock shows twice.
        return f"interval_start and interval_end are {start} and {end} by the wall clock of {clock.wall_clock}"
    if is_later(interval.end, clock.upper_bound):
        upper_bound = _shown(clock.upper_bound, interval)
        return f"interval_end is {end}, and the source may still get rows up to then: give at most {upper_bound}"
    return ""


def _wrong_place(interval: SyncInterval, column: str, table_id: str) -> str:
    if interval.latest is None:
        return (
            f"interval_start is given, but {table_id} has no timestamp in {column}: omit interval_start and "
            "interval_end, so that Smart Sync loads the table"
        )
    if is_later(interval.start, interval.latest):
        start, latest = (_shown(moment, interval) for moment in (interval.start, interval.latest))
        return (
            f"interval_start is {start}, but the latest {column} in {table_id} is {latest}: no run would load the rows "
            f"in between; give at most {latest}, or omit interval_start and interval_end"
        )
    return ""


def _too_many_partitions(interval: SyncInterval, column: str, table: ExistingTable) -> str:
    layout = table.layout
    if (layout.partition_field or "").lower() != column.lower():
        return ""
    # An interval touches one partition more than it covers.
    longest = (MAX_PARTITIONS_PER_JOB - 1) * _PARTITION_TIMES[layout.partition_granularity]
    if as_moment(interval.end) - as_moment(interval.start) <= longest:
        return ""
    return (
        f"interval_start and interval_end are more than {MAX_PARTITIONS_PER_JOB:,} partitions of {column} by "
        f"{layout.partition_granularity} apart, BigQuery's limit for one job: give at most {longest.days:,} days"
    )


def _shown(moment: Bound, interval: SyncInterval) -> str:
    text = bound_text(moment)
    return text if interval.wall_clock is None else text.removesuffix("+00")


def backfill_notes(table: TableSync) -> Iterator[str]:
    """Yield sentences for the plan about what a backfill does to rows that the source has no longer."""
    if not table.is_backfill:
        return
    if table.replaces_interval:
        yield (
            "the backfill deletes the destination's rows of the interval: a version that has been updated since goes, "
            "and the run that loads the present one brings the row back"
        )
        if not table.loads_all_columns:
            yield "columns of the destination that the run does not load become NULL in the rows of the interval"
    else:
        yield (
            "the backfill keeps rows that the source has no longer in the interval: they were updated since, and "
            "Smart Sync loads their present versions, or they were deleted"
        )
