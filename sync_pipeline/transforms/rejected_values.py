"""Sentences on values that a column rejects, for all sources alike. None holds a value."""

from __future__ import annotations

from collections.abc import Mapping

from sync_pipeline.schema import Field

# What each type of BigQuery holds. A source adds what is particular to its own values.
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
LIMITS: Mapping[str, str] = {
    "BOOL": "BOOL holds true and false",
    "INT64": "INT64 holds whole numbers from -2^63 to 2^63-1",
    "FLOAT64": "FLOAT64 holds numbers",
    "NUMERIC": "NUMERIC holds 29 digits before the point and 9 after it, no NaN and no infinity",
    "BIGNUMERIC": "BIGNUMERIC holds 38 digits before the point and 38 after it, no NaN and no infinity",
    "STRING": "STRING holds text in UTF-8",
    "DATE": "DATE holds the years 1 to 9999",
    "TIME": "TIME holds 00:00:00 to 23:59:59.999999",
    "DATETIME": "DATETIME holds the years 1 to 9999",
    "TIMESTAMP": "TIMESTAMP holds the years 1 to 9999",
}


def invalid_value(field: Field, source_type: str, remedy: str, limit: str = "") -> str:
    """Return the reason for a value that the column does not hold; `limit` is a sentence on what it holds."""
    why = f": {limit}" if limit else ""
    return f"column {field.name!r} ({source_type} to {field.type_name}) has an invalid value{why}. {remedy}"


def null_value(
    field: Field, remedy: str = "Correct the rows or the query", found: str = "has NULL", also: str = ""
) -> str:
    """Return the reason for a NULL in a column that forbids it; `also` is what may forbid it besides."""
    return (
        f"column {field.name!r} {found}, which is not allowed: it is in primary_key, {also}or REQUIRED in the "
        f"destination. {remedy}, or in an existing table run ALTER TABLE … ALTER COLUMN `{field.name}` DROP NOT NULL"
    )
