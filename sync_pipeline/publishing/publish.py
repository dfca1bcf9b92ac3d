"""Publishing: the staged files become rows of the destination, all of them or none.

In this order: dead letters, the destination's table, the rows by one `Strategy`, their count, the report, the clean-up.
With every strategy, readers of the table see all rows of the run at once. Several tables are published side by side,
and each fails alone.

A runner may repeat the step after any prefix of itself: on another machine, after an attempt that was killed, or that
only lost the answer to a request. So every job has an id by which the next attempt finds it, and nothing that another
attempt needs is deleted before the rows are published, or before an error that no attempt can mend. The id of the
publishing job is derived from the timestamp that the run started from: of two runs that read the same interval,
BigQuery lets one through.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
from apache_beam.metrics import Metrics
from google.cloud import bigquery

from sync_pipeline.auto_schema.partitions import check_partitions
from sync_pipeline.bigquery_api.job_records import is_attempt_of
from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.bigquery_api.raised_errors import raised_error
from sync_pipeline.bigquery_api.threads import each_with_client
from sync_pipeline.errors import ConcurrentSyncError, PublishError, RecordError, SyncError
from sync_pipeline.failures import Failure, combined_error, error_of_tables
from sync_pipeline.output.cloud_log import CloudLog
from sync_pipeline.output.progress import PROGRESS, PUBLISHING
from sync_pipeline.output.run_log import fields, on_screen
from sync_pipeline.planning.deletions import ALL_PERCENT, SMALL_TABLE_ROWS
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing.backfill import changed_meanwhile
from sync_pipeline.publishing.choose_strategy import choose_strategy
from sync_pipeline.publishing.clean_up import clean_up
from sync_pipeline.publishing.comparison_report import count_lines
from sync_pipeline.publishing.dead_letters import publish_dead_letters
from sync_pipeline.publishing.delete import MergeAndDelete
from sync_pipeline.publishing.failure_report import FailureReport
from sync_pipeline.publishing.insert import filled_meanwhile
from sync_pipeline.publishing.jobs import PublishingJobs
from sync_pipeline.publishing.outcomes import Outcomes
from sync_pipeline.publishing.reconcile import CompareRows
from sync_pipeline.publishing.reconcile import changed_meanwhile as not_compared
from sync_pipeline.publishing.report import SyncReport, report_of, total_line, total_text, totals_of
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import DeletionCounts, DifferenceCounts, Published, Strategy
from sync_pipeline.publishing.tables import prepare_destination

_LOGGER = logging.getLogger(__name__)


# More than for requests alone (`bigquery_api.threads`), as a thread mostly waits for BigQuery's jobs.
THREADS = 16

# The counter of rows that a comparison has found to differ, and not repaired.
ROWS_DIFFERING = "rows_differing"

# The outputs of the publishing step.
_REPORTS, _ERRORS = "reports", "errors"


@dataclass
class PublishStagedFiles(beam.PTransform):
    """Publish the `StagedFile`s of each table as `plan` says, and emit a `SyncReport` for each.

    Elements are pairs of a table's number and a value. A `Failure` among them ends its table: its staged files are
    deleted, and nothing of it is published. When the other tables are published, the run ends with an error.

    Attributes:
        outcomes: where to write what became of each table; None if nobody reads it.
        cloud_log: where the workers write the reports' fields; None outside Dataflow.
    """

    plan: RunPlan
    outcomes: Outcomes | None = None
    cloud_log: CloudLog | None = None

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        """Take files of rows, files of dead letters and failures."""
        # A side input: the one element waits for all of them, and is there even when there are none.
        outcomes = (
            staged.pipeline
            | "Start" >> beam.Create([None], reshuffle=False)
            | "PublishFiles"
            >> beam.ParDo(
                _PublishFilesFn(self.plan, self.outcomes, self.cloud_log), beam.pvalue.AsList(staged)
            ).with_outputs(_ERRORS, main=_REPORTS)
        )
        if not self.plan.has_several_tables:
            return outcomes[_REPORTS]
        # The shuffle stores the error: a runner repeats the step that raises it, not the one that published the others.
        outcomes[_ERRORS] | "KeepError" >> beam.Reshuffle() | "EndRun" >> beam.Map(_raise_error)
        return outcomes[_REPORTS]


def _raise_error(failure: Failure) -> None:
    raise failure.error


class _PublishFilesFn(beam.DoFn):
    def __init__(self, plan: RunPlan, outcomes_file: Outcomes | None = None, cloud_log: CloudLog | None = None) -> None:
        self._plan = plan
        self._outcomes_file = outcomes_file
        self._cloud_log = cloud_log
        self._rows_loaded = Metrics.counter(PublishStagedFiles, "rows_loaded")
        self._rows_differing = Metrics.counter(PublishStagedFiles, ROWS_DIFFERING)
        self._lag = Metrics.distribution(PublishStagedFiles, "interval_lag_seconds")

    def process(
        self, _: None, staged: Sequence[tuple[int, StagedFile | Failure]]
    ) -> Iterator[SyncReport | beam.pvalue.TaggedOutput]:
        with contextlib.nullcontext() if self._cloud_log is None else self._cloud_log.writing():
            yield from self._publish(staged)

    def _publish(
        self, staged: Sequence[tuple[int, StagedFile | Failure]]
    ) -> Iterator[SyncReport | beam.pvalue.TaggedOutput]:
        plan = self._plan
        PROGRESS.begin(PUBLISHING)
        elements: dict[int, list[StagedFile | Failure]] = {table.number: [] for table in plan.tables}
        for number, element in staged:
            elements[number].append(element)
        reports: list[SyncReport] = []
        errors: dict[int, Exception] = {}
        outcomes = each_with_client(partial(_outcome_of, elements), plan.tables, plan.run.job_project, THREADS)
        # Counters belong to this thread.
        for table, outcome in outcomes:
            if self._outcomes_file is not None:
                self._outcomes_file.add(table.number, outcome)
            if isinstance(outcome, Exception):
                errors[table.number] = outcome
                failure = FailureReport.of(outcome, table.run, table.table_id)
                _LOGGER.error("%s", failure, extra=fields(failure.values, screen=""))
                continue
            self._rows_loaded.inc(outcome.rows_loaded)
            if outcome.lag_seconds is not None:
                self._lag.update(int(outcome.lag_seconds))
            self._log(outcome)
            reports.append(outcome)
            yield outcome
        if plan.has_several_tables:
            totals = totals_of(plan, reports)
            _LOGGER.info("%s", total_line(totals), extra=fields({"status": "total", **totals}, total_text(totals)))
        if errors or plan.failed:
            error = _error_of_run(plan, errors)
            # What another attempt of this step may mend is raised here.
            if not plan.has_several_tables or not all(
                isinstance(each, SyncError) and not each.is_transient for each in errors.values()
            ):
                raise error
            assert isinstance(error, SyncError)
            yield beam.pvalue.TaggedOutput(_ERRORS, Failure(error))

    def _log(self, report: SyncReport) -> None:
        counts, level = report.differences, logging.INFO
        if counts is not None:
            level = logging.WARNING if counts.left else logging.INFO
            self._rows_differing.inc(counts.left)
            for line in count_lines(report.table_id, counts):
                _LOGGER.log(level, "%s", line, extra=on_screen(line.removeprefix("reconcile: ")))
        _LOGGER.log(level, "%s", report, extra=fields(report.values, report.text))


def _outcome_of(
    elements: Mapping[int, Sequence[StagedFile | Failure]], client: bigquery.Client, table: TableSync
) -> SyncReport | Exception:
    """Publish a table, and return its report or its error, which does not concern the other tables."""
    try:
        return _publish_table(client, table, elements[table.number])
    except Exception as error:  # noqa: BLE001 - `_error_of_run` decides what is raised
        return error


def _publish_table(client: bigquery.Client, table: TableSync, elements: Sequence[StagedFile | Failure]) -> SyncReport:
    failures = [element for element in elements if isinstance(element, Failure)]
    if failures:
        clean_up(client, table, (), destination_moved=False)
        raise combined_error(failures)
    return publish(client, table, [element for element in elements if isinstance(element, StagedFile)])


def _error_of_run(plan: RunPlan, errors: Mapping[int, Exception]) -> Exception:
    """Return the error of a run some of whose tables failed: with several tables, their number and a line for each.

    It is transient where one is: a retry finds the jobs of the tables that were published. An error that is not ours
    goes first, with its traceback.

    Args:
        errors: by the number of the table, without those of planning.
    """
    for unexpected in errors.values():
        if not isinstance(unexpected, SyncError):
            return unexpected
    if not plan.has_several_tables:
        return next(iter(errors.values()))
    failed = {table.name: table.error for table in plan.failed} | {
        _name(table): error for table in plan.tables if isinstance(error := errors.get(table.number), SyncError)
    }
    return error_of_tables(failed, len(plan.tables) + len(plan.failed))


def _name(table: TableSync) -> str:
    """Return the source's name of the table, as planning has it in its errors."""
    return table.source_table or table.table_id


