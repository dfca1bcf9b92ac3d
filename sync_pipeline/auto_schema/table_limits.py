"""BigQuery's limits on a table, checked before the read. https://cloud.google.com/bigquery/quotas"""

from __future__ import annotations

from collections.abc import Iterable

from sync_pipeline.errors import SchemaError
from sync_pipeline.schema import MAX_COLUMNS, Field, Schema


def check_columns(schema: Schema, remedy: str = "") -> None:
    """Check the number of columns; fields of a STRUCT count too.

    `remedy` names what helps besides excluding columns.

    Raises:
        SchemaError: there are too many columns.
    """
    columns = _count(schema)
    if columns <= MAX_COLUMNS:
        return
    leave_out = "leave some out with exclude_fields or include_fields"
    remedies = f"{remedy}, or {leave_out}" if remedy else leave_out
    raise SchemaError(f"the table would have {columns:,} columns, but BigQuery allows {MAX_COLUMNS:,}: {remedies}")


def _count(fields: Iterable[Field]) -> int:
    return sum(1 + _count(field.fields) for field in fields)
