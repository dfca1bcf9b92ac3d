"""Planning: source and destination are asked, and everything is decided, before a row is read. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.config import SyncConfig
from sync_pipeline.destination import (
    TIMESTAMP_TYPES,
    DestinationDescription,
    Differences,
    compare,
    describe_destination,
    latest_timestamp,
    layout_notes,
    required_in,
)
from sync_pipeline.errors import SchemaError
from sync_pipeline.layout import TableLayout, chosen_layout
from sync_pipeline.plan import SyncPlan, WriteMode, new_run_id
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync import SyncInterval, resolve_interval
from sync_pipeline.sources.source import Source, SourceDescription
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.transformation import destination_name, read_schema, transform_schema


def make_plan(
    config: SyncConfig, source: Source, client: bigquery.Client, staging_root: str, started_at: datetime
) -> SyncPlan:
    """Ask source and destination, and decide everything. Writes nothing.

    Args:
        staging_root: `gs://…/`, under which the run gets a folder of its own.
        started_at: the launcher's clock, for the run's name and duration only.

    Raises SourceError, SchemaError or PublishError.
    """
    description = source.describe()
    destination = describe_destination(client, config.destination)
    write_mode = _write_mode(config, destination)
    creates_table = destination.table is None
    if creates_table and config.destination.create_disposition == "CREATE_NEVER":
        raise SchemaError(
            f"destination_bigquery_table: {config.destination.table_id} does not exist and create_disposition=CREATE_NEVER: "
            "create the table, or use CREATE_IF_NEEDED"
        )

    read = read_schema(description.schema, config.transformation)
    schema = transform_schema(read, config.transformation)
    notes: list[str] = []
    renamed = {name: destination_name(name, config.transformation) for name in read.names}
    wanted, layout_remarks = chosen_layout(schema, config.auto_schema, renamed)
    layout = wanted
    if destination.table is not None and write_mode is not WriteMode.REPLACE:
        differences = _accepted_differences(config, schema, destination, renamed)
        read = _read_as(read, differences, renamed)
        schema = transform_schema(read, config.transformation)
        layout = destination.table.layout
        notes += differences.notes
        notes += layout_notes(wanted, layout) if config.auto_schema else []
    else:
        notes += layout_remarks
        layout = _with_key(layout, description, write_mode, config, renamed, notes)

    interval = None
    risks = [*config.warnings, *description.risks]
    if config.smart_sync is not None:
        interval = _interval(config, client, description, read, destination, write_mode, renamed, risks)
    if destination.partitions_expire and layout.partition_field:
        risks.append(
            f"the dataset {config.destination.dataset} expires partitions by age: rows in older ones vanish while they are "
            "loaded, and the run then fails"
        )
    if layout.primary_key and write_mode is WriteMode.APPEND and not creates_table:
        risks.append("the table declares a primary key, but append keeps every version: BigQuery trusts the key")
    read_plan = source.plan_read(read, interval)
    run_id = new_run_id(started_at)
    return SyncPlan(
        run_id=run_id,
        started_at=started_at,
        config=config,
        read=read_plan,
        read_schema=read,
        schema=schema,
        interval=interval,
        job_project=client.project,
        location=destination.location,
        creates_table=creates_table,
        write_mode=write_mode,
        layout=layout,
        staging_folder=f"{staging_root}{run_id}/",
        notes=tuple(notes),
        risks=(*risks, *read_plan.risks),
    )


def _write_mode(config: SyncConfig, destination: DestinationDescription) -> WriteMode:
    if config.destination.delete_existing_table and destination.table is not None:
        return WriteMode.REPLACE
    return WriteMode.TRUNCATE if config.destination.write_disposition == "WRITE_TRUNCATE" else WriteMode.APPEND


def _accepted_differences(
    config: SyncConfig, schema: Schema, destination: DestinationDescription, renamed: Mapping[str, str]
) -> Differences:
    assert destination.table is not None
    transformation = config.transformation
    fixed = frozenset({renamed[name] for name in transformation.hash_fields} | set(transformation.constant_fields))
    differences = compare(schema, destination.table.schema, fixed)
    if differences.problems:
        raise SchemaError(
            f"the destination table {config.destination.table_id} does not match the source:\n"
            + "\n".join(f"- {problem}" for problem in differences.problems)
        )
    return differences


def _read_as(read: Schema, differences: Differences, renamed: Mapping[str, str]) -> Schema:
    """Return the columns to read, with the types and the NOT NULL of the existing table."""
    fields = (field.as_type(differences.types.get(renamed[field.name], field.type)) for field in read)
    required = frozenset(name for name, new_name in renamed.items() if new_name in differences.required)
    return required_in(Schema(tuple(fields)), required)


def _with_key(
    layout: TableLayout,
    description: SourceDescription,
    write_mode: WriteMode,
    config: SyncConfig,
    renamed: Mapping[str, str],
    notes: list[str],
) -> TableLayout:
    """Return the layout with the source's primary key where the new table cannot hold two rows of one key."""
    key = tuple(renamed[name] for name in description.primary_key if name in renamed)
    if config.auto_schema is None or not key or len(key) < len(description.primary_key):
        return layout
    if config.destination.write_disposition != "WRITE_TRUNCATE" or not description.single_table:
        notes.append(
            f"the source's primary key ({', '.join(key)}) is not declared: appended rows, or a join, may repeat it, and "
            "BigQuery trusts a declared key"
        )
        return layout
    return replace(layout, primary_key=key)


def _interval(
    config: SyncConfig,
    client: bigquery.Client,
    description: SourceDescription,
    read: Schema,
    destination: DestinationDescription,
    write_mode: WriteMode,
    renamed: Mapping[str, str],
    risks: list[str],
) -> SyncInterval:
    assert config.smart_sync is not None
    name = config.smart_sync.timestamp_column
    field = next((field for field in description.schema if field.name == name), None)
    if field is None or field.name not in read:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is not among the columns that are read ({', '.join(read.names)}): Smart "
            f"Sync needs it in the destination{did_you_mean(name, read.names)}"
        )
    if field.type not in TIMESTAMP_TYPES:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is {field.source_type}: rows of one day or one number cannot be told "
            "apart by it, and some would be lost: use a timestamp column"
        )
    latest = None
    if destination.table is not None and write_mode is not WriteMode.REPLACE:
        answer = latest_timestamp(
            client, config.destination.table_id, renamed[name], destination.table, description.now, destination.location
        )
        latest = answer.value
        if answer.future is not None:
            risks.append(
                f"{renamed[name]} in the destination reaches {answer.future.isoformat()}, which lies in the source's future: "
                "such rows do not count, and will be read again when their time has come"
            )
    return resolve_interval(
        latest,
        description.now,
        sync_all_on_empty_table=config.smart_sync.sync_all_on_empty_table,
        fallback_days=config.smart_sync.fallback_days,
        table_is_replaced=write_mode is WriteMode.REPLACE,
    )
