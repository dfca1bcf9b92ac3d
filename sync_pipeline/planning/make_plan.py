"""Planning: source and destination are asked, and everything is decided, before a row is read. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.auto_schema.evolution import compare
from sync_pipeline.auto_schema.layout import TableLayout, chosen_layout, layout_notes, with_declared_key
from sync_pipeline.auto_schema.table_limits import check_columns
from sync_pipeline.auto_schema.table_options import NO_OPTIONS
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.planning.bucket_location import check_bucket
from sync_pipeline.planning.dead_letter_table import describe_dead_letters
from sync_pipeline.planning.destination import TIMESTAMP_TYPES, DestinationDescription, describe_destination
from sync_pipeline.planning.destination_risks import staging_risks, table_risks
from sync_pipeline.planning.latest_timestamp import latest_timestamp
from sync_pipeline.planning.merge_costs import MergeCosts, merge_costs
from sync_pipeline.planning.plan import SyncPlan, WriteMode, new_run_id
from sync_pipeline.planning.pruning import prunable_by
from sync_pipeline.planning.read_method import choose_read_method
from sync_pipeline.planning.row_security import check_table
from sync_pipeline.planning.schemaless import schemaless_schema, with_default_key
from sync_pipeline.schema import (
    CLUSTERING_TYPES,
    KEY_TYPES,
    REPEATED,
    Field,
    Schema,
)
from sync_pipeline.smart_sync.interval import LatestTimestamp, SyncInterval, resolve_interval
from sync_pipeline.sources.source import Source, SourceDescription
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.transforms.batches import destination_name, read_schema, transform_schema
from sync_pipeline.transforms.hashing import key_risks


def make_plan(
    config: SyncConfig, source: Source, client: bigquery.Client, staging_root: str, started_at: datetime
) -> SyncPlan:
    """Ask source and destination, and decide everything. Writes nothing.

    Args:
        staging_root: `gs://…/`, under which runs into this destination get a folder each.
        started_at: the launcher's clock, for names and durations only.

    Raises SourceError, SchemaError or PublishError.
    """
    description = source.describe()
    if description.transformation is not None:
        config = replace(config, transformation=description.transformation)
    destination = describe_destination(client, config.destination)
    description, latest = _scanned(client, config, description, destination)
    config, key_notes = with_default_key(config, description)
    write_mode = _write_mode(config, destination)
    columns = _columns(config, description, destination, write_mode)
    columns = replace(columns, notes=(*key_notes, *columns.notes))
    risks = [
        *config.warnings,
        *description.risks,
        *table_risks(config, destination, columns.schema, columns.layout, write_mode),
    ]
    interval = None
    if config.smart_sync is not None:
        _check_timestamp_column(config.smart_sync, description, columns)
        latest = latest or _latest(client, config, description, destination)
        if latest.future is not None:
            risks.append(
                f"{columns.timestamp_column} in the destination reaches {latest.future.isoformat()}, which lies in the "
                "source's future: such rows do not count, and are read again when their time has come"
            )
        interval = _interval(config.smart_sync, latest, description, write_mode)
    _check_row_security(client, config, destination, columns, write_mode)
    pruned_by, costs = _merge_costs(client, config, destination, columns, write_mode)
    if costs is not None and costs.risk:
        risks.append(costs.risk)
    dead_letters = describe_dead_letters(client, config.dead_letter_table) if config.dead_letter_table else None
    read_plan = source.plan_read(columns.read, interval)
    keeps_dead_letters = dead_letters is not None
    has_hash_key = config.hash_key is not None and bool(config.transformation.hash_fields)
    if config.hash_key is not None and has_hash_key:
        risks += key_risks(config.hash_key)
    way = choose_read_method(
        read_plan.selection,
        columns.read,
        destination.location,
        keeps_dead_letters=keeps_dead_letters,
        has_hash_key=has_hash_key,
    )
    bucket_notes = []
    if way.selection is None:
        locations = {destination.location, *([dead_letters.location] if dead_letters is not None else [])}
        bucket_notes = check_bucket(staging_root, client.project, locations)
    plan = SyncPlan(
        run_id=new_run_id(started_at),
        started_at=started_at,
        observed_at=destination.observed_at,
        config=columns.config,
        read=read_plan,
        read_schema=columns.read,
        schema=columns.schema,
        interval=interval,
        job_project=client.project,
        location=destination.location,
        creates_table=destination.table is None,
        write_mode=write_mode,
        layout=columns.layout,
        required_filter_column=destination.table.required_filter_column if destination.table is not None else None,
        alterations=columns.alterations,
        primary_key=columns.primary_key,
        timestamp_column=columns.timestamp_column,
        dead_letters=dead_letters,
        staging_root=staging_root,
        notes=(*columns.notes, *bucket_notes),
        risks=(*risks, *read_plan.risks),
        selection=way.selection,
        way=way.reason,
        pruned_by=pruned_by,
        merge_costs=str(costs or ""),
        options=destination.table.options if destination.table is not None else NO_OPTIONS,
        transport=description.transport,
        loads_all_columns=_loads_all_columns(columns.schema, destination),
        changes_layout=write_mode is WriteMode.REPLACE and _changes_layout(columns.layout, destination),
        ignores_case=destination.ignores_case,
    )
    existing = destination.table.schema if destination.table is not None else None
    return replace(plan, risks=(*plan.risks, *staging_risks(plan, existing)))


def _loads_all_columns(schema: Schema, destination: DestinationDescription) -> bool:
    return destination.table is None or all(schema.find(field.name) for field in destination.table.schema)


def _changes_layout(layout: TableLayout, destination: DestinationDescription) -> bool:
    return destination.table is not None and not destination.table.has_layout(layout)


@dataclass(frozen=True)
class _Columns:
    """What is read and what is written.

    Attributes:
        config: as it was given, less the constant columns that the destination does not take.
        read: by source names.
        schema: by destination names.
    """

    config: SyncConfig
    read: Schema
    schema: Schema
    layout: TableLayout
    alterations: tuple[str, ...]
    primary_key: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def timestamp_column(self) -> str | None:
        if self.config.smart_sync is None:
            return None
        return destination_name(self.config.smart_sync.timestamp_column, self.config.transformation)


def _scanned(
    client: bigquery.Client, config: SyncConfig, description: SourceDescription, destination: DestinationDescription
) -> tuple[SourceDescription, LatestTimestamp | None]:
    """Return the description with all columns that rows may have, also where they follow from the interval.

    With it comes the destination's latest timestamp, None where it was not needed to find them.
    """
    scanned, latest = description, None
    if description.scan is not None and config.smart_sync is not None:
        latest = _latest(client, config, description, destination)
        scanned = description.scan(_interval(config.smart_sync, latest, description, _write_mode(config, destination)))
    if not scanned.has_dynamic_schema:
        return scanned, latest
    stays = destination.table is not None and not config.destination.delete_existing_table
    existing = destination.table.schema if destination.table is not None and stays else Schema(())
    scanned = replace(scanned, schema=schemaless_schema(scanned, existing, config.transformation))
    if not len(scanned.schema):
        raise SchemaError(scanned.nothing_seen)
    return scanned, latest


def _write_mode(config: SyncConfig, destination: DestinationDescription) -> WriteMode:
    if destination.table is None and config.destination.create_disposition == "CREATE_NEVER":
        raise SchemaError(
            f"destination_bigquery_table: {config.destination.table_id} does not exist and create_disposition is "
            "CREATE_NEVER: create the table, or use CREATE_IF_NEEDED"
        )
    if config.destination.delete_existing_table and destination.table is not None:
        return WriteMode.REPLACE
    if config.destination.write_disposition == "WRITE_TRUNCATE":
        return WriteMode.TRUNCATE
    return WriteMode.MERGE if config.primary_key else WriteMode.APPEND


def _columns(
    config: SyncConfig, description: SourceDescription, destination: DestinationDescription, write_mode: WriteMode
) -> _Columns:
    """Decide what is read and written, and how a new table is laid out. Raises SchemaError naming all that is wrong."""
    read = read_schema(description.schema, config.transformation, has_dynamic_schema=description.has_dynamic_schema)
    schema = transform_schema(read, config.transformation)
    renamed = {name: destination_name(name, config.transformation) for name in read.names}
    key = _primary_key(config, schema, renamed)
    wanted, remarks = chosen_layout(schema, config.auto_schema, renamed)
    check_columns(schema, declared(config.data_source).too_many_columns)
    existing = destination.table.schema if destination.table is not None else Schema(())
    tagged = dict.fromkeys((*schema.tagged_columns, *existing.tagged_columns))
    if write_mode is WriteMode.REPLACE and tagged:
        raise SchemaError(
            f"delete_existing_table: {', '.join(tagged)} have policy tags, and the statement that replaces a table "
            "cannot set them: anybody could read the columns. Use write_disposition=WRITE_TRUNCATE, which keeps the "
            "table; or drop it yourself, and create it with the tags"
        )
    if destination.table is None or write_mode is WriteMode.REPLACE:
        read = read.with_required(name for name, new_name in renamed.items() if new_name in key)
        schema = transform_schema(read, config.transformation)
        layout, more = _keyed_layout(wanted, key, schema, config, description, renamed)
        return _Columns(config, read, schema, layout, (), key, (*remarks, *more))

    transformation = config.transformation
    differences = compare(
        config.destination.table_id,
        schema,
        destination.table.schema,
        fixed=frozenset(
            {renamed[name] for name in transformation.hash_fields if name in renamed}
            | set(transformation.constant_fields)
        ),
        evolution=config.schema_evolution,
        takes_any_type=description.has_dynamic_schema,
    )
    if lost := differences.left_out & set(key):
        raise SchemaError(
            f"primary_key: {', '.join(sorted(lost))} is not in the destination table, so rows cannot be merged by it: "
            "add it to the table, or use another table"
        )
    if differences.problems:
        raise SchemaError(
            f"the destination table {config.destination.table_id} does not match the source:\n"
            + "\n".join(differences.problems)
        )
    constants = {
        name: value for name, value in transformation.constant_fields.items() if name not in differences.left_out
    }
    config = replace(config, transformation=transformation.model_copy(update={"constant_fields": constants}))
    kept = [field for field in read if renamed[field.name] not in differences.left_out]
    read = Schema(tuple(field.as_type(differences.types.get(renamed[field.name], field.type)) for field in kept))
    read = Schema(tuple(_with_digits_of(destination.table.schema.find(renamed[field.name]), field) for field in read))
    required = differences.required | set(key)
    read = read.with_required(name for name in read.names if renamed[name] in required)
    schema = transform_schema(read, config.transformation)
    notes = [*differences.notes, *(layout_notes(wanted, destination.table.layout) if config.auto_schema else ())]
    return _Columns(config, read, schema, destination.table.layout, differences.alterations, key, tuple(notes))


def _with_digits_of(there: Field | None, field: Field) -> Field:
    """Return the column as it is read for an existing one, whose numbers may have fewer digits."""
    is_number = there is not None and there.type == field.type in ("NUMERIC", "BIGNUMERIC")
    return replace(field, parameters=there.parameters) if there is not None and is_number else field


def _primary_key(config: SyncConfig, schema: Schema, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the key's columns by their destination names; they may be given by either name."""
    names = []
    problems = []
    for given in config.primary_key:
        name = given if given in schema else renamed.get(given, given)
        if name not in schema:
            problems.append(f"there is no column {given}{did_you_mean(given, schema.names)}")
            continue
        field = schema.field(name)
        if field.mode == REPEATED or field.type not in KEY_TYPES:
            problems.append(
                f"{name} is {field.type_name}, which cannot be compared: use {', '.join(sorted(KEY_TYPES))}"
            )
        names.append(name)
    if problems:
        raise SchemaError("\n".join(f"primary_key: {problem}" for problem in problems))
    return tuple(names)


