"""What a run will read, how long it will take in this process, and what BigQuery will bill, as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync_pipeline.planning.billed_queries import billed_bytes
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan

# A whole run of `make bench` reads, stages and loads this much of PostgreSQL's bytes a second on two cores, which its
# servers share (docs/reference/performance.md), and needs so long to start and end.
BYTES_PER_SECOND = 60 * 2**20
START_SECONDS = 4.0


@dataclass(frozen=True)
class RunEstimate:
    """The estimate of a run.

    Attributes:
        rows: rows to read, as the source estimates; those of tables without an estimate are missing.
        is_complete: whether no table is without one.
        size: bytes of these rows at the source; None if it does not estimate all of them.
        seconds: in this process, by `BYTES_PER_SECOND`; None if it is not known.
        billed_bytes: bytes of queries that BigQuery bills.
        is_least_bill: whether it may bill more.
    """

    rows: int
    is_complete: bool
    size: int | None
    seconds: float | None
    billed_bytes: int
    is_least_bill: bool


def estimate_run(plan: RunPlan) -> RunEstimate:
    """Return the estimate of a run."""
    return estimate_tables(plan.tables)


def estimate_tables(tables: Sequence[TableSync]) -> RunEstimate:
    """Return the estimate of some tables of a run."""
    sizes = [bytes_of(table) for table in tables]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    # BigQuery does not say how long a query will take that moves the rows.
    is_timed = size is not None and all(table.selection is None for table in tables)
    queries = [query for table in tables for query in table.billed]
    return RunEstimate(
        rows=sum(table.read.estimated_rows or 0 for table in tables),
        is_complete=all(table.read.estimated_rows is not None for table in tables),
        size=size,
        seconds=round(START_SECONDS + (size or 0) / BYTES_PER_SECOND, 1) if is_timed else None,
        billed_bytes=billed_bytes(queries),
        is_least_bill=any(query.is_least or query.size is None for query in queries),
    )


def bytes_of(table: TableSync) -> int | None:
    """Return the estimated bytes of the rows to read, None without an estimate."""
    if table.read.estimated_bytes is not None:
        return table.read.estimated_bytes
    reads_all = table.interval is None or table.interval.is_unbounded or table.interval.is_everything
    return table.source_bytes if reads_all else None
