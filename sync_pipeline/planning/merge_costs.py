"""Estimates the on-demand cost of a merge, for the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.billed_queries import DRY_RUN, METADATA, BilledQuery, dollars, price_text
from sync_pipeline.schema import Field

# Dollars a run above which the cost is a risk of the plan.
NOTABLE_DOLLARS = 1.0


@dataclass(frozen=True)
class MergeCosts:
    """What each merge into the table costs, whatever it changes.

    Attributes:
        size: bytes read; with `clustered_by` at most.
        column: the column that prunes partitions; None if the merge reads all of them.
        clustered_by: the key column that prunes blocks; None if the merge reads all of them.
        is_part_of_key: whether `column` is part of the key, so that no partition is searched for older versions.
    """

    size: int
    column: Field | None = None
    clustered_by: Field | None = None
    is_part_of_key: bool = False

    @property
    def dollars(self) -> float:
        """The on-demand price in dollars."""
        return dollars(self.size)

    def __str__(self) -> str:
        price = price_text(self.size)
        if self.is_part_of_key:
            return "the merge reads the partitions of its rows, and nothing of the others"
        key = self.clustered_by.name if self.clustered_by is not None else ""
        if self.column is None:
            if key:
                return f"the merge reads the blocks from the lowest to the highest {key} of its rows, at most: {price}"
            return f"the merge reads the whole table: {price}"
        rows = f"of the blocks from the lowest to the highest {key} of its rows, at most" if key else "of all rows"
        return (
            f"the merge reads the key and {self.column.name} {rows}: {price}; and all columns of the partitions with "
            "older versions of the rows"
        )

    @property
    def billed(self) -> BilledQuery:
        """The merge as a query that BigQuery bills."""
        basis = METADATA if self.column is None else DRY_RUN
        return BilledQuery("merge", self.size, basis, is_least=self.column is not None)

    @property
    def risk(self) -> str | None:
        """A warning for the plan if a run is expensive, else None."""
        if self.dollars < NOTABLE_DOLLARS:
            return None
        remedy = "run less often, or append and keep the newest versions in a view"
        if self.column is None:
            remedy = f"partition the table by a column that rarely changes, such as created_at; or {remedy}"
        return f"{self}: {remedy}"


def merge_costs(
    client: bigquery.Client,
    table_id: str,
    *,
    table_size: int,
    key: Sequence[str],
    pruned_by: Field | None,
    clustered_by: Field | None,
    required_filter_column: str | None,
    location: str,
) -> MergeCosts:
    """Return the cost of a merge into an existing table.

    Without pruning, BigQuery bills all columns of the whole table. Which blocks are pruned is known when it has ended.
    https://cloud.google.com/bigquery/docs/estimate-costs#on-demand-query-size-calculation
    """
    if pruned_by is None:
        return MergeCosts(table_size, clustered_by=clustered_by)
    if pruned_by.name.lower() in (name.lower() for name in key):
        return MergeCosts(0, pruned_by, is_part_of_key=True)
    size = bytes_of_columns(client, table_id, (*key, pruned_by.name), required_filter_column, location)
    return MergeCosts(size, pruned_by, clustered_by)


def bytes_of_columns(
    client: bigquery.Client, table_id: str, names: Sequence[str], required_filter_column: str | None, location: str
) -> int:
    """Return how many bytes a query reads that takes these columns of all rows. Raises PublishError."""
    columns = ", ".join(f"t.{quoted(name)}" for name in dict.fromkeys(names))
    filters = f"\nWHERE {always_true_filter(f't.{quoted(required_filter_column)}')}" if required_filter_column else ""
    with translated_errors(f"estimate the cost of reading the key of {table_id}"):
        job = client.query(
            f"SELECT {columns}\nFROM {quoted(table_id)} AS t{filters}",
            job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False),
            location=location,
            retry=REQUEST_RETRY,
        )
    return int(job.total_bytes_processed or 0)