def _keyed_layout(
    layout: TableLayout,
    key: tuple[str, ...],
    schema: Schema,
    config: SyncConfig,
    description: SourceDescription,
    renamed: Mapping[str, str],
) -> tuple[TableLayout, list[str]]:
    """Return the layout of a new table with the key declared where the table cannot hold two rows of one key."""
    if config.auto_schema is None:
        return layout, []
    notes = []
    clusterable = tuple(name for name in key if schema.field(name).type in CLUSTERING_TYPES)[:4]
    if clusterable and not layout.clustering_fields:
        layout = replace(layout, clustering_fields=clusterable)
        notes.append(f"clustered by the primary key ({', '.join(clusterable)}), by which every merge looks rows up")
    if key:
        return with_declared_key(layout, key, schema), notes
    source_key = tuple(renamed[name] for name in description.primary_key if name in renamed)
    if not source_key or len(source_key) < len(description.primary_key):
        return layout, notes
    if config.destination.write_disposition == "WRITE_TRUNCATE" and description.single_table:
        return with_declared_key(layout, source_key, schema), notes
    notes.append(
        f"the source's primary key ({', '.join(source_key)}) is not declared: appended rows, a join or child tables "
        "may repeat it, and BigQuery trusts a declared key. With "
        f"primary_key={','.join(source_key)} rows are merged instead"
    )
    return layout, notes


