"""Determines the interval of a run: from the destination's latest timestamp to the source's safe upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sync_pipeline.errors import ConfigError, SchemaError
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.parameters.rows import KEEP, OFF
from sync_pipeline.planning.backfill import backfill_interval
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.latest_timestamp import Question
from sync_pipeline.schema import NUMBER_TYPE, TIMESTAMP_TYPES
from sync_pipeline.smart_sync.interval import LatestTimestamp, SyncInterval, resolve_interval
from sync_pipeline.smart_sync.steps import step_of, unloaded_part
from sync_pipeline.sources.source import FindsTimestamps, NumbersRows, SourceClock, SourceSession
from sync_pipeline.transforms.batches import destination_name

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class PlannedInterval:
    """The interval of a run.

    Attributes:
        interval: None without Smart Sync, for all rows.
        timestamp_column: the destination's name of Smart Sync's timestamp column; None without Smart Sync.
        risks: warnings for the plan.
    """

    interval: SyncInterval | None = None
    timestamp_column: str | None = None
    risks: tuple[str, ...] = ()


def question_of(config: SyncConfig, clock: SourceClock, destination: DestinationDescription) -> Question | None:
    """Return the question for the destination's latest timestamp; None if the interval does not depend on it."""
    column = _timestamp_column(config)
    if column is None or destination.kept_table is None:
        return None
    return Question(config.destination.table_id, column, destination.kept_table, clock.now, sync_types(clock))


def plan_interval(
    config: SyncConfig, session: SourceSession, destination: DestinationDescription, latest: LatestTimestamp
) -> PlannedInterval:
    """Return the interval after `latest`, the destination's latest timestamp, or that of a backfill.

    Raises:
        ConfigError: the interval of a backfill cannot be loaded, or the source cannot be read in steps.
        SchemaError: the column has dates or numbers, and rows could be missed.
        SourceError: the source cannot tell the range of its timestamps.
    """
    clock = session.clock
    smart_sync, column = config.smart_sync, _timestamp_column(config)
    if smart_sync is None or column is None:
        return PlannedInterval()
    if _is_by_day(clock):
        _check_days(smart_sync)
    if clock.has_numbers:
        _check_numbers(config, smart_sync)
    if smart_sync.backfill is not None:
        table_id = config.destination.table_id
        interval = backfill_interval(smart_sync.backfill, column, clock, table_id, destination.kept_table, latest.value)
    else:
        interval = resolve_interval(
            latest.value,
            clock.upper_bound,
            sync_all_on_empty_table=smart_sync.sync_all_on_empty_table,
            fallback_days=smart_sync.fallback_days,
            lookback=smart_sync.lookback,
            table_is_replaced=destination.is_replaced,
            wall_clock=clock.wall_clock,
        )
        if smart_sync.max_interval is not None and config.reconcile == OFF:
            interval = _step(session, interval, smart_sync.max_interval)
    risks: tuple[str, ...] = ()
    if isinstance(latest.future, int):
        _check_sequence(session, column, latest.future)
    elif latest.future is not None:
        risk = (
            f"{column} in the destination reaches {latest.future.isoformat()}, which lies in the source's future: such "
            "rows do not count for the start, and are read again after that time"
        )
        risks = (risk,)
    return PlannedInterval(interval, column, risks)


def sync_types(clock: SourceClock) -> tuple[str, ...]:
    """Return the types that Smart Sync's column may have in source and destination."""
    if clock.has_numbers:
        return (NUMBER_TYPE,)
    return ("DATE",) if _is_by_day(clock) else TIMESTAMP_TYPES


def _is_by_day(clock: SourceClock) -> bool:
    return clock.wall_clock is not None and clock.wall_clock.shows_days


def _check_days(smart_sync: SmartSyncConfig) -> None:
    """Raise SchemaError when rows of the latest day, which may follow, would not be read again.

    A lookback implies that rows are merged.
    """
    name = smart_sync.timestamp_column
    if smart_sync.backfill is not None:
        raise SchemaError(f"interval_start and interval_end need timestamps, and {name} has dates: omit them")
    if smart_sync.lookback < _DAY:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} has dates, and rows of its latest day may follow: give primary_key "
            f"and smart_sync_lookback_seconds={_DAY.total_seconds():.0f} or more, so that they are read again and "
            "merged; or use a timestamp column"
        )


def _check_numbers(config: SyncConfig, smart_sync: SmartSyncConfig) -> None:
    """Raise SchemaError for parameters that need timestamps, or rows that change."""
    given = {
        "smart_sync_lookback_seconds": bool(smart_sync.lookback),
        "smart_sync_max_interval_hours": smart_sync.max_interval is not None,
        "smart_sync_null_timestamps": smart_sync.include_null_timestamps,
        "smart_sync_time_zone": smart_sync.time_zone is not None,
        "sync_all_on_empty_table=false": not smart_sync.sync_all_on_empty_table,
        "interval_start and interval_end": smart_sync.backfill is not None,
        f"deletes={config.deletes}": config.deletes != KEEP,
        f"reconcile={config.reconcile}": config.reconcile != OFF,
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        compare = "; to compare all rows, use enable_smart_sync=false" if config.reconcile != OFF else ""
        raise SchemaError(
            f"smart_sync_timestamp_column: {smart_sync.timestamp_column} has numbers of a sequence, which tell only "
            f"new rows and no time: omit {', '.join(wrong)}{compare}"
        )


def _check_sequence(session: SourceSession, column: str, latest: int) -> None:
    """Raise SchemaError when the destination has a number that the sequence has still to give out.

    A concurrent run may have loaded later numbers than this run's clock shows, so the sequence is asked again.
    """
    assert isinstance(session, NumbersRows), "its clock shows a number"
    last = session.last_number()
    if latest > last:
        raise SchemaError(
            f"smart_sync_timestamp_column: {column} in the destination reaches {latest}, but the source's sequence "
            f"stands at {last}: it was set back, or the row did not get its number from it, so nothing tells which "
            "rows are new. Set the sequence (setval) above all rows, or load the table again with "
            "delete_existing_table=true"
        )


def _step(session: SourceSession, interval: SyncInterval, longest: timedelta) -> SyncInterval:
    unloaded = unloaded_part(interval, longest)
    if unloaded is None:
        return interval
    if not isinstance(session, FindsTimestamps):
        raise ConfigError(["smart_sync_max_interval_hours: this source cannot be read in steps: omit it"])
    return step_of(unloaded, interval, session.timestamp_range(unloaded), longest)


def _timestamp_column(config: SyncConfig) -> str | None:
    """Return the destination's name of Smart Sync's timestamp column; None without Smart Sync."""
    if config.smart_sync is None:
        return None
    return destination_name(config.smart_sync.timestamp_column, config.transformation)
