"""The record of the runs of this process, and its output as a JSON document."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sync_pipeline.errors import PublishError, SyncError
from sync_pipeline.output.run_output import (
    DifferencesOutput,
    ErrorOutput,
    EstimateOutput,
    IntervalOutput,
    Output,
    Plan,
    PlannedTable,
    Report,
    RunReport,
    TableReport,
    Totals,
)
from sync_pipeline.planning.billed_queries import DOLLARS_PER_TIB, billed_bytes, dollars
from sync_pipeline.planning.plan import Run, TableSync
from sync_pipeline.planning.plan_head import head_lines
from sync_pipeline.planning.run_estimate import bytes_of, estimate_run
from sync_pipeline.planning.run_plan import FailedTable, RunPlan
from sync_pipeline.printable import named
from sync_pipeline.publishing.comparison_report import values_of
from sync_pipeline.publishing.outcomes import Outcomes, error_output
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.smart_sync.interval import Bound, SyncInterval, bound_text

# Names of tables that an error lists; more are counted.
_MAX_NAMES = 5


@dataclass
class _Run:
    plan: RunPlan
    outcomes: Outcomes
    ended_at: datetime | None = None


@dataclass
class RunRecord:
    """What was planned and run, in order.

    Attributes:
        folder: a folder of this process, for files about the runs.
        is_dry_run: whether the command is one, and `dry_run` its plan.
    """

    folder: Path
    started_at: datetime
    dry_run: RunPlan | None = None
    is_dry_run: bool = False
    _runs: list[_Run] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[RunRecord]:
        """Begin a record, whose files are deleted at the end."""
        with tempfile.TemporaryDirectory(prefix="sync-") as folder:
            yield cls(Path(folder), datetime.now(UTC))

    @property
    def more_is_left(self) -> bool:
        """Whether the last run has left something to the next one."""
        return bool(self._runs) and any(table.more_is_left for table in self._runs[-1].plan.tables)

    @property
    def found_differences(self) -> bool:
        """Whether the last run has compared tables, and left differing rows as they are."""
        return any(each.differences and each.differences.left for each in self._reports(self._runs[-1:]))

    @property
    def run(self) -> Run | None:
        """The last run; None before one was planned."""
        return self._runs[-1].plan.run if self._runs else None

    @property
    def tells_failure(self) -> bool:
        """Whether the last run has a table that failed, which its publishing step has reported."""
        outcomes = self._runs[-1].outcomes.read().values() if self._runs else ()
        return any(isinstance(each, ErrorOutput) for each in outcomes)

    @property
    def rejected_rows(self) -> bool:
        """Whether a run has loaded rows into a dead letter table."""
        return any(report.dead_letters for report in self._reports(self._runs))

    @property
    def found_nothing_new(self) -> bool:
        """Whether no run has changed a table; a comparison is not asked for changes."""
        reports = self._reports(self._runs)
        return bool(reports) and all(report.is_unchanged and report.differences is None for report in reports)

    @staticmethod
    def _reports(runs: Iterable[_Run]) -> list[SyncReport]:
        return [each for run in runs for each in run.outcomes.read().values() if isinstance(each, SyncReport)]

    def begin(self, plan: RunPlan) -> Outcomes:
        """Record that a run begins; return where its publishing step writes the outcomes.

        Raises:
            PublishError: the run before had left something of a table, and this one would start from the same place.
        """
        if self._runs:
            _check_progress(self._runs[-1].plan, plan)
        self._runs.append(_Run(plan, Outcomes(self.folder / plan.run.id)))
        return self._runs[-1].outcomes

    def end(self) -> None:
        """Record that the run has ended."""
        self._runs[-1].ended_at = datetime.now(UTC)

    def output(self, error: BaseException | None, exit_code: int) -> Output:
        """Return the document about a command that has ended by `error`, or without one."""
        now = datetime.now(UTC)
        ended: dict[str, Any] = {
            "exit_code": exit_code,
            "seconds": _seconds(self.started_at, now),
            "error": None if error is None else error_output(error),
        }
        if self.is_dry_run:
            plan = self.dry_run
            if plan is None:
                return Plan(**ended, summary=(), estimate=None, tables=(), notes=(), risks=())
            tables = (
                *map(_planned, plan.tables),
                *(_failed(PlannedTable, table, **_UNPLANNED) for table in plan.failed),
            )
            return Plan(
                **ended,
                summary=head_lines(plan),
                estimate=_estimate(plan),
                tables=tables,
                notes=plan.notes,
                risks=plan.risks,
            )
        runs = tuple(_run_report(run, ended["error"], now) for run in self._runs)
        return Report(**ended, totals=_totals(runs), runs=runs)


def _check_progress(before: RunPlan, plan: RunPlan) -> None:
    """Raise PublishError when a table that had more left has not got any further: no run ever would."""
    starts = {table.destination_identity: table.interval for table in before.tables if table.more_is_left}
    stuck = [
        table.table_id
        for table in plan.tables
        if table.more_is_left
        and table.interval is not None
        and (then := starts.get(table.destination_identity)) is not None
        and then.latest == table.interval.latest
    ]
    if stuck:
        raise PublishError(
            f"--until-current: the latest timestamp of {named(stuck, _MAX_NAMES)} is what it was before the last run, "
            "so further runs would load the same interval: see the warnings of the plan (rows may expire, or be "
            "rejected), or raise smart_sync_max_interval_hours"
        )


def _seconds(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds(), 3)


def _run_report(run: _Run, error: ErrorOutput | None, now: datetime) -> RunReport:
    plan, outcomes = run.plan, run.outcomes.read()
    # Without an outcome of its own a table shares that of the run: its rows were not read, for example.
    unknown = error or ErrorOutput(kind=SyncError.__name__, message="the run ended before the table was published")
    tables = [_table_report(table, outcomes.get(table.number, unknown)) for table in plan.tables]
    return RunReport(
        run_id=plan.run.id,
        started_at=plan.run.started_at.isoformat(),
        seconds=_seconds(plan.run.started_at, run.ended_at or now),
        tables=(*tables, *(_failed(TableReport, table, **_NOTHING) for table in plan.failed)),
    )


_NOTHING: dict[str, Any] = {
    "status": "failed",
    "outcome": "",
    "rows_read": 0,
    "rows_loaded": 0,
    "rows_rejected": 0,
    "rows_deleted": None,
    "differences": None,
    "bytes_staged": 0,
    "seconds": 0.0,
    "lag_seconds": None,
}


def _table_report(table: TableSync, outcome: SyncReport | ErrorOutput) -> TableReport:
    if isinstance(outcome, ErrorOutput):
        return TableReport(**_common(table, outcome), **_NOTHING)
    return TableReport(
        **_common(table),
        status="unchanged" if outcome.is_unchanged else "published",
        outcome=outcome.outcome,
        rows_read=outcome.rows_read,
        rows_loaded=outcome.rows_loaded,
        rows_rejected=outcome.dead_letters,
        rows_deleted=outcome.rows_deleted,
        differences=None if outcome.differences is None else DifferencesOutput(**values_of(outcome.differences)),
        bytes_staged=outcome.bytes_staged,
        seconds=round(outcome.seconds, 3),
        lag_seconds=None if outcome.lag_seconds is None else round(outcome.lag_seconds, 3),
    )


_UNPLANNED: dict[str, Any] = {
    "creates_table": False,
    "estimated_rows": None,
    "estimated_bytes": None,
    "billed_bytes": 0,
}


def _estimate(plan: RunPlan) -> EstimateOutput:
    estimate = estimate_run(plan)
    return EstimateOutput(
        rows=estimate.rows,
        bytes=estimate.size,
        is_complete=estimate.is_complete,
        seconds=estimate.seconds,
        billed_bytes=estimate.billed_bytes,
        billed_dollars=round(dollars(estimate.billed_bytes), 6),
        dollars_per_tib=DOLLARS_PER_TIB,
        is_least_bill=estimate.is_least_bill,
    )


def _planned(table: TableSync) -> PlannedTable:
    return PlannedTable(
        **_common(table),
        creates_table=table.creates_table,
        estimated_rows=table.read.estimated_rows,
        estimated_bytes=bytes_of(table),
        billed_bytes=billed_bytes(table.billed),
        notes=table.notes,
    )


def _common(table: TableSync, error: ErrorOutput | None = None) -> dict[str, Any]:
    smart_sync = table.config.smart_sync
    column = smart_sync.timestamp_column if smart_sync is not None else ""
    return {
        "source": table.source_table,
        "destination": table.table_id,
        "mode": table.write_mode.name.lower(),
        "is_backfill": table.is_backfill,
        "primary_key": table.primary_key,
        "interval": None
        if table.interval is None or table.interval.is_unbounded
        else _interval(table.interval, column),
        "more_is_left": table.more_is_left,
        "risks": table.risks,
        "error": error,
    }


def _interval(interval: SyncInterval, column: str) -> IntervalOutput:
    after = interval.after
    start = None if after is None else _text(after, interval)
    return IntervalOutput(column=column, start=start, end=_text(interval.end, interval))


def _text(moment: Bound, interval: SyncInterval) -> str:
    if not isinstance(moment, datetime):
        return bound_text(moment)
    shown = moment if interval.wall_clock is None else moment.replace(tzinfo=None)
    return shown.isoformat(timespec="microseconds")


def _failed[Table: (PlannedTable, TableReport)](kind: type[Table], table: FailedTable, **parts: Any) -> Table:
    plan: dict[str, Any] = {"mode": None, "is_backfill": False, "primary_key": (), "interval": None, "risks": ()}
    plan["more_is_left"] = False
    notes: dict[str, Any] = {"notes": ()} if kind is PlannedTable else {}
    return kind(source=table.name, destination="", **plan, error=error_output(table.error), **notes, **parts)


def _totals(runs: tuple[RunReport, ...]) -> Totals:
    tables = [table for run in runs for table in run.tables]
    status = [table.status for table in tables]
    return Totals(
        runs=len(runs),
        tables=len(tables),
        published=status.count("published"),
        unchanged=status.count("unchanged"),
        failed=status.count("failed"),
        rows_read=sum(table.rows_read for table in tables),
        rows_loaded=sum(table.rows_loaded for table in tables),
        rows_rejected=sum(table.rows_rejected for table in tables),
        rows_deleted=sum(table.rows_deleted or 0 for table in tables),
        bytes_staged=sum(table.bytes_staged for table in tables),
    )