def _merge_costs(
    client: bigquery.Client,
    config: SyncConfig,
    destination: DestinationDescription,
    columns: _Columns,
    write_mode: WriteMode,
) -> tuple[Field | None, MergeCosts | None]:
    """Return the column by which a merge leaves partitions out, and its costs; None of what does not apply."""
    table = destination.table
    if table is None or write_mode is not WriteMode.MERGE:
        return None, None
    pruned_by = prunable_by(table.schema, table.layout.partition_field)
    return pruned_by, merge_costs(
        client,
        config.destination.table_id,
        table_size=table.size,
        key=columns.primary_key,
        pruned_by=pruned_by,
        required_filter_column=table.required_filter_column,
        location=destination.location,
    )


def _check_row_security(
    client: bigquery.Client,
    config: SyncConfig,
    destination: DestinationDescription,
    columns: _Columns,
    write_mode: WriteMode,
) -> None:
    """Raise SchemaError where rows that are hidden from the job, or policies that protect them, would be lost."""
    table = destination.table
    is_replaced = write_mode is WriteMode.REPLACE
    # Smart Sync's own question has shown whether rows are hidden, but not which values of the key are.
    protected = [
        name for name in columns.primary_key if table and (field := table.schema.find(name)) and field.policy_tags
    ]
    is_merged_unseen = write_mode is WriteMode.MERGE and (config.smart_sync is None or bool(protected))
    if table is not None and (is_replaced or is_merged_unseen):
        check_table(
            client,
            config.destination.table_id,
            table.required_filter_column,
            destination.location,
            protected_columns=() if is_replaced else protected,
            is_replaced=is_replaced,
        )


