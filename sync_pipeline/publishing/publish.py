"""Publishing: the staged files become rows of the destination, all of them or none.

In this order: dead letters, the destination's table, the rows by one `Strategy`, their count, the report, the clean-up.
With every strategy, readers of the table see all rows of the run at once.

A runner may repeat the step after any prefix of itself: on another machine, after an attempt that was killed, or that
only lost the answer to a request. So every job has an id by which the next attempt finds it, and nothing that another
attempt needs is deleted before the rows are published, or before an error that no attempt can mend. The id of the
publishing job is derived from the timestamp that the run started from: of two runs that read the same interval,
BigQuery lets one through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics
from google.cloud import bigquery

from sync_pipeline.auto_schema.partitions import check_partitions
from sync_pipeline.bigquery_api.client import open_client
from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.bigquery_api.raised_errors import raised_error
from sync_pipeline.errors import PublishError, SyncError, message_of
from sync_pipeline.failures import Failure, combined_error, error_of
from sync_pipeline.planning.plan import RunPlan, TableSync
from sync_pipeline.publishing.choose_strategy import choose_strategy
from sync_pipeline.publishing.clean_up import clean_up
from sync_pipeline.publishing.dead_letters import publish_dead_letters
from sync_pipeline.publishing.jobs import PublishingJobs
from sync_pipeline.publishing.report import SyncReport, report_of
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import Published
from sync_pipeline.publishing.tables import prepare_destination

_LOGGER = logging.getLogger(__name__)


@dataclass
class PublishStagedFiles(beam.PTransform):
    """Publish the `StagedFile`s of each table as `plan` says, and emit a `SyncReport` for each.

    Elements are pairs of a table's number and a value. A `Failure` among them ends its table: its staged files are
    deleted, and nothing of it is published. When the other tables are published, the step raises an error.
    """

    plan: RunPlan

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        """Take files of rows, files of dead letters and failures."""
        # A side input: the one element waits for all of them, and is there even when there are none.
        return (
            staged.pipeline
            | "Plan" >> beam.Create([self.plan], reshuffle=False)
            | "PublishFiles" >> beam.ParDo(_PublishFilesFn(), beam.pvalue.AsList(staged))
        )


class _PublishFilesFn(beam.DoFn):
    def __init__(self) -> None:
        self._rows_loaded = Metrics.counter(PublishStagedFiles, "rows_loaded")
        self._lag = Metrics.distribution(PublishStagedFiles, "interval_lag_seconds")

    def process(self, plan: RunPlan, staged: Sequence[tuple[int, StagedFile | Failure]]) -> Iterator[SyncReport]:
        elements: dict[int, list[StagedFile | Failure]] = {table.number: [] for table in plan.tables}
        for number, element in staged:
            elements[number].append(element)
        errors: dict[str, SyncError] = {}
        for table in plan.tables:
            try:
                report = _publish_table(table, elements[table.number])
            except SyncError as error:
                errors[table.table_id] = error
                continue
            self._rows_loaded.inc(report.rows_loaded)
            if report.lag_seconds is not None:
                self._lag.update(int(report.lag_seconds))
            _LOGGER.info("%s", report)
            yield report
        if errors:
            raise _error_of_run(errors, len(plan.tables))


def _publish_table(table: TableSync, elements: Sequence[StagedFile | Failure]) -> SyncReport:
    client = open_client(table.run.job_project, table.location)
    failures = [element for element in elements if isinstance(element, Failure)]
    if failures:
        clean_up(client, table, destination_moved=False)
        raise combined_error(failures)
    return publish(client, table, [element for element in elements if isinstance(element, StagedFile)])


def _error_of_run(errors: Mapping[str, SyncError], tables: int) -> SyncError:
    """Return the error of a run some of whose tables failed, by their ids: with several tables, a line for each.

    It is transient where one is: a retry finds the jobs of the tables that were published.
    """
    first = next((error for error in errors.values() if error.is_transient), next(iter(errors.values())))
    if tables == 1:
        return first
    lines = [f"{table_id}: {'; '.join(message_of(error).split('\n'))}" for table_id, error in errors.items()]
    return error_of(type(first), lines)


def publish(client: bigquery.Client, table: TableSync, files: Sequence[StagedFile]) -> SyncReport:
    """Publish `files`, delete the staged files, and return the report.

    Raises:
        PublishUnavailableError: another attempt may succeed; the staged files stay for it.
        PublishError, SchemaError: no other attempt can succeed; the staged files are deleted, and the
            destination's rows are unchanged unless the message says otherwise.
    """
    jobs = PublishingJobs(client, table)
    rows = StagedFiles([file for file in files if not file.is_dead_letters])
    dead_letters = StagedFiles([file for file in files if file.is_dead_letters])
    try:
        published = _publish_or_skip(jobs, rows, dead_letters)
        report = report_of(table, rows, dead_letters, published)
    except SyncError as error:
        if not error.is_transient:
            clean_up(client, table, destination_moved=False)
        raise
    clean_up(client, table, destination_moved=bool(rows.rows or report.rows_loaded))
    return report


def _publish_or_skip(jobs: PublishingJobs, rows: StagedFiles, dead_letters: StagedFiles) -> Published:
    """Publish all, or return the job of another run that has published the interval. Raises what `publish` raises."""
    try:
        return _publish(jobs, rows, dead_letters)
    except PublishError as error:
        # An error that the statement raised with our own words, as the workers raise it when they read the rows.
        refusal = raised_error(str(error))
        if refusal is not None:
            raise refusal from None
        # A run that has loaded this interval may have deleted what this one staged.
        concurrent_job = None if error.is_transient else jobs.concurrent_job()
        if concurrent_job is None:
            raise
        return Published(FinishedJob(concurrent_job, is_ours=False))


def _publish(jobs: PublishingJobs, rows: StagedFiles, dead_letters: StagedFiles) -> Published:
    table = jobs.table
    check_partitions(rows.partitions, table.schema, table.layout, table.max_partitions)
    # Before the rows: a run that fails in between reports these again, one that does not has lost none.
    if dead_letters.files:
        publish_dead_letters(jobs, dead_letters)
    prepare_destination(jobs)
    strategy = choose_strategy(table, rows)(jobs, rows)
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
