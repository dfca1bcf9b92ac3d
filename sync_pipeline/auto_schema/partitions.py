"""The partitions that rows belong to: their expression in GoogleSQL, and their limits."""

from __future__ import annotations

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError
from sync_pipeline.schema import PARTITION_GRANULARITIES, Field, Schema

# Limits on the partitions that one job or statement modifies, and on those of a table.
# https://cloud.google.com/bigquery/quotas#partitioned_tables
MAX_PARTITIONS_PER_JOB = 4_000
MAX_PARTITIONS_PER_TABLE = 10_000


def check_partitions(partitions: frozenset[str | None], schema: Schema, layout: TableLayout, most: int) -> None:
    """Check the number of partitions. Raises SchemaError when the rows belong to more than `most` partitions."""
    if len(partitions) <= most:
        return
    field = schema.find(layout.partition_field or "")
    assert field is not None
    coarser = coarser_granularity(field, layout)
    remedy = f"set partition_granularity={coarser} for a new table, or " if coarser else ""
    limit = "BigQuery's limit for a table"
    if most == MAX_PARTITIONS_PER_JOB:
        limit = "BigQuery's limit for one job"
    raise SchemaError(
        f"the rows belong to more than {most:,} partitions of {field.name} by "
        f"{layout.partition_granularity}, {limit}: {remedy}load a shorter interval per run"
    )


def coarser_granularity(field: Field, layout: TableLayout) -> str | None:
    """Return the next coarser granularity for a table partitioned by `field`; None if it has the coarsest."""
    allowed = PARTITION_GRANULARITIES[field.type]
    return next(iter(allowed[allowed.index(layout.partition_granularity) + 1 :]), None)


def partition_sql(value: str, field: Field, layout: TableLayout) -> str:
    """Return the start of the partition of `value`, an expression of the type of `field`, as BigQuery partitions."""
    if field.type == "DATE" and layout.partition_granularity == "DAY":
        return value
    return f"{field.type}_TRUNC({value}, {layout.partition_granularity})"


def partition_groups(partitions: frozenset[str | None]) -> list[frozenset[str | None]]:
    """Return the partitions, in order, in the fewest groups that one job each can modify.

    The first group includes the NULL partition, because NULL sorts first.
    """
    moments = sorted(moment for moment in partitions if moment is not None)
    # One less than the limit leaves room for the NULL partition.
    size = MAX_PARTITIONS_PER_JOB - 1
    groups = [frozenset[str | None](moments[first : first + size]) for first in range(0, len(moments), size)]
    if None in partitions:
        groups = [(groups[0] if groups else frozenset()) | {None}, *groups[1:]]
    return groups
