"""The columns by which a merge leaves out partitions and blocks of the destination."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.schema import CLUSTERING_TYPES, PARTITION_GRANULARITIES, Field, Schema

# The variables of the script, and its temporary table. A column takes precedence over a variable of the same name.
OLD, OLD_PARTITIONS, OLD_IS_NULL, ROWS = "sync_old", "sync_old_partitions", "sync_old_is_null", "sync_rows"
FIRST_KEY, LAST_KEY = "sync_first_key", "sync_last_key"

# The types of a clustering column of which two values are the bounds of many.
_ORDERED_TYPES = CLUSTERING_TYPES - {"BOOL", "GEOGRAPHY", "RANGE"}


def prunable_by(existing: Schema, partition_field: str | None) -> Field | None:
    """Return the column by which a merge into an existing table can prune partitions, or None."""
    field = existing.find(partition_field) if partition_field is not None else None
    if field is None or field.type not in PARTITION_GRANULARITIES:
        return None
    return None if any(existing.find(name) for name in (OLD, OLD_PARTITIONS, OLD_IS_NULL)) else field


def clustered_by(
    existing: Schema, incoming: Schema, clustering_fields: Sequence[str], key: Sequence[str]
) -> Field | None:
    """Return the key column by which the blocks of an existing table are sorted first, or None.

    A merge names the lowest and the highest value of its rows, which prunes the other blocks.
    https://cloud.google.com/bigquery/docs/clustered-tables#block-pruning
    """
    first = clustering_fields[0].lower() if clustering_fields else None
    name = next((name for name in key if name.lower() == first), None)
    if name is None or any(schema.find(each) for schema in (existing, incoming) for each in (FIRST_KEY, LAST_KEY)):
        return None
    field = existing.find(name)
    # A column that is converted before it is compared prunes no block.
    if field is None or field.type not in _ORDERED_TYPES or field.type != incoming.field(name).type:
        return None
    return field
