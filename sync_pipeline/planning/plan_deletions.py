"""Decides how a merge finds the rows that the source no longer has."""

from __future__ import annotations

from google.cloud import bigquery

from sync_pipeline.auto_schema.ddl import add_columns_sql
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters import rows
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.billed_queries import DRY_RUN, BilledQuery, price_text
from sync_pipeline.planning.columns import TableColumns
from sync_pipeline.planning.deletions import ALL_PERCENT, MARK, SMALL_TABLE_ROWS, Deletions, KeyRead
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.merge_costs import bytes_of_columns
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.schema import Schema
from sync_pipeline.sources.source import ReadPlan, ReadsKeys, SourceSession
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
    client: bigquery.Client, plan: TableSync, columns: TableColumns, destination: DestinationDescription
) -> tuple[tuple[str, ...], tuple[BilledQuery, ...]]:
    """Return sentences on how deleted rows are found, and what BigQuery bills for it. Raises PublishError."""
    table, deletions = destination.table, plan.deletions
    if deletions is None or deletions.keys is None or table is None:
        return (), ()
    filtered = table.required_filter_column
    size = bytes_of_columns(client, plan.table_id, columns.primary_key, filtered, destination.location)
    verb = "marked" if deletions.marks else "removed"
    read = deletions.keys.read
    names = ", ".join(deletions.keys.read_schema.names)
    how = _how(read, is_selected=plan.selection is not None)
    small_tables = _SMALL_TABLES if 0 < deletions.max_percent < ALL_PERCENT else ""
    sentence = (
        f"deleted rows are {verb}: the key of all rows ({names}) is read from the source, after the rows, {how}, and "
        f"compared with the table's: {price_text(size)}; if rows are missing, a statement changes the table, at most "
        f"{deletions.max_percent} % of its rows{small_tables}"
    )
    billed = (BilledQuery("keys of the table", size, DRY_RUN),)
    return ((sentence, f"for the keys, {read.costs}") if read.costs else (sentence,)), billed


def _how(read: ReadPlan, *, is_selected: bool) -> str:
    if is_selected:
        return "by the script that publishes"
    if read.how:
        return f"by the {read.how}"
    count = len(read.splits)
    return f"in {count} split{'' if count == 1 else 's'} ({read.splitting})"


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
