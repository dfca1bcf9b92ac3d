"""The table that takes rejected rows: its columns, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import TableId
from sync_pipeline.planning.destination import describe_dataset
from sync_pipeline.schema import REQUIRED, Field, Schema

DEAD_LETTER_SCHEMA = Schema(
    (
        Field("run_id", "STRING", REQUIRED, "the run that met the row"),
        Field("failed_at", "TIMESTAMP", REQUIRED, "when that run began"),
        Field("destination_table", "STRING", REQUIRED, "where the row should have gone"),
        Field("column_name", "STRING", REQUIRED, "the columns whose values do not fit, by their source names"),
        Field("reason", "STRING", REQUIRED, "why they do not fit"),
        Field("source_row", "STRING", REQUIRED, "the row as JSON, every value as the source writes it"),
    )
)


DEAD_LETTER_LAYOUT = TableLayout(partition_field="failed_at")


@dataclass(frozen=True)
class DeadLetterTable:
    """Where rows that do not fit go.

    Attributes:
        location: of its dataset.
        exists: False when it is created by the first row.
    """

    table_id: str
    location: str
    exists: bool


def describe_dead_letters(client: bigquery.Client, table: TableId) -> DeadLetterTable:
    """Return where dead letters go. Raises SchemaError when a table is there that cannot take them."""
    dataset_id = f"{table.project}.{table.dataset}"
    location = describe_dataset(client, dataset_id, "dead_letter_table").location or "US"
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
            "and it will be created"
        )
    return DeadLetterTable(str(table), location, exists=True)
