"""The columns of a table sync: the columns to read with their types, and the columns of the table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sync_pipeline.auto_schema.evolution import Differences, compare
from sync_pipeline.auto_schema.layout import TableLayout, chosen_layout, layout_notes
from sync_pipeline.auto_schema.table_limits import check_columns
from sync_pipeline.errors import EmptySourceError, SchemaError
from sync_pipeline.parameters import rows
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.planning.deletions import MARK
from sync_pipeline.planning.destination import DestinationDescription, ExistingTable
from sync_pipeline.planning.key import choose_key, key_columns, with_key
from sync_pipeline.planning.schemaless import schemaless_schema
from sync_pipeline.schema import NUMBER_TYPE, REPEATED, REQUIRED, TIMESTAMP_TYPES, Field, Schema
from sync_pipeline.sources.source import SourceDescription
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.transforms.batches import destination_name, read_schema, transform_schema


@dataclass(frozen=True)
class TableColumns:
    """The columns to read and to write.

    Attributes:
        read: the columns to read, with source names.
        transformation: the transformation of these columns, without constants that the destination lacks.
        layout: the current or future layout of the table.
        alterations: DDL statements that reconcile the table.
        primary_key: the key of a merge, with destination names; empty to append.
    """

    read: Schema
    transformation: TransformationConfig
    layout: TableLayout
    alterations: tuple[str, ...]
    primary_key: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def schema(self) -> Schema:
        """The columns to write."""
        return transform_schema(self.read, self.transformation)


@dataclass(frozen=True)
class _Incoming:
    """The incoming columns, before the comparison with the destination.

    Attributes:
        read: the columns with source names.
        schema: the columns with destination names.
        names: the destination's name of each source column.
        key: see `TableColumns.primary_key`.
        layout: the layout that Auto-Schema requests; `layout_notes` says what it leaves out.
    """

    description: SourceDescription
    transformation: TransformationConfig
    read: Schema
    schema: Schema
    names: dict[str, str]
    key: tuple[str, ...]
    key_notes: tuple[str, ...]
    layout: TableLayout
    layout_notes: tuple[str, ...]


def plan_columns(
    config: SyncConfig,
    description: SourceDescription,
    destination: DestinationDescription,
    sync_types: Collection[str] = TIMESTAMP_TYPES,
) -> TableColumns:
    """Decide which columns to read and write, and the layout of a new table. Raises SchemaError with all problems.

    `sync_types` are the types that Smart Sync's column may have.
    """
    incoming = _incoming(config, description, destination)
    if destination.is_replaced:
        _check_policy_tags(incoming.schema, destination.table)
    if destination.kept_table is None:
        columns = _of_new_table(config, incoming)
    else:
        columns = _of_existing_table(config, incoming, destination.kept_table)
    if config.smart_sync is not None:
        _check_timestamp_column(config.smart_sync, description, columns.read, sync_types)
    return replace(columns, notes=(*incoming.key_notes, *columns.notes))


def _incoming(config: SyncConfig, description: SourceDescription, destination: DestinationDescription) -> _Incoming:
    transformation = config.transformation if description.transformation is None else description.transformation
    source = description.schema
    if description.has_dynamic_schema:
        existing = Schema(()) if destination.kept_table is None else _of_the_source(config, destination.kept_table)
        source = schemaless_schema(description, existing, transformation)
        if not len(source):
            raise _nothing_seen(description, destination)
    read = read_schema(source, transformation, has_dynamic_schema=description.has_dynamic_schema)
    chosen_key = choose_key(config, description, read)
    schema = transform_schema(read, transformation)
    names = {name: destination_name(name, transformation) for name in read.names}
    key = key_columns(chosen_key.columns, schema, names)
    layout, layout_remarks = chosen_layout(schema, config.auto_schema, names)
    check_columns(schema, declared(config.data_source).too_many_columns)
    return _Incoming(
        description, transformation, read, schema, names, key, chosen_key.notes, layout, tuple(layout_remarks)
    )


def _of_the_source(config: SyncConfig, table: ExistingTable) -> Schema:
    """Return the columns of the table that the source may have: not that of the marks of deleted rows."""
    return Schema(
        tuple(
            field
            for field in table.schema
            if field.name != MARK.name or (config.deletes != rows.MARK and field.description != MARK.description)
        )
    )


def _nothing_seen(description: SourceDescription, destination: DestinationDescription) -> SchemaError:
    if description.nothing_seen:
        return SchemaError(description.nothing_seen)
    # A table that exists may have rows that the source no longer has.
    kind = EmptySourceError if destination.table is None else SchemaError
    return kind(
        "the source has no rows for this run, so the columns of the table are unknown: run again when there are some"
    )


def _check_policy_tags(schema: Schema, table: ExistingTable | None) -> None:
    """Check a replacement of a table. Raises SchemaError when the new table would lack the policy tags."""
    existing = table.schema if table is not None else Schema(())
    tagged = dict.fromkeys((*schema.tagged_columns, *existing.tagged_columns))
    if tagged:
        raise SchemaError(
            f"delete_existing_table: {', '.join(tagged)} have policy tags, and the statement that replaces a table "
            "cannot set them, so all readers could see the columns. Use write_disposition=WRITE_TRUNCATE, which keeps "
            "the table; or drop it yourself, and create it with the tags"
        )


def _of_new_table(config: SyncConfig, incoming: _Incoming) -> TableColumns:
    read = incoming.read.with_required(name for name, new_name in incoming.names.items() if new_name in incoming.key)
    layout, notes = incoming.layout, incoming.layout_notes
    if config.auto_schema is not None:
        description = incoming.description
        is_whole = all(name in incoming.names for name in description.primary_key)
        source_key = tuple(incoming.names[name] for name in description.primary_key) if is_whole else ()
        cannot_repeat = config.destination.write_disposition == "WRITE_TRUNCATE" and description.single_table
        schema = transform_schema(read, incoming.transformation)
        layout, key_notes = with_key(layout, incoming.key, schema, source_key, cannot_repeat=cannot_repeat)
        notes = (*notes, *key_notes)
    return TableColumns(read, incoming.transformation, layout, (), incoming.key, notes)


def _of_existing_table(config: SyncConfig, incoming: _Incoming, table: ExistingTable) -> TableColumns:
    differences = _differences(config, incoming, table)
    constants = {
        name: value
        for name, value in incoming.transformation.constant_fields.items()
        if name not in differences.left_out
    }
    required = differences.required | set(incoming.key)
    read = Schema(
        tuple(
            _as_loaded(field, incoming.names[field.name], table.schema, differences.types, required)
            for field in incoming.read
            if incoming.names[field.name] not in differences.left_out
        )
    )
    notes = (*differences.notes, *(layout_notes(incoming.layout, table.layout) if config.auto_schema else ()))
    transformation = incoming.transformation.model_copy(update={"constant_fields": constants})
    return TableColumns(read, transformation, table.layout, differences.alterations, incoming.key, notes)


def _differences(config: SyncConfig, incoming: _Incoming, table: ExistingTable) -> Differences:
    """Return the differences of the table. Raises SchemaError when they stop the run."""
    transformation, names = incoming.transformation, incoming.names
    hashed = {names[name] for name in transformation.hash_fields if name in names}
    differences = compare(
        config.destination.table_id,
        incoming.schema,
        table.schema,
        fixed=frozenset(hashed | set(transformation.constant_fields)),
        evolution=config.schema_evolution,
        takes_any_type=incoming.description.has_dynamic_schema,
    )
    if lost := differences.left_out & set(incoming.key):
        raise SchemaError(
            f"primary_key: {', '.join(sorted(lost))} is not in the destination table, so rows cannot be merged by it: "
            "add it to the table, or use another table"
        )
    if differences.problems:
        raise SchemaError(
            f"the destination table {config.destination.table_id} does not match the source:\n"
            + "\n".join(differences.problems)
        )
    return differences


def _as_loaded(field: Field, name: str, existing: Schema, types: Mapping[str, str], required: Collection[str]) -> Field:
    """Return the column with the type, mode and digits of the existing column. `name` is its destination name."""
    there = existing.find(name)
    field = field.as_type(types.get(name, field.type))
    if there is not None and there.type == field.type in ("NUMERIC", "BIGNUMERIC"):
        field = replace(field, parameters=there.parameters)
    return replace(field, mode=REQUIRED) if name in required and field.mode != REPEATED else field


def _check_timestamp_column(
    smart_sync: SmartSyncConfig, description: SourceDescription, read: Schema, sync_types: Collection[str]
) -> None:
    name = smart_sync.timestamp_column
    if name not in read:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is not among the columns that are loaded "
            f"({', '.join(read.names)}): Smart Sync needs it in the destination"
            f"{did_you_mean(name, read.names)}"
        )
    # If all values are NULL, so that the type is unknown, the column is read as the destination's type.
    field = (read if description.has_dynamic_schema else description.schema).field(name)
    if field.type not in sync_types:
        raise SchemaError(
            f"smart_sync_timestamp_column: {name} is {field.source_type}, and nothing tells which rows of it are still "
            "to come, so some would be lost: use a timestamp column"
        )
    kinds = {"DATE": "dates", NUMBER_TYPE: "numbers"}
    if field.type in kinds and read.field(name).type != field.type:
        raise SchemaError(f"smart_sync_timestamp_column: {name} has {kinds[field.type]}: load it as {field.type}")