def publish(client: bigquery.Client, table: TableSync, files: Sequence[StagedFile]) -> SyncReport:
    """Publish `files`, delete the staged files, and return the report.

    Raises:
        PublishUnavailableError: another attempt may succeed; the staged files stay for it.
        PublishError, RecordError, SchemaError: no other attempt can succeed; the staged files are deleted, and the
            destination's rows are unchanged unless the message says otherwise.
    """
    jobs = PublishingJobs(client, table)
    rows = StagedFiles([file for file in files if not (file.is_dead_letters or file.is_keys)])
    dead_letters = StagedFiles([file for file in files if file.is_dead_letters])
    keys = StagedFiles([file for file in files if file.is_keys])
    strategy = _strategy(jobs, rows, keys, dead_letters.rows)
    try:
        published = _publish_or_skip(strategy, dead_letters)
        if table.reconciliation is not None and published.is_skipped:
            raise ConcurrentSyncError(not_compared(table))
        if table.is_backfill and published.is_skipped:
            raise ConcurrentSyncError(changed_meanwhile(table))
        if table.fills_empty_table and _is_skipped_for_another(table, published):
            raise ConcurrentSyncError(filled_meanwhile(table))
        report = report_of(table, rows, dead_letters, published)
    except SyncError as error:
        if not error.is_transient:
            clean_up(client, table, strategy.temporary_table_ids, destination_moved=False)
        raise
    clean_up(client, table, strategy.temporary_table_ids, destination_moved=bool(rows.rows or report.rows_loaded))
    if published.deletions is not None and published.deletions.is_refused:
        _LOGGER.info("%s", report, extra=fields(report.values))
        raise _too_many_deletions(table, published.deletions)
    if published.differences is not None and published.differences.is_refused:
        _LOGGER.info("%s", report, extra=fields(report.values))
        raise _too_many_surplus_rows(table, published.differences)
    if table.more_is_left and dead_letters.rows and not (rows.rows or published.rows):
        raise RecordError(_stuck(table, dead_letters.rows))
    return report


