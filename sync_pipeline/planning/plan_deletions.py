"""Decides how a merge finds the rows that the source no longer has."""

from __future__ import annotations

from google.cloud import bigquery

from sync_pipeline.auto_schema.ddl import add_columns_sql
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters import rows
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.columns import TableColumns
from sync_pipeline.planning.deletions import ALL_PERCENT, MARK, SMALL_TABLE_ROWS, Deletions, KeyRead
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.merge_costs import bytes_of_columns, price_text
from sync_pipeline.schema import Schema
from sync_pipeline.sources.source import ReadsKeys, SourceSession
from sync_pipeline.transforms.batches import destination_name, transform_schema

# Follows the limit in percent.
_SMALL_TABLES = f" or, if it has fewer than {SMALL_TABLE_ROWS}, of {SMALL_TABLE_ROWS}, but never all"


def plan_deletions(
    session: SourceSession, config: SyncConfig, columns: TableColumns, destination: DestinationDescription
) -> Deletions | None:
    """Return how a merge treats rows that the source no longer has; None if it keeps them.

    Raises:
        SourceError: the source cannot plan the read of its keys.
        SchemaError: the column of the marks cannot be added, or no key column is read from the source.
    """
    if config.deletes == rows.KEEP or not columns.primary_key:
        return None
    marks = config.deletes == rows.MARK
    if marks:
        _check_mark(columns.schema, config.destination.table_id, destination)
    keys = None if destination.table is None else _key_read(session, columns)
    return Deletions(marks, config.max_deleted_percent, keys)


def mark_alterations(
    deletions: Deletions | None, table_id: str, destination: DestinationDescription
) -> tuple[str, ...]:
    """Return the statement that adds the column of the marks to an existing table that lacks it."""
    table = destination.table
    if deletions is None or not deletions.marks or table is None or table.schema.find(MARK.name):
        return ()
    return (add_columns_sql(table_id, [MARK]),)


def deletion_note(
    client: bigquery.Client,
    deletions: Deletions | None,
    table_id: str,
    columns: TableColumns,
    destination: DestinationDescription,
) -> tuple[str, ...]:
    """Return a sentence on how deleted rows are found and what this costs. Raises PublishError."""
    table = destination.table
    if deletions is None or deletions.keys is None or table is None:
        return ()
    size = bytes_of_columns(client, table_id, columns.primary_key, table.required_filter_column, destination.location)
    count = len(deletions.keys.read.splits)
    splits = f"{count} split{'' if count == 1 else 's'} ({deletions.keys.read.splitting})"
    verb = "marked" if deletions.marks else "removed"
    sentence = (
        f"deleted rows are {verb}: the keys of all rows are read from the source, after the rows, in {splits}, and "
        f"compared with those of the table: {price_text(size)}; if rows are missing, a statement changes the table, "
        f"at most {deletions.max_percent} % of its rows"
        f"{_SMALL_TABLES if 0 < deletions.max_percent < ALL_PERCENT else ''}"
    )
    return (sentence,)


def _check_mark(schema: Schema, table_id: str, destination: DestinationDescription) -> None:
    if (clash := schema.find(MARK.name)) is not None:
        raise SchemaError(
            f"deletes=mark writes the column {MARK.name}, and the source has a column {clash.name}: rename it with "
            "transformation_config.field_mappings, exclude it, or use deletes=remove"
        )
    existing = destination.table.schema.find(MARK.name) if destination.table is not None else None
    if existing is not None and existing.type_name != MARK.type_name:
        raise SchemaError(
            f"deletes=mark writes the column {MARK.name} as {MARK.type}, and in {table_id} it is "
            f"{existing.type_name}: rename it there, or use deletes=remove"
        )


def _key_read(session: SourceSession, columns: TableColumns) -> KeyRead:
    transformation = columns.transformation
    read = Schema(
        tuple(field for field in columns.read if destination_name(field.name, transformation) in columns.primary_key)
    )
    if not len(read):
        raise SchemaError("deletes: every column of primary_key is a constant, so the source has no keys to compare")
    constants = {name: value for name, value in transformation.constant_fields.items() if name in columns.primary_key}
    of_key = transformation.model_copy(
        update={
            "constant_fields": constants,
            "hash_fields": tuple(name for name in transformation.hash_fields if name in read),
        }
    )
    assert isinstance(session, ReadsKeys), "checked with the parameters"
    return KeyRead(session.plan_keys(read), read, transform_schema(read, of_key), of_key)
