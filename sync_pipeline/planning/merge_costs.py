"""What a merge costs on demand, told before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.googlesql import quoted
from sync_pipeline.schema import Field

# The price on demand in the US. https://cloud.google.com/bigquery/pricing#on_demand_pricing
DOLLARS_PER_TIB = 6.25

# Dollars a run above which the cost is a risk of the plan.
NOTABLE_DOLLARS = 1.0

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True)
class MergeCosts:
    """What every merge into the table reads at least.

    Attributes:
        size: in bytes.
        column: the partition column by which partitions are left out; None where the whole table is read.
    """

    size: int
    column: Field | None = None

    @property
    def dollars(self) -> float:
        """The price on demand."""
        return self.size / 2**40 * DOLLARS_PER_TIB

    def __str__(self) -> str:
        price = f"{size_text(self.size)}, about ${self.dollars:,.2f} a run on demand at ${DOLLARS_PER_TIB} per TiB"
        if self.column is None:
            return f"the merge reads the whole table: {price}"
        return (
            f"the merge reads the key and {self.column.name} of all rows: {price}; and all columns of the partitions "
            "that hold older versions of the rows"
        )

    @property
    def risk(self) -> str | None:
        """A sentence for the plan where a run costs more than one would think."""
        if self.dollars < NOTABLE_DOLLARS:
            return None
        remedy = "run less often, or append and keep the newest versions in a view"
        if self.column is None:
            remedy = f"partition the table by a column that seldom changes, such as created_at; or {remedy}"
        return f"{self}: {remedy}"


def merge_costs(
    client: bigquery.Client,
    table_id: str,
    *,
    table_size: int,
    key: Sequence[str],
    pruned_by: Field | None,
    required_filter_column: str | None,
    location: str,
) -> MergeCosts:
    """Return what a merge into an existing table costs.

    Without pruning BigQuery bills all columns of the table, of which rows are updated.
    https://cloud.google.com/bigquery/docs/estimate-costs#on-demand-query-size-calculation
    """
    if pruned_by is None:
        return MergeCosts(table_size)
    columns = ", ".join(f"t.{quoted(name)}" for name in dict.fromkeys((*key, pruned_by.name)))
    filters = f"\nWHERE {always_true_filter(f't.{quoted(required_filter_column)}')}" if required_filter_column else ""
    with translated_errors(f"ask what reading the key of {table_id} costs"):
        job = client.query(
            f"SELECT {columns}\nFROM {quoted(table_id)} AS t{filters}",
            job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False),
            location=location,
            retry=REQUEST_RETRY,
        )
    return MergeCosts(int(job.total_bytes_processed or 0), pruned_by)


def size_text(size: float) -> str:
    """Return `1.5 GiB` of a number of bytes."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:,.0f} {_UNITS[unit]}" if unit == 0 else f"{size:,.1f} {_UNITS[unit]}"
