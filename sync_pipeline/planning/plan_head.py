"""The first two lines of a plan: what the run will do and to how many rows; how long it takes and what it costs."""

from __future__ import annotations

from collections import Counter

from sync_pipeline.parameters.declaration import declared
from sync_pipeline.planning.billed_queries import DOLLARS_PER_TIB, dollars_text, size_text
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.run_estimate import BYTES_PER_SECOND, RunEstimate, estimate_run
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.printable import on_one_line

HEAD_LINES = 2

_MODES = {
    WriteMode.APPEND: "appended",
    WriteMode.MERGE: "merged",
    WriteMode.TRUNCATE: "reloaded",
    WriteMode.REPLACE: "rebuilt",
}


def head_lines(plan: RunPlan) -> tuple[str, str]:
    """Return the two lines."""
    estimate = estimate_run(plan)
    what = _of_tables(plan, estimate) if plan.has_several_tables else _of_table(plan.tables[0], estimate)
    return on_one_line(what), f"{_duration(plan, estimate)} {_bill(plan, estimate)}"


def _of_table(table: TableSync, estimate: RunEstimate) -> str:
    label = declared(table.config.data_source).label
    rows = f"{_rows(estimate)} from {f'{table.source_table} in ' if table.source_table else ''}{label}"
    target = f"{'the new table ' if table.creates_table else ''}{table.table_id}"
    by = f" by {', '.join(table.primary_key)}" if table.primary_key else ""
    if table.reconciliation is not None:
        then = "correct the rows that differ" if table.reconciliation.repairs else "change nothing"
        return f"Compare {rows} with {target}{by}, and {then}."
    if table.replaces_interval:
        return f"Load an interval again: replace its rows in {target} by {rows}."
    again = ", again" if table.is_backfill else ""
    if table.write_mode is WriteMode.MERGE:
        return f"Merge {rows} into {target}{by}{_deletions(table)}{again}."
    if table.write_mode is WriteMode.APPEND:
        return f"Append {rows} to {target}{again}."
    if table.creates_table:
        return f"Load {rows} into {target}."
    return f"Replace {'the table' if table.write_mode is WriteMode.REPLACE else 'all rows of'} {target} by {rows}."


def _deletions(table: TableSync) -> str:
    if table.deletions is None or table.deletions.keys is None:
        return ""
    return f", and {'mark' if table.deletions.marks else 'remove'} deleted rows"


def _of_tables(plan: RunPlan, estimate: RunEstimate) -> str:
    tables = plan.tables
    label = declared(tables[0].config.data_source).label
    datasets = dict.fromkeys(f"{t.config.destination.project}.{t.config.destination.dataset}" for t in tables)
    verb, parts = "Compare", []
    if tables[0].reconciliation is None:
        modes = Counter(_MODES[table.write_mode] for table in tables)
        verb, parts = "Sync", [f"{count:,} {mode}" for mode, count in modes.most_common()]
    parts += [f"{len(plan.failed):,} that cannot be planned"] if plan.failed else []
    count = f"{len(tables):,} table{'' if len(tables) == 1 else 's'}"
    told = f" ({', '.join(parts)})" if parts else ""
    return f"{verb} {count} of {label} with {', '.join(datasets)}{told}: {_rows(estimate)}."


def _rows(estimate: RunEstimate) -> str:
    if not estimate.is_complete and not estimate.rows:
        return "rows (the source does not estimate how many)"
    least = "" if estimate.is_complete else "at least "
    size = f" ({size_text(estimate.size)})" if estimate.size else ""
    return f"{least or 'about '}{estimate.rows:,} row{'' if estimate.rows == 1 else 's'}{size}"


def _duration(plan: RunPlan, estimate: RunEstimate) -> str:
    if estimate.seconds is None:
        moved = any(table.selection is not None for table in plan.tables)
        why = "BigQuery moves the rows itself" if moved else "the source does not estimate all sizes"
        return f"Time: unknown, as {why}."
    rate = f"{BYTES_PER_SECOND // 2**20} MiB/s as in the benchmark"
    return f"Time: about {duration_text(estimate.seconds)} here, at {rate}; on Dataflow, some minutes more to start."


def duration_text(seconds: float) -> str:
    """Return a duration as text, such as `12 s`, `3 min` or `2.5 h`."""
    if seconds < 100:
        return f"{seconds:,.0f} s"
    minutes = seconds / 60
    return f"{minutes:,.0f} min" if minutes < 100 else f"{minutes / 60:,.1f} h"


def _bill(plan: RunPlan, estimate: RunEstimate) -> str:
    if not estimate.billed_bytes:
        asks = any(table.billed for table in plan.tables)
        return f"Cost in BigQuery: {'not known before' if asks and estimate.is_least_bill else 'none, loads are free'}."
    least = "at least " if estimate.is_least_bill else ""
    size, price = size_text(estimate.billed_bytes), dollars_text(estimate.billed_bytes)
    return f"Cost in BigQuery: queries over {least}{size}, {price} on demand (US: ${DOLLARS_PER_TIB} per TiB)."
