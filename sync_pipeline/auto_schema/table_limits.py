"""BigQuery's limits on a table, checked before the read. https://cloud.google.com/bigquery/quotas"""

from __future__ import annotations

from collections.abc import Iterable

from sync_pipeline.errors import SchemaError
from sync_pipeline.registry import MONGODB
from sync_pipeline.schema import Field, Schema

MAX_COLUMNS = 10_000


def check_columns(schema: Schema, data_source: str) -> None:
    """Check the number of columns. Raises SchemaError when there are too many; fields of a STRUCT count too."""
    columns = _count(schema)
    if columns <= MAX_COLUMNS:
        return
    remedy = "leave some out with exclude_fields or include_fields"
    if data_source == MONGODB:
        remedy = f"load whole documents into one column with mongodb_document_mode=true, or {remedy}"
    raise SchemaError(f"the table would have {columns:,} columns, but BigQuery allows {MAX_COLUMNS:,}: {remedy}")


def _count(fields: Iterable[Field]) -> int:
    return sum(1 + _count(field.fields) for field in fields)
