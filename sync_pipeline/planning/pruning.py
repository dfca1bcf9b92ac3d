"""The partition column by which a merge prunes partitions of the destination."""

from __future__ import annotations

from sync_pipeline.schema import PARTITION_GRANULARITIES, Field, Schema

# The variables of the script, and its temporary table. A column takes precedence over a variable of the same name.
OLD, OLD_PARTITIONS, OLD_IS_NULL, ROWS = "sync_old", "sync_old_partitions", "sync_old_is_null", "sync_rows"


def prunable_by(existing: Schema, partition_field: str | None) -> Field | None:
    """Return the column by which a merge into an existing table can prune partitions, or None."""
    field = existing.find(partition_field) if partition_field is not None else None
    if field is None or field.type not in PARTITION_GRANULARITIES:
        return None
    return None if any(existing.find(name) for name in (OLD, OLD_PARTITIONS, OLD_IS_NULL)) else field
