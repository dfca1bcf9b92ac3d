"""Warnings about the destination, for the plan."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.schema import Schema

# With a longer expiration, expired partitions hold only data that is not loaded again.
_A_DAY = timedelta(days=1)


def table_risks(
    config: SyncConfig,
    destination: DestinationDescription,
    schema: Schema,
    layout: TableLayout,
    write_mode: WriteMode,
) -> Iterable[str]:
    """Yield warnings about expiration, declared keys and policy tags of the destination table."""
    table, table_id = destination.table, config.destination.table_id
    yield from _expirations(config, destination, layout)
    if layout.primary_key and write_mode is WriteMode.APPEND:
        yield "the table declares a primary key, but append keeps every version: BigQuery relies on the key"
    tagged = ", ".join(schema.tagged_columns)
    if tagged and table is None:
        yield (
            f"{table_id} is created with the policy tags of {tagged}: the job's service account needs "
            "bigquery.tables.setCategory, which roles/bigquery.dataOwner on the dataset has and dataEditor lacks; or "
            "create the table yourself, or exclude the columns with exclude_fields"
        )


def staging_risks(table: TableSync, existing: Schema | None) -> Iterable[str]:
    """Yield a warning if columns with policy tags are unprotected in the staging table."""
    tagged = {name.lower() for name in (*table.schema.tagged_columns, *(existing.tagged_columns if existing else ()))}
    staged = ", ".join(name for name in table.schema.names if name.lower() in tagged)
    is_staged = table.selection is None and table.needs_staging_table
    if staged and is_staged and table.config.destination.staging_dataset is None:
        yield (
            f"{staged} have policy tags, but a staging table in the destination's dataset lacks the tags until the "
            "rows are published: give staging_dataset, a dataset that only the job's service account may read"
        )


def _expirations(config: SyncConfig, destination: DestinationDescription, layout: TableLayout) -> Iterable[str]:
    table, table_id, dataset = destination.table, config.destination.table_id, config.destination.dataset
    again = "and the next run after it loads everything again" if config.smart_sync is not None else "with all rows"
    if table is not None and table.options.expires is not None:
        yield (
            f"{table_id} expires: BigQuery deletes it at {table.options.expires:%Y-%m-%d %H:%M} UTC, {again}. ALTER "
            "TABLE … SET OPTIONS (expiration_timestamp = NULL) keeps it"
        )
    if table is None and destination.new_tables_expire is not None:
        days = destination.new_tables_expire / _A_DAY
        yield (
            f"the dataset {dataset} deletes its tables {days:g} day(s) after they are created, so also {table_id}, "
            f"{again}: create the table yourself, or change the dataset's default_table_expiration_days"
        )
    if layout.partition_field is None:
        return
    if table is not None and table.options.partition_expiration_days is not None:
        whose = f"{table_id} expires partitions {table.options.partition_expiration_days:g} day(s) after their date"
    elif destination.partitions_expire and (table is None or config.destination.delete_existing_table):
        whose = f"the dataset {dataset} expires partitions by age"
    else:
        return
    yield f"{whose}: BigQuery deletes rows of older partitions during the load, and the run then fails"
