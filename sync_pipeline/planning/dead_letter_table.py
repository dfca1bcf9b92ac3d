"""The dead letter table at launch."""

from __future__ import annotations

from dataclasses import dataclass

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.own_tables import missing_dead_letter_columns
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import TableId
from sync_pipeline.planning.destination import describe_dataset, location_of
from sync_pipeline.schema import Schema

DEAD_LETTER_LAYOUT = TableLayout(partition_field="failed_at")


@dataclass(frozen=True)
class DeadLetterTable:
    """The table for rejected rows.

    Attributes:
        location: the location of its dataset.
        exists: False if the first rejected row creates it.
    """

    table_id: str
    location: str
    exists: bool


def describe_dead_letters(client: bigquery.Client, table: TableId) -> DeadLetterTable:
    """Describe the dead letter table. Raises SchemaError when an existing table lacks its columns."""
    dataset_id = f"{table.project}.{table.dataset}"
    location = location_of(describe_dataset(client, dataset_id, "dead_letter_table"))
    with translated_errors(f"look at dead_letter_table {table}"):
        try:
            existing = Schema.from_bigquery(client.get_table(str(table), retry=REQUEST_RETRY).schema)
        except exceptions.NotFound:
            return DeadLetterTable(str(table), location, exists=False)
    if missing := missing_dead_letter_columns(existing):
        raise SchemaError(
            f"dead_letter_table: {table} has no columns {', '.join(missing)}: name a table that does not exist, "
            "which the run then creates"
        )
    return DeadLetterTable(str(table), location, exists=True)