def _is_skipped_for_another(table: TableSync, published: Published) -> bool:
    """Return whether another run has published that is no earlier attempt of this run's execution."""
    if published.job is None or not published.is_skipped:
        return False
    return not is_attempt_of(published.job.job, table.run.execution)


def _stuck(table: TableSync, rejected: int) -> str:
    return (
        f"all {rejected:,} rows of the interval were rejected, so the next run of {table.table_id} would read them "
        "again, and no later ones: correct them, or raise smart_sync_max_interval_hours"
    )


def _strategy(jobs: PublishingJobs, rows: StagedFiles, keys: StagedFiles, rejected: int) -> Strategy:
    if jobs.table.reconciliation is not None:
        return CompareRows(jobs, rows, rejected)
    if jobs.table.keys is not None:
        return MergeAndDelete(jobs, rows, keys)
    return choose_strategy(jobs.table, rows)(jobs, rows)


def _too_many_deletions(table: TableSync, counts: DeletionCounts) -> PublishError:
    verb = "marked" if table.deletions is not None and table.deletions.marks else "removed"
    outcome = f"none was {verb}, and the other changes were published; if the source is right, run once with"
    if counts.shows_none:
        return PublishError(
            f"the source has none of the {counts.before:,} rows that {table.table_id} had before the run: {outcome} "
            f"max_deleted_percent={ALL_PERCENT}"
        )
    of_small = f" (a table of fewer than {SMALL_TABLE_ROWS} rows counts as one of {SMALL_TABLE_ROWS})"
    return PublishError(
        f"{counts.missing:,} of the {counts.existing:,} rows of {table.table_id} are no longer in the source, which is "
        f"more than max_deleted_percent={counts.max_percent} allows"
        f"{of_small if counts.existing < SMALL_TABLE_ROWS else ''}: {outcome} a higher max_deleted_percent"
    )


def _too_many_surplus_rows(table: TableSync, counts: DifferenceCounts) -> PublishError:
    return PublishError(
        f"{counts.surplus:,} of the {counts.destination_rows:,} rows of {table.table_id} are surplus, which is more "
        f"than max_deleted_percent={counts.max_percent} allows (see there for small tables): none was removed, and the "
        "missing and different rows were corrected; if the source is right, run once with a higher max_deleted_percent"
    )


def _publish_or_skip(strategy: Strategy, dead_letters: StagedFiles) -> Published:
    """Publish all, or return the job of another run that has published the interval. Raises what `publish` raises."""
    try:
        return _publish(strategy, dead_letters)
    except PublishError as error:
        # An error that the statement raised with our own words, as the workers raise it when they read the rows.
        refusal = raised_error(str(error))
        if refusal is not None:
            raise refusal from None
        # A run that has loaded this interval may have deleted what this one staged.
        concurrent_job = None if error.is_transient else strategy.jobs.concurrent_job()
        if concurrent_job is None:
            raise
        return Published(FinishedJob(concurrent_job, is_ours=False))


def _publish(strategy: Strategy, dead_letters: StagedFiles) -> Published:
    jobs, table, rows = strategy.jobs, strategy.table, strategy.staged
    if table.reconciliation is not None:
        # A comparison changes neither the table's columns nor the dead letters.
        strategy.prepare()
        return strategy.publish()
    check_partitions(rows.partitions, table.schema, table.layout, table.max_partitions)
    # Before the rows: a run that fails in between reports these again, one that does not has lost none.
    if dead_letters.files:
        publish_dead_letters(jobs, dead_letters)
    prepare_destination(jobs)
    strategy.prepare()
    published = strategy.publish()
    _check_count(table, rows, published)
    return published


def _check_count(table: TableSync, rows: StagedFiles, published: Published) -> None:
    """Raise PublishError when BigQuery published another number of rows than was staged.

    Rows that one statement selects have no second count: it moves all of them, or none. Of rows with the same key only
    the newest is published.
    """
    if table.selection is not None or table.primary_key or published.is_skipped or published.rows == rows.rows:
        return
    raise PublishError(
        f"row count mismatch: BigQuery loaded {published.rows:,} rows into {table.table_id}, but {rows.rows:,} were "
        "staged: compare the table with the source before the next run (partitions that expire at once lose rows)"
    )
