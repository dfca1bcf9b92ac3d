"""Publishing: the staged files become rows of the destination, all of them or none.

**load**: one load job of all files into the table. **staged**: load jobs into a staging table, then one query job from
it into the table; used where a load job cannot do it. **selected**: one query job from a source in BigQuery into the
table, and no files at all. Each way readers of the table see the rows of the run appear at once.

The step may be attempted again after any part of itself, by a runner that repeats a bundle, on another machine, with an
attempt before it that was killed, or that only lost the answer to a request. So every job has an id by which the next
attempt finds it, and nothing that another attempt may need is removed before the rows are published or before an error
that no attempt can mend. The job that publishes has an id made of what the run started from: of two runs that read the
same interval BigQuery lets one through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import apache_beam as beam
from apache_beam.metrics import Metrics
from google.cloud import bigquery

from sync_pipeline.auto_schema.ddl import new_table
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, check_partitions, partition_groups
from sync_pipeline.auto_schema.table_options import encrypted
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, open_client, translated_errors
from sync_pipeline.bigquery_api.jobs import FinishedJob, changed_rows
from sync_pipeline.errors import PublishError, SyncError
from sync_pipeline.failures import Failure, combined_error
from sync_pipeline.planning.dead_letter_table import DEAD_LETTER_LAYOUT, DEAD_LETTER_SCHEMA
from sync_pipeline.planning.plan import SyncPlan, WriteMode
from sync_pipeline.publishing.clean_up import clean_up
from sync_pipeline.publishing.publishing_jobs import MAX_FILES_PER_JOB, PUBLISH, PublishingJobs
from sync_pipeline.publishing.report import SyncReport, outcome_of_nothing, outcome_of_rows, skipped_outcome
from sync_pipeline.publishing.staging import StagedFile
from sync_pipeline.publishing.statements import (
    STAGING_TABLE_HOURS,
    append_sql,
    build_sql,
    publish_merge_sql,
    refill_sql,
    replace_sql,
    swap_sql,
    truncate_sql,
)
from sync_pipeline.transforms.in_sql import raised_error

_LOGGER = logging.getLogger(__name__)

# A table takes five changes of its metadata in ten seconds; one is left for the load job that follows.
# https://cloud.google.com/bigquery/quotas#standard_tables
_ALTERATIONS_AT_ONCE, _ALTERATION_SECONDS = 4, 2.5


@dataclass
class PublishStagedFiles(beam.PTransform):
    """Publish all `StagedFile`s of the run as `plan` says, and emit one `SyncReport`.

    A `Failure` among the elements ends the run instead: what was staged is removed, nothing is published, and the
    step raises the failure's error.
    """

    plan: SyncPlan

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        """Take files of rows, files of dead letters and failures; a file's folder tells what it holds."""
        # They come as a side input: the one element waits for all of them, and there is one without any.
        return (
            staged.pipeline
            | "Plan" >> beam.Create([self.plan], reshuffle=False)
            | "PublishFiles" >> beam.ParDo(_PublishFilesFn(), beam.pvalue.AsList(staged))
        )


class _PublishFilesFn(beam.DoFn):
    def __init__(self) -> None:
        self._rows_loaded = Metrics.counter(PublishStagedFiles, "rows_loaded")
        self._lag = Metrics.distribution(PublishStagedFiles, "interval_lag_seconds")

    def process(self, plan: SyncPlan, staged: Sequence[StagedFile | Failure]) -> Iterator[SyncReport]:
        client = open_client(plan.job_project, plan.location)
        failures = [element for element in staged if isinstance(element, Failure)]
        if failures:
            clean_up(client, plan, destination_moved=False)
            raise combined_error(failures)
        report = publish(client, plan, [element for element in staged if isinstance(element, StagedFile)])
        self._rows_loaded.inc(report.rows_loaded)
        if report.lag_seconds is not None:
            self._lag.update(int(report.lag_seconds))
        _LOGGER.info("%s", report)
        yield report


