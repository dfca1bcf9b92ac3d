"""The dead letter table: its columns, and its state at launch."""

from __future__ import annotations

from dataclasses import dataclass

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import TableId
from sync_pipeline.planning.destination import describe_dataset, location_of
from sync_pipeline.schema import REQUIRED, Field, Schema

DEAD_LETTER_SCHEMA = Schema(
    (
        Field("run_id", "STRING", REQUIRED, "the run that rejected the row"),
        Field("failed_at", "TIMESTAMP", REQUIRED, "start of that run"),
        Field("destination_table", "STRING", REQUIRED, "the destination of the row"),
        Field("column_name", "STRING", REQUIRED, "the columns with invalid values, by their source names"),
        Field("reason", "STRING", REQUIRED, "why the values are invalid"),
        Field("source_row", "STRING", REQUIRED, "the row as JSON, each value as the source's text"),
    )
)


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
    missing = [
        f"{field.name} {field.type}"
        for field in DEAD_LETTER_SCHEMA
        if (there := existing.find(field.name)) is None or there.type_name != field.type_name
    ]
    if missing:
        raise SchemaError(
            f"dead_letter_table: {table} has no columns {', '.join(missing)}: name a table that does not exist, "
            "which the run then creates"
        )
    return DeadLetterTable(str(table), location, exists=True)
