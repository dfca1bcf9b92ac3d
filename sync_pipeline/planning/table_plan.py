"""The plan of one table: the steps of planning after its interval is known.

columns → writing → reading → plan
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from google.cloud import bigquery

from sync_pipeline.auto_schema.table_options import NO_OPTIONS
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.rows import OFF
from sync_pipeline.planning.backfill import backfill_notes
from sync_pipeline.planning.billed_queries import DRY_RUN, METADATA, SOURCE, BilledQuery
from sync_pipeline.planning.columns import TableColumns, plan_columns
from sync_pipeline.planning.deletions import Deletions
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.destination_risks import staging_risks, table_risks
from sync_pipeline.planning.interval import PlannedInterval, sync_types
from sync_pipeline.planning.lookups import Lookups
from sync_pipeline.planning.plan import Run, TableSync, WriteMode
from sync_pipeline.planning.plan_deletions import deletion_note, mark_alterations, plan_deletions
from sync_pipeline.planning.plan_reconcile import (
    interval_to_compare,
    key_to_compare,
    plan_reconciliation,
    reconcile_costs,
    reconcile_notes,
    reconcile_query,
    reconcile_risks,
)
from sync_pipeline.planning.read_method import ReadMethod, check_costs, choose_read_method
from sync_pipeline.planning.repeated_append import append_risks, check_append
from sync_pipeline.planning.writing import PlannedWriting, plan_writing
from sync_pipeline.sources.source import ReadPlan, SourceClock, SourceDescription, SourceSession
from sync_pipeline.transforms.batches import destination_name
from sync_pipeline.transforms.hashing import key_risks

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes
TIMESTAMP_BYTES = 8


@dataclass(frozen=True)
class TableStart:
    """The first decisions about a table: what is asked for, and the interval.

    Attributes:
        source_table, source_bytes, mode_reason: see `TableSync`.
        notes: sentences for the plan about these decisions.
    """

    config: SyncConfig
    clock: SourceClock
    destination: DestinationDescription
    interval: PlannedInterval
    source_table: str = ""
    source_bytes: int | None = None
    mode_reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Decisions:
    """The results of the planning steps, in order."""

    start: TableStart
    description: SourceDescription
    columns: TableColumns
    writing: PlannedWriting
    read: ReadPlan
    deletions: Deletions | None

    @property
    def config(self) -> SyncConfig:
        return self.start.config

    @property
    def destination(self) -> DestinationDescription:
        return self.start.destination

    @property
    def has_hash_key(self) -> bool:
        return self.config.hash_key is not None and bool(self.columns.transformation.hash_fields)

    @property
    def has_distinct_keys(self) -> bool:
        """Whether the rows have each key once: the key is the source's own, and one statement reads all rows.

        Several statements see the table at different times, so they may read two versions of a row.
        """
        description, transformation = self.description, self.columns.transformation
        key = tuple(destination_name(name, transformation) for name in description.primary_key)
        is_own_key = bool(key) and set(key) == set(self.columns.primary_key) and description.single_table
        return (
            is_own_key
            and len(self.read.splits) == 1
            and not set(description.primary_key) & set(transformation.hash_fields)
            and all(
                self.columns.read.field(name).type == description.schema.field(name).type
                for name in description.primary_key
            )
        )

    @property
    def dataset_locations(self) -> set[str]:
        """The locations of the datasets that load from the bucket."""
        letters = self.writing.dead_letters
        return {self.destination.location, *([letters.location] if letters is not None else [])}


def plan_table(
    client: bigquery.Client, session: SourceSession, start: TableStart, lookups: Lookups, run: Run, number: int
) -> TableSync:
    """Plan one table, the `number`th of the run. Writes nothing.

    Raises:
        ConfigError: the parameters, or what they name, are wrong, or the run would append all rows again.
        SourceError: the source cannot be read.
        SchemaError: source and destination do not match.
        PublishError: BigQuery rejected a request.
    """
    config, destination, interval = start.config, start.destination, start.interval.interval
    compares = config.reconcile != OFF
    if compares:
        interval = interval_to_compare(interval)
    description = session.describe(interval)
    columns = plan_columns(config, description, destination, sync_types(start.clock))
    writing = plan_writing(client, lookups, config, columns, destination)
    read = session.plan_read(columns.read, interval)
    # A backfill may publish beside other runs, and its keys may be older than the rows of theirs.
    is_backfill = interval is not None and interval.is_backfill
    deletes = writing.mode is WriteMode.MERGE and not is_backfill and not compares
    deletions = plan_deletions(session, config, columns, destination) if deletes else None
    decisions = _Decisions(start, description, columns, writing, read, deletions)
    method = _read_method(decisions)
    if method.selection is not None and deletions is not None and deletions.keys is not None:
        assert deletions.keys.read.selection is not None, "of the same source"
        check_costs(deletions.keys.read.selection)
    plan = _plan(decisions, method, run, number)
    if not compares:
        plan = check_append(client, plan, destination.table)
    # Only staged rows are loaded from the bucket.
    locations = decisions.dataset_locations if method.selection is None else ()
    bucket_notes = lookups.check_bucket(locations) if locations else []
    if compares:
        return _comparison(client, decisions, replace(plan, interval=interval), bucket_notes)
    deletion_notes, deletion_queries = deletion_note(client, plan, columns, destination)
    existing = destination.table.schema if destination.table is not None else None
    return replace(
        plan,
        notes=(*start.notes, *columns.notes, *bucket_notes, *backfill_notes(plan), *deletion_notes),
        risks=(*append_risks(plan), *_risks(decisions), *staging_risks(plan, existing)),
        billed=(*_billed(decisions, plan), *deletion_queries),
    )


def _comparison(
    client: bigquery.Client, decisions: _Decisions, plan: TableSync, bucket_notes: Sequence[str]
) -> TableSync:
    """Return the plan of a run that compares the table. Raises what `plan_reconciliation` does."""
    config, columns, destination, start = decisions.config, decisions.columns, decisions.destination, decisions.start
    reconciliation = plan_reconciliation(client, config, start.clock, start.interval.interval, columns, destination)
    key = key_to_compare(config, decisions.description, columns)
    notes = reconcile_notes(reconciliation, plan.interval, key)
    return replace(
        plan,
        reconciliation=reconciliation,
        primary_key=key,
        pruned_by=None,
        clustered_by=None,
        merge_costs=reconcile_costs(destination),
        billed=(*_billed(decisions, replace(plan, reconciliation=reconciliation)), reconcile_query(destination)),
        notes=(*start.notes, *columns.notes, *bucket_notes, *notes),
        risks=(*_risks(decisions), *reconcile_risks(config)),
    )


def _billed(decisions: _Decisions, plan: TableSync) -> Iterator[BilledQuery]:
    """Yield the queries that BigQuery bills, without those about deleted rows."""
    table, timestamps = decisions.destination.table, decisions.start.interval.timestamp_column
    if (
        table is not None
        and timestamps is not None
        and timestamps.lower() != (table.layout.partition_field or "").lower()
    ):
        yield BilledQuery("latest timestamp", table.rows * TIMESTAMP_BYTES, METADATA)
    if plan.selection is not None:
        yield BilledQuery("query of the source", plan.selection.estimated_bytes, DRY_RUN)
    elif plan.needs_staging_table:
        yield BilledQuery("staged rows", decisions.read.estimated_bytes, SOURCE)
    if decisions.writing.costs is not None and plan.reconciliation is None:
        yield decisions.writing.costs.billed


def _read_method(decisions: _Decisions) -> ReadMethod:
    return choose_read_method(
        decisions.read.selection,
        decisions.columns.read,
        decisions.destination.location,
        keeps_dead_letters=decisions.writing.dead_letters is not None,
        has_hash_key=decisions.has_hash_key,
    )


def _risks(decisions: _Decisions) -> Iterator[str]:
    """Yield all warnings, in the order in which they were found."""
    config, columns, costs = decisions.config, decisions.columns, decisions.writing.costs
    yield from config.warnings
    yield from decisions.start.clock.risks
    yield from decisions.description.risks
    yield from table_risks(config, decisions.destination, columns.schema, columns.layout, decisions.writing.mode)
    yield from decisions.start.interval.risks
    if costs is not None and costs.risk and config.reconcile == OFF:
        yield costs.risk
    if config.hash_key is not None and decisions.has_hash_key:
        yield from key_risks(config.hash_key)
    yield from decisions.read.risks
    if decisions.deletions is not None and decisions.deletions.keys is not None:
        yield from decisions.deletions.keys.read.risks


def _plan(decisions: _Decisions, method: ReadMethod, run: Run, number: int) -> TableSync:
    destination, columns, writing = decisions.destination, decisions.columns, decisions.writing
    table = destination.table
    return TableSync(
        run=run,
        number=number,
        observed_at=destination.observed_at,
        config=decisions.config,
        transformation=columns.transformation,
        read=decisions.read,
        read_schema=columns.read,
        schema=columns.schema,
        interval=decisions.start.interval.interval,
        location=destination.location,
        creates_table=table is None,
        write_mode=writing.mode,
        layout=columns.layout,
        required_filter_column=table.required_filter_column if table is not None else None,
        alterations=(
            *columns.alterations,
            *mark_alterations(decisions.deletions, decisions.config.destination.table_id, destination),
        ),
        primary_key=columns.primary_key,
        timestamp_column=decisions.start.interval.timestamp_column,
        dead_letters=writing.dead_letters,
        notes=(),
        risks=(),
        selection=method.selection,
        way=method.reason,
        pruned_by=writing.pruned_by,
        clustered_by=writing.clustered_by,
        merge_costs=str(writing.costs or ""),
        options=table.options if table is not None else NO_OPTIONS,
        transport=decisions.start.clock.transport,
        loads_all_columns=writing.loads_all_columns,
        changes_layout=writing.changes_layout,
        ignores_case=destination.ignores_case,
        has_distinct_keys=decisions.has_distinct_keys,
        source_table=decisions.start.source_table,
        source_bytes=decisions.start.source_bytes,
        mode_reason=decisions.start.mode_reason,
        deletions=decisions.deletions,
    )
