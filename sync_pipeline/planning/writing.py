"""Decides how rows are written: the write mode, its cost, and the dead letter table."""

from __future__ import annotations

from dataclasses import dataclass

from google.cloud import bigquery

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.collation import check_collation
from sync_pipeline.planning.columns import TableColumns
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.lookups import Lookups
from sync_pipeline.planning.merge_costs import MergeCosts, merge_costs
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.pruning import clustered_by, prunable_by
from sync_pipeline.planning.row_security import check_visibility
from sync_pipeline.schema import Field


@dataclass(frozen=True)
class PlannedWriting:
    """The decisions about writing; see `TableSync` for the attributes."""

    mode: WriteMode
    pruned_by: Field | None
    clustered_by: Field | None
    costs: MergeCosts | None
    dead_letters: DeadLetterTable | None
    loads_all_columns: bool
    changes_layout: bool


def plan_writing(
    client: bigquery.Client,
    lookups: Lookups,
    config: SyncConfig,
    columns: TableColumns,
    destination: DestinationDescription,
) -> PlannedWriting:
    """Check that the destination accepts `columns`, and estimate the cost.

    Raises:
        SchemaError: the run must not write to the table.
        PublishError: BigQuery rejected a request.
    """
    table, table_id = destination.table, config.destination.table_id
    mode = write_mode(config, columns, destination)
    merged_by = columns.primary_key if mode is WriteMode.MERGE else ()
    check_visibility(client, table_id, destination, merged_by=merged_by, was_asked=config.smart_sync is not None)
    check_collation(config.destination, destination, columns.schema, merged_by, "primary_key")
    pruned_by, key_column, costs = None, None, None
    if merged_by and table is not None:
        pruned_by = prunable_by(table.schema, table.layout.partition_field)
        key_column = clustered_by(table.schema, columns.schema, table.layout.clustering_fields, merged_by)
        costs = merge_costs(
            client,
            table_id,
            table_size=table.size,
            key=merged_by,
            pruned_by=pruned_by,
            clustered_by=key_column,
            required_filter_column=table.required_filter_column,
            location=destination.location,
        )
    return PlannedWriting(
        mode,
        pruned_by,
        key_column,
        costs,
        lookups.dead_letters(config.dead_letter_table) if config.dead_letter_table else None,
        loads_all_columns=table is None or all(columns.schema.find(field.name) for field in table.schema),
        changes_layout=table is not None and destination.is_replaced and not table.has_layout(columns.layout),
    )


def write_mode(config: SyncConfig, columns: TableColumns, destination: DestinationDescription) -> WriteMode:
    """Return what happens to existing rows."""
    if destination.is_replaced:
        return WriteMode.REPLACE
    if config.destination.write_disposition == "WRITE_TRUNCATE":
        return WriteMode.TRUNCATE
    return WriteMode.MERGE if columns.primary_key else WriteMode.APPEND
