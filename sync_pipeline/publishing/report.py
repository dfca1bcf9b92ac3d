"""The report of one table: a line for the log, with what was read, what was published and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync_pipeline.bigquery_api.job_records import RUN_LABEL
from sync_pipeline.output.run_log import pairs
from sync_pipeline.planning.billed_queries import size_text
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing.comparison_report import counts_of, outcome_of_comparison
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.strategy import DifferenceCounts, Published


@dataclass(frozen=True)
class SyncReport:
    """What a run did with one table.

    Attributes:
        rows_staged: rows read and written to files.
        rows_loaded: rows that BigQuery added or updated, by its own count.
        dead_letters: invalid rows, loaded into the dead letter table.
        bytes_staged: size of the files.
        seconds: from the start of planning to the end of publishing.
        lag_seconds: from the end of the interval to the end of publishing, None without Smart Sync and for a backfill.
        outcome: one sentence.
        differences: what a comparison has found, None for a run that loads rows.
        rows_deleted: rows that were removed or marked because the source no longer has them.
        more_is_left: the source has rows after the interval, which the next run loads.
        is_unchanged: this run changed no row of the table: there was nothing new, or another run had loaded it.
    """

    run_id: str
    table_id: str
    interval: str
    rows_staged: int
    rows_loaded: int
    dead_letters: int
    bytes_staged: int
    seconds: float
    lag_seconds: float | None
    outcome: str
    is_unchanged: bool = False
    rows_deleted: int | None = None
    more_is_left: bool = False
    differences: DifferenceCounts | None = None

    @property
    def rows_read(self) -> int:
        """Rows from the source, with the invalid ones."""
        return self.rows_staged + self.dead_letters

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SyncReport:
        """Return the report from what `dataclasses.asdict` has made of it."""
        differences = values["differences"]
        return cls(**{**values, "differences": differences and DifferenceCounts(**differences)})

    @property
    def values(self) -> dict[str, object]:
        """What the line says, for programs: counts as numbers."""
        return {
            "phase": "publish",
            "status": "unchanged" if self.is_unchanged else "published",
            "run_id": self.run_id,
            "table": self.table_id,
            "interval": self.interval,
            "rows_read": self.rows_read,
            "rows_loaded": self.rows_loaded,
            "dead_letters": self.dead_letters,
            "rows_deleted": self.rows_deleted,
            "bytes_staged": self.bytes_staged,
            "seconds": round(self.seconds, 1),
            "lag_seconds": None if self.lag_seconds is None else round(self.lag_seconds, 1),
            "more_is_left": self.more_is_left,
            **({} if self.differences is None else counts_of(self.differences)),
        }

    @property
    def text(self) -> str:
        """What a person sees on a terminal."""
        rejected = f", {self.dead_letters:,} rejected" if self.dead_letters else ""
        lag = "" if self.lag_seconds is None else f", {self.lag_seconds:,.1f} s behind the source"
        left = "; more is left for the next run" if self.more_is_left else ""
        staged = f", {size_text(self.bytes_staged)} staged" if self.bytes_staged else ""
        return f"{self.outcome} ({self.rows_read:,} rows read{rejected}{staged}, {self.seconds:.1f} s{lag}){left}"

    def __str__(self) -> str:
        values = {
            "run_id": self.run_id,
            "table": self.table_id,
            "interval": self.interval.replace(" ", "T").replace(",T", ","),
            "rows_read": self.rows_read,
            "rows_loaded": self.rows_loaded,
            "dead_letters": self.dead_letters,
            "bytes_staged": self.bytes_staged,
            "seconds": f"{self.seconds:.1f}",
            "lag_seconds": "" if self.lag_seconds is None else f"{self.lag_seconds:.1f}",
            **({} if self.rows_deleted is None else {"rows_deleted": self.rows_deleted}),
            **({"more_is_left": "true"} if self.more_is_left else {}),
            **({} if self.differences is None else counts_of(self.differences)),
        }
        return f"sync report: {self.outcome}: {pairs(values)}"


def totals_of(plan: RunPlan, reports: Sequence[SyncReport]) -> dict[str, object]:
    """Return the sums over all tables of a run, from the reports of those that did not fail."""
    tables = len(plan.tables) + len(plan.failed)
    unchanged = sum(report.is_unchanged for report in reports)
    failed = tables - len(reports)
    values = {
        "run_id": plan.run.id,
        "tables": tables,
        "published": len(reports) - unchanged,
        "unchanged": unchanged,
        "failed": failed,
        "rows_read": sum(report.rows_read for report in reports),
        "rows_loaded": sum(report.rows_loaded for report in reports),
        "dead_letters": sum(report.dead_letters for report in reports),
        "bytes_staged": sum(report.bytes_staged for report in reports),
        "seconds": round((datetime.now(UTC) - plan.run.started_at).total_seconds(), 1),
    }
    deleted = [report.rows_deleted for report in reports if report.rows_deleted is not None]
    if deleted:
        values["rows_deleted"] = sum(deleted)
    if left := sum(report.more_is_left for report in reports):
        values["more_is_left"] = left
    return values


def total_line(totals: Mapping[str, Any]) -> str:
    """Return the line about all tables of a run."""
    counts = ", ".join(f"{totals[name]:,} {name}" for name in ("published", "unchanged", "failed"))
    return f"sync total: {totals['tables']:,} tables: {counts}: {pairs(totals)}"


def total_text(totals: Mapping[str, Any]) -> str:
    """Return what a person sees of it on a terminal."""
    counts = ", ".join(f"{totals[name]:,} {name}" for name in ("published", "unchanged", "failed"))
    rejected = f", {totals['dead_letters']:,} rejected" if totals["dead_letters"] else ""
    return f"{totals['tables']:,} tables: {counts} ({totals['rows_read']:,} rows read{rejected}, {totals['seconds']} s)"


def report_of(table: TableSync, rows: StagedFiles, dead_letters: StagedFiles, published: Published) -> SyncReport:
    """Return the report of a run that has published `rows` and `dead_letters`, or was skipped."""
    now = datetime.now(UTC)
    return SyncReport(
        run_id=table.run_id,
        table_id=table.table_id,
        interval=str(table.interval) if table.interval else "all",
        rows_staged=rows.rows,
        rows_loaded=published.rows,
        dead_letters=dead_letters.rows,
        bytes_staged=rows.size,
        seconds=(now - table.run.started_at).total_seconds(),
        lag_seconds=_lag_seconds(table, now),
        outcome=_outcome(table, rows, published),
        is_unchanged=published.is_skipped or _found_nothing(table, rows, published),
        rows_deleted=_deleted(published),
        more_is_left=table.more_is_left,
        differences=published.differences,
    )


def _deleted(published: Published) -> int | None:
    differences = published.differences
    if differences is not None and differences.is_repaired:
        return 0 if differences.is_refused else differences.surplus
    return published.deletions.deleted if published.deletions is not None else None


def _lag_seconds(table: TableSync, now: datetime) -> float | None:
    if table.interval is None or table.is_backfill or table.reconciliation is not None:
        return None
    end = table.interval.end_moment
    return None if end is None else (now - end).total_seconds()


def _outcome(table: TableSync, rows: StagedFiles, published: Published) -> str:
    if published.job is not None and published.is_skipped:
        return skipped_outcome(table, published.job.job)
    if published.differences is not None:
        return outcome_of_comparison(table, published.differences)
    if table.replaces_interval:
        return f"backfill: replaced the rows of the interval in {table.table_id} by {published.rows:,} rows"
    deletions = _deletions(table, published)
    if not (rows.rows or published.rows or deletions or table.write_mode is WriteMode.REPLACE):
        return outcome_of_nothing(table)
    verb = "merged" if table.write_mode is WriteMode.MERGE else "loaded"
    kind = "backfill: " if table.is_backfill else ""
    return f"{kind}{verb} {published.rows:,} rows into {table.table_id}{deletions}"


def _deletions(table: TableSync, published: Published) -> str:
    """Return what was done about rows that the source no longer has; empty for nothing."""
    counts = published.deletions
    if counts is None or table.deletions is None:
        return ""
    marks = table.deletions.marks
    if counts.is_refused:
        return f", and {'marked' if marks else 'removed'} none of {counts.missing:,}"
    done = f", and {'marked' if marks else 'removed'} {counts.deleted:,} deleted ones" if counts.deleted else ""
    return done + (f", and unmarked {counts.returned:,}" if counts.returned else "")


def _found_nothing(table: TableSync, rows: StagedFiles, published: Published) -> bool:
    """Return whether the table is as it was; a new table, and one whose rows are replaced, never is."""
    if published.differences is not None:
        return not published.differences.is_repaired or published.differences.found == 0
    keeps_rows = table.write_mode in (WriteMode.APPEND, WriteMode.MERGE) and not table.creates_table
    keeps_rows &= not table.replaces_interval
    return keeps_rows and not (rows.rows or published.rows or _deletions(table, published))


def outcome_of_nothing(table: TableSync) -> str:
    """Return the outcome of a run that found no rows."""
    if table.write_mode is WriteMode.TRUNCATE and not table.creates_table:
        return f"the source returned no rows: {table.table_id} is now empty"
    if table.creates_table:
        return f"the source returned no rows: {table.table_id} was created empty"
    if table.is_backfill:
        return f"backfill: the source has no rows in the interval: {table.table_id} is as it was"
    return f"nothing new: {table.table_id} is as it was"


def skipped_outcome(table: TableSync, job: Any) -> str:
    """Return the outcome of a run whose interval the `job` of another run has loaded."""
    concurrent_run = (job.labels or {}).get(RUN_LABEL, job.job_id)
    if table.publishes_once or table.fills_empty_table:
        return (
            f"skipped: run {concurrent_run}, an earlier attempt of {table.run.execution}, already loaded the rows into "
            f"{table.table_id}"
        )
    return (
        f"skipped: run {concurrent_run} already loaded this interval into {table.table_id}; newer rows come with the "
        "next run"
    )
