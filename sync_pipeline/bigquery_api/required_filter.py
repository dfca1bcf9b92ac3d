"""Tables that require a partition filter: BigQuery refuses statements without a filter on the partition column."""

from __future__ import annotations

from google.cloud import bigquery

# The pseudo column of a table that is partitioned by ingestion time.
_INGESTION_TIME = "_PARTITIONTIME"


def required_filter_column(table: bigquery.Table) -> str | None:
    """Return the column that every statement on the table must filter by, or None."""
    if not table.require_partition_filter:
        return None
    if table.range_partitioning is not None:
        return str(table.range_partitioning.field)
    field = table.time_partitioning.field if table.time_partitioning else None
    return str(field or _INGESTION_TIME)


def always_true_filter(column: str) -> str:
    """Return a condition on the column that is always true and that BigQuery accepts as a partition filter."""
    return f"({column} IS NOT NULL OR {column} IS NULL)"
