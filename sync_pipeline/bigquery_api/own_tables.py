"""The tables of the product's runs, and how to tell them from the user's tables in the same dataset."""

from __future__ import annotations

import re

from sync_pipeline.schema import REQUIRED, Field, Schema

# The formats of `new_run_id` and of `TableSync.name`.
RUN_ID = re.compile(r"(?P<began>[0-9]{8}T[0-9]{6})_[0-9a-f]{8}")
TABLE_NAME = re.compile(rf"{RUN_ID.pattern}(_[1-9][0-9]*)?")

# The prefixes of a staging table of rows and of one of keys, of a table that is built to replace the destination, and
# of a destination that is being replaced.
STAGING, KEYS, REPLACEMENT, REPLACED = "_staging", "_keys", "_replacement", "_replaced"
_TEMPORARY = re.compile(rf"({STAGING}|{KEYS}|{REPLACEMENT}|{REPLACED})_{TABLE_NAME.pattern}")

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


def is_temporary(table_id: str) -> bool:
    """Whether a table has the name of one that a run creates and removes."""
    return _TEMPORARY.fullmatch(table_id) is not None


def missing_dead_letter_columns(existing: Schema) -> list[str]:
    """Return the columns, with their types, that a table lacks to hold dead letters."""
    return [
        f"{field.name} {field.type}"
        for field in DEAD_LETTER_SCHEMA
        if (there := existing.find(field.name)) is None or there.type_name != field.type_name
    ]