def publish(client: bigquery.Client, plan: SyncPlan, files: Sequence[StagedFile]) -> SyncReport:
    """Publish `files`, and then remove all that was staged.

    Raises PublishUnavailableError when another attempt may succeed, and leaves what was staged to it. Raises any other
    PublishError when none can: what was staged is removed, and the destination's rows are as they were, unless the
    message says otherwise.
    """
    publication = _Publication(
        PublishingJobs(client, plan),
        rows_files=[file for file in files if not file.is_dead_letters],
        dead_letters=[file for file in files if file.is_dead_letters],
    )
    try:
        report = publication.run()
    except SyncError as error:
        if not error.is_transient:
            clean_up(client, plan, destination_moved=False)
        raise
    clean_up(client, plan, destination_moved=bool(publication.rows or report.rows_loaded))
    return report


@dataclass(frozen=True)
class _Published:
    """The job that published, and how many rows it added or updated; see `FinishedJob`."""

    job: FinishedJob
    rows: Callable[[], int]


@dataclass(frozen=True)
class _Publication:
    jobs: PublishingJobs
    rows_files: Sequence[StagedFile]
    dead_letters: Sequence[StagedFile]

    @property
    def client(self) -> bigquery.Client:
        return self.jobs.client

    @property
    def plan(self) -> SyncPlan:
        return self.jobs.plan

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.rows_files)

    def run(self) -> SyncReport:
        try:
            return self._publish()
        except PublishError as error:
            # What the workers would have refused, had they read the rows, or known what the table holds.
            refusal = raised_error(str(error))
            if refusal is not None:
                raise refusal from None
            # A run that published from the same timestamp may have removed what this one staged.
            concurrent_job = None if error.is_transient else self.jobs.concurrent_job()
            if concurrent_job is None:
                raise
            return self._report(0, skipped_outcome(self.plan, concurrent_job))

    def _publish(self) -> SyncReport:
        plan = self.plan
        check_partitions(self._partitions, plan.schema, plan.layout, plan.max_partitions)
        if self.dead_letters:
            # Before the rows: a run that fails in between reports these again, one that does not has lost none.
            self._publish_dead_letters()
        self._prepare_table()
        published = self._publish_rows()
        if published is None:
            return self._report(0, outcome_of_nothing(plan))
        if not published.job.is_ours:
            return self._report(0, skipped_outcome(plan, published.job.job))
        loaded = published.rows()
        if plan.selection is not None and not loaded and plan.write_mode is not WriteMode.REPLACE:
            return self._report(0, outcome_of_nothing(plan))
        # Of rows that one statement has moved there is no second count: it moved all of them, or none.
        if plan.selection is None and loaded != self.rows and not plan.primary_key:
            raise PublishError(
                f"BigQuery says that {loaded:,} rows came to {plan.table_id}, but {self.rows:,} were staged: compare "
                "the table with the source before the next run (partitions that expire at once lose rows)"
            )
        return self._report(loaded, outcome_of_rows(plan, loaded))

    @property
    def _partitions(self) -> frozenset[str | None]:
        return frozenset().union(*(file.partitions for file in self.rows_files))

    @property
    def _groups(self) -> list[frozenset[str | None]]:
        return partition_groups(self._partitions)

    @property
    def _is_staged(self) -> bool:
        return (
            self.plan.needs_staging_table
            or len(self.rows_files) > MAX_FILES_PER_JOB
            or len(self._partitions) > MAX_PARTITIONS_PER_JOB
        )

    def _publish_rows(self) -> _Published | None:
        """Publish as the plan says; return None where there are no rows to publish."""
        plan = self.plan
        if plan.selection is None and not self.rows and plan.write_mode is not WriteMode.REPLACE:
            if plan.write_mode is WriteMode.TRUNCATE and not plan.creates_table:
                self.jobs.query(truncate_sql(plan), "truncate")
            return None
        if plan.selection is None:
            if not self._is_staged:
                return self._load()
            self._fill_staging_table()
        return _STRATEGIES[plan.write_mode](self)

    def _load(self) -> _Published:
        # TRUNCATE_DATA keeps the table's constraints, descriptions and row policies; TRUNCATE drops them.
        is_refilled = self.plan.write_mode is WriteMode.TRUNCATE
        disposition = "WRITE_TRUNCATE_DATA" if is_refilled else "WRITE_APPEND"
        finished = self.jobs.load(self.plan.table_id, self.rows_files, disposition, PUBLISH)
        return _Published(finished, lambda: int(finished.job.output_rows or 0))

    def append_rows(self) -> _Published:
        return self._run_statements(append_sql(self.plan, self.rows, self._groups))

    def merge_rows(self) -> _Published:
        return self._run_statements(publish_merge_sql(self.plan, self.rows))

    def refill_table(self) -> _Published:
        return self._run_statements(refill_sql(self.plan, self.rows, self._groups))

    def replace_table(self) -> _Published:
        plan = self.plan
        if plan.changes_layout or len(self._groups) > 1:
            built = self.jobs.query(build_sql(plan, self.rows, self._groups), "build")
            swapped = self.jobs.query(swap_sql(plan), PUBLISH)
            return _Published(swapped, lambda: changed_rows(self.client, built.job))
        return _Published(self.jobs.query(replace_sql(plan, self.rows), PUBLISH), self._rows_in_table)

    def _run_statements(self, sql: str) -> _Published:
        finished = self.jobs.query(sql, PUBLISH)
        return _Published(finished, lambda: changed_rows(self.client, finished.job))

    def _rows_in_table(self) -> int:
        # The table's metadata tells at no cost, and also where a query has to name partitions.
        with translated_errors(f"count the rows of {self.plan.table_id}"):
            return int(self.client.get_table(self.plan.table_id, retry=REQUEST_RETRY).num_rows or 0)

    def _prepare_table(self) -> None:
        """Create the destination, or change its columns; only now, so that a run that fails earlier leaves no trace."""
        plan = self.plan
        if plan.creates_table:
            table = new_table(plan.table_id, plan.schema, plan.layout)
            self._create(encrypted(table, plan.kms_key), "table")
        for number, statement in enumerate(plan.alterations):
            if number >= _ALTERATIONS_AT_ONCE:
                time.sleep(_ALTERATION_SECONDS)
            self.jobs.query(statement, f"alter{number}")

    def _publish_dead_letters(self) -> None:
        table = self.plan.dead_letters
        assert table is not None, "only a plan with a dead letter table lets rows go there"
        letters = new_table(table.table_id, DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT)
        if (days := self.plan.config.dead_letter_expiration_days) is not None:
            letters.time_partitioning.expiration_ms = int(timedelta(days=days) / timedelta(milliseconds=1))
        self._create(encrypted(letters, self.plan.config.destination.kms_key), "dead letter table")
        self.jobs.append_files(table.table_id, self.dead_letters, "dead-letters", DEAD_LETTER_SCHEMA, table.location)

    def _fill_staging_table(self) -> None:
        staging = bigquery.Table(self.plan.staging_table_id, schema=self.plan.schema.staged)
        staging.expires = datetime.now(UTC) + timedelta(hours=STAGING_TABLE_HOURS)
        self._create(encrypted(staging, self.plan.kms_key), "staging table")
        self.jobs.append_files(self.plan.staging_table_id, self.rows_files, "stage")

    def _create(self, table: bigquery.Table, kind: str) -> None:
        with translated_errors(f"create the {kind} {table.project}.{table.dataset_id}.{table.table_id}"):
            self.client.create_table(table, exists_ok=True, retry=REQUEST_RETRY)

    def _report(self, loaded: int, outcome: str) -> SyncReport:
        plan = self.plan
        now = datetime.now(UTC)
        return SyncReport(
            run_id=plan.run_id,
            table_id=plan.table_id,
            interval=str(plan.interval) if plan.interval else "all",
            rows_staged=self.rows,
            rows_loaded=loaded,
            dead_letters=sum(file.rows for file in self.dead_letters),
            bytes_staged=sum(file.size for file in self.rows_files),
            seconds=(now - plan.started_at).total_seconds(),
            lag_seconds=(now - plan.interval.end_moment).total_seconds() if plan.interval else None,
            outcome=outcome,
        )


_STRATEGIES: dict[WriteMode, Callable[[_Publication], _Published]] = {
    WriteMode.APPEND: _Publication.append_rows,
    WriteMode.MERGE: _Publication.merge_rows,
    WriteMode.TRUNCATE: _Publication.refill_table,
    WriteMode.REPLACE: _Publication.replace_table,
}