def _check_timestamp_column(smart_sync: SmartSyncConfig, description: SourceDescription, columns: _Columns) -> None:
    name = smart_sync.timestamp_column
    if name not in columns.read:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is not among the columns that are loaded "
            f"({', '.join(columns.read.names)}): Smart Sync needs it in the destination"
            f"{did_you_mean(name, columns.read.names)}"
        )
    # Rows that tell no type, such as those in which it is NULL, are read as the destination says.
    field = (columns.read if description.has_dynamic_schema else description.schema).field(name)
    if field.type not in TIMESTAMP_TYPES:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is {field.source_type}: rows of one day or one number cannot be told "
            "apart by it, and some would be lost: use a timestamp column"
        )


def _latest(
    client: bigquery.Client,
    config: SyncConfig,
    description: SourceDescription,
    destination: DestinationDescription,
) -> LatestTimestamp:
    if destination.table is None or config.destination.delete_existing_table or config.smart_sync is None:
        return LatestTimestamp()
    return latest_timestamp(
        client,
        config.destination.table_id,
        destination_name(config.smart_sync.timestamp_column, config.transformation),
        destination.table,
        description.now,
        destination.location,
    )


def _interval(
    smart_sync: SmartSyncConfig, latest: LatestTimestamp, description: SourceDescription, write_mode: WriteMode
) -> SyncInterval:
    return resolve_interval(
        latest.value,
        description.upper_bound,
        sync_all_on_empty_table=smart_sync.sync_all_on_empty_table,
        fallback_days=smart_sync.fallback_days,
        lookback=smart_sync.lookback,
        table_is_replaced=write_mode is WriteMode.REPLACE,
        wall_clock=description.wall_clock,
    )
