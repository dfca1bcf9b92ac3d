"""How many partitions rows belong to, and how many one job may change."""

from __future__ import annotations

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError
from sync_pipeline.schema import PARTITION_GRANULARITIES, Schema

# One job, or statement, may change no more partitions than this, and a table can have no more than that.
# https://cloud.google.com/bigquery/quotas#partitioned_tables
MAX_PARTITIONS_PER_JOB = 4_000


MAX_PARTITIONS_PER_TABLE = 10_000


def check_partitions(partitions: frozenset[str | None], schema: Schema, layout: TableLayout, most: int) -> None:
    """Raise SchemaError when the rows belong to more than `most` partitions."""
    if len(partitions) <= most:
        return
    field = schema.find(layout.partition_field or "")
    assert field is not None
    allowed = PARTITION_GRANULARITIES[field.type]
    wider = allowed[allowed.index(layout.partition_granularity) + 1 :]
    remedy = f"set partition_granularity={wider[0]} for a new table, or " if wider else ""
    limit = "the most that a table has"
    if most == MAX_PARTITIONS_PER_JOB:
        limit = "the most that BigQuery changes in one job"
    raise SchemaError(
        f"the rows belong to more than {most:,} partitions of {field.name} by "
        f"{layout.partition_granularity}, {limit}: {remedy}load a shorter interval a run"
    )


def partition_groups(partitions: frozenset[str | None]) -> list[frozenset[str | None]]:
    """Return the partitions in as few groups as one job each can change, each group before the next.

    The partition of rows without a moment is in the first group, where they sort.
    """
    moments = sorted(moment for moment in partitions if moment is not None)
    # One place is left for the rows without a moment.
    size = MAX_PARTITIONS_PER_JOB - 1
    groups = [frozenset[str | None](moments[first : first + size]) for first in range(0, len(moments), size)]
    if None in partitions:
        groups = [(groups[0] if groups else frozenset()) | {None}, *groups[1:]]
    return groups
