"""The names of the columns of a collection."""

from __future__ import annotations

from sync_pipeline.parameters.identifiers import MAX_COLUMN_LENGTH, check_column, sanitised_column


def column_name(key: str) -> str:
    """Return the column of a document's field: its own name, or a similar one if BigQuery does not allow it.

    Depends only on the name, so that a field always has the same column.
    """
    if check_column(key) is None:
        return key
    readable = sanitised_column(key)
    if readable == "column":
        # The name has no allowed character, for example in another script.
        readable = f"field_{key.encode(errors='replace').hex()}"[:MAX_COLUMN_LENGTH]
    return readable
