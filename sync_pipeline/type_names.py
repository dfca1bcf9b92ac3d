"""The names of BigQuery's types, for checks of parameters, which import neither Arrow nor BigQuery's client."""

from __future__ import annotations

from collections.abc import Mapping

# The types of columns that a run can fill, in the order of `schema.ARROW_TYPES`.
TYPE_NAMES = (
    "BOOL",
    "INT64",
    "FLOAT64",
    "NUMERIC",
    "BIGNUMERIC",
    "STRING",
    "BYTES",
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "JSON",
    "GEOGRAPHY",
)

# The REST API still returns the type names of legacy SQL.
STANDARD_TYPE_NAMES: Mapping[str, str] = {
    "BOOLEAN": "BOOL",
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "RECORD": "STRUCT",
}
