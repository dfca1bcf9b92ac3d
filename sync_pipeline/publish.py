"""Publishing: the staged files become rows of the destination, all of them or none.

**direct**: one load job of all files into the table. **staged**: load jobs into a staging table, then one query job
from it into the table; used where a load job cannot do it. **selected**: one query job from a source in BigQuery into
the table, and no files at all. Each way readers of the table see the rows of the run appear at once.

The job that publishes has an id made of what the run started from, so of two runs that read the same interval BigQuery
lets one through; every other job has an id of the run's own. A repeated bundle finds the job that is already there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from google.cloud import bigquery

from sync_pipeline.bigquery_client import (
    REQUEST_RETRY,
    RUN_LABEL,
    FinishedJob,
    JobRequest,
    find_rival,
    finish_job,
    job_labels,
    open_client,
    query_config,
    translated_errors,
)
from sync_pipeline.dead_letters import DEAD_LETTER_LAYOUT, DEAD_LETTER_SCHEMA
from sync_pipeline.errors import PublishError
from sync_pipeline.layout import check_partitions, new_table
from sync_pipeline.plan import SyncPlan, WriteMode
from sync_pipeline.schema import Schema
from sync_pipeline.sql_transformation import raised_error
from sync_pipeline.staging import StagedFile
from sync_pipeline.statements import count_sql, insert_sql, merge_sql, replace_sql, select_sql, truncate_sql
from sync_pipeline.sweep import clean_up

_LOGGER = logging.getLogger(__name__)

# The most files one load job takes. https://cloud.google.com/bigquery/quotas#load_jobs
MAX_FILES_PER_JOB = 10_000

# A staging table that nobody removed goes away by itself: longer than a load job may run, and a query job may wait.
STAGING_TABLE_HOURS = 24


@dataclass(frozen=True)
class SyncReport:
    """What a run did.

    Attributes:
        rows_staged: rows read and written to files.
        rows_loaded: rows that BigQuery says it added or updated.
        dead_letters: rows that did not fit and went to the dead letter table.
        bytes_staged: size of the files.
        seconds: from the beginning of the planning to the publication.
        lag_seconds: from the end of the interval to the publication, None without Smart Sync.
        outcome: one sentence.
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

    def __str__(self) -> str:
        values = {
            "run_id": self.run_id,
            "table": self.table_id,
            "interval": self.interval.replace(" ", "T").replace(",T", ","),
            "rows_read": self.rows_staged + self.dead_letters,
            "rows_loaded": self.rows_loaded,
            "dead_letters": self.dead_letters,
            "bytes_staged": self.bytes_staged,
            "seconds": f"{self.seconds:.1f}",
            "lag_seconds": "" if self.lag_seconds is None else f"{self.lag_seconds:.1f}",
        }
        return f"sync report: {self.outcome}: " + " ".join(f"{name}={value}" for name, value in values.items())


@dataclass
class PublishStagedFiles(beam.PTransform):
    """Publish all `StagedFile`s of the run as `plan` says, and emit one `SyncReport`."""

    plan: SyncPlan

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        """Take files of rows and of dead letters; they are told apart by the folder they lie in."""
        # The files come as a side input: the one element waits for all of them, and there is one without any.
        return (
            files.pipeline
            | "Plan" >> beam.Create([self.plan])
            | "PublishFiles" >> beam.ParDo(_PublishFilesFn(), beam.pvalue.AsList(files))
        )


class _PublishFilesFn(beam.DoFn):
    def __init__(self) -> None:
        self._rows_loaded = Metrics.counter(PublishStagedFiles, "rows_loaded")
        self._lag = Metrics.distribution(PublishStagedFiles, "interval_lag_seconds")

    def process(self, plan: SyncPlan, files: Sequence[StagedFile]) -> Iterator[SyncReport]:
        client = open_client(plan.job_project, plan.location)
        report = publish(client, plan, files)
        self._rows_loaded.inc(report.rows_loaded)
        if report.lag_seconds is not None:
            self._lag.update(int(report.lag_seconds))
        _LOGGER.info("%s", report)
        yield report


def publish(client: bigquery.Client, plan: SyncPlan, files: Sequence[StagedFile]) -> SyncReport:
    """Publish `files` and remove all that was staged, also after a failure.

    Raises PublishError, and then the destination's rows are as they were, unless the message says otherwise.
    """
    publication = _Publication(
        client,
        plan,
        files=[file for file in files if not file.is_dead_letters],
        dead_letters=[file for file in files if file.is_dead_letters],
    )
    destination_moved = False
    try:
        report = publication.run()
        destination_moved = bool(publication.rows or report.rows_loaded)
        return report
    finally:
        clean_up(client, plan, destination_moved=destination_moved)


@dataclass(frozen=True)
class _Publication:
    client: bigquery.Client
    plan: SyncPlan
    files: Sequence[StagedFile]
    dead_letters: Sequence[StagedFile]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def run(self) -> SyncReport:
        try:
            return self._publish()
        except PublishError as error:
            # What the workers would have refused, had they read the rows.
            refusal = raised_error(str(error)) if self.plan.selection is not None else None
            if refusal is not None:
                raise refusal from None
            # A run that published from the same timestamp may have removed what this one staged.
            shared_id = self.plan.publish_id
            rival = find_rival(self.client, self._request("publish", shared_id)) if shared_id else None
            if rival is None:
                raise
            return self._report(0, _outcome_of_rival(self.plan, rival))

    def _publish(self) -> SyncReport:
        plan = self.plan
        check_partitions(frozenset().union(*(file.partitions for file in self.files)), plan.schema, plan.layout)
        if self.dead_letters:
            # Before the rows: a run that fails in between reports these again, one that does not has lost none.
            self._publish_dead_letters()
        self._prepare_table()
        if plan.selection is not None:
            published = _STATEMENTS[plan.write_mode](self)
        elif plan.write_mode is WriteMode.REPLACE or (self.rows and self._is_staged):
            published = self._publish_staged()
        elif self.rows:
            published = self._load(plan.table_id, self.files, self._load_disposition(), "publish", plan.publish_id)
        else:
            return self._report(self._publish_nothing(), _outcome_of_nothing(plan))
        if not published.is_ours:
            return self._report(0, _outcome_of_rival(plan, published.job))
        loaded = _ROW_COUNTS[plan.write_mode if self._is_staged else None](self, published.job)
        if plan.selection is not None and not loaded and plan.write_mode is not WriteMode.REPLACE:
            return self._report(0, _outcome_of_nothing(plan))
        # Of rows that one statement has moved there is no second count: it moved all of them, or none.
        if plan.selection is None and loaded != self.rows and not plan.primary_key:
            raise PublishError(
                f"BigQuery says that {loaded:,} rows came to {plan.table_id}, but {self.rows:,} were staged: compare "
                "the table with the source before the next run (partitions that expire at once lose rows)"
            )
        return self._report(loaded, f"{_VERBS[plan.write_mode]} {loaded:,} rows into {plan.table_id}")

    @property
    def _is_staged(self) -> bool:
        plan = self.plan
        return plan.selection is not None or plan.needs_staging_table or len(self.files) > MAX_FILES_PER_JOB

    def _prepare_table(self) -> None:
        """Create the destination, or change its columns; only now, so that a run that fails earlier leaves no trace."""
        plan = self.plan
        if plan.creates_table:
            with translated_errors(f"create the table {plan.table_id}"):
                self.client.create_table(
                    new_table(plan.table_id, plan.schema, plan.layout), exists_ok=True, retry=REQUEST_RETRY
                )
        for number, statement in enumerate(plan.alterations):
            self._query(statement, bigquery.QueryJobConfig(), f"alter{number}")

    def _publish_dead_letters(self) -> None:
        table = self.plan.dead_letters
        assert table is not None, "only a plan with a dead letter table lets rows go there"
        with translated_errors(f"create the dead letter table {table.table_id}"):
            self.client.create_table(
                new_table(table.table_id, DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT), exists_ok=True, retry=REQUEST_RETRY
            )
        self._load_counted(
            table.table_id, self.dead_letters, "dead-letters", DEAD_LETTER_SCHEMA, location=table.location
        )

    def _publish_nothing(self) -> int:
        if self.plan.write_mode is WriteMode.TRUNCATE and not self.plan.creates_table:
            self._query(truncate_sql(self.plan), bigquery.QueryJobConfig(), "truncate")
        return 0

    def _publish_staged(self) -> FinishedJob:
        """Load into the staging table, then move the rows on by one query."""
        plan = self.plan
        staging = bigquery.Table(plan.staging_table_id, schema=plan.schema.staged)
        staging.expires = datetime.now(UTC) + timedelta(hours=STAGING_TABLE_HOURS)
        with translated_errors(f"create the staging table {plan.staging_table_id}"):
            self.client.create_table(staging, exists_ok=True, retry=REQUEST_RETRY)
        self._load_counted(plan.staging_table_id, self.files, "stage", plan.schema)
        return _STATEMENTS[plan.write_mode](self)

    def append_rows(self) -> FinishedJob:
        return self._query(insert_sql(self.plan), self._query_config(), "publish", self.plan.publish_id)

    def merge_rows(self) -> FinishedJob:
        return self._query(merge_sql(self.plan), self._query_config(), "publish", self.plan.publish_id)

    def truncate_and_fill(self) -> FinishedJob:
        config = self._query_config()
        config.destination = self.plan.table_id
        config.write_disposition = "WRITE_TRUNCATE_DATA"
        config.create_disposition = "CREATE_NEVER"
        return self._query(select_sql(self.plan), config, "publish")

    def replace_table(self) -> FinishedJob:
        return self._query(replace_sql(self.plan), self._query_config(), "publish")

    def _query_config(self) -> bigquery.QueryJobConfig:
        selection = self.plan.selection
        if selection is None:
            return bigquery.QueryJobConfig()
        return query_config(
            self.plan.job_project,
            selection.default_project,
            selection.default_dataset,
            selection.maximum_bytes_billed,
        )

    def rows_in_table(self, _job: Any) -> int:
        """Count the rows the table has now; the count comes from the table's metadata and costs nothing."""
        with translated_errors(f"count the rows of {self.plan.table_id}"):
            rows = self.client.query(
                count_sql(self.plan), location=self.plan.location, retry=REQUEST_RETRY, job_retry=None
            ).result()
            return int(next(iter(rows))[0])

    def changed_rows(self, job: Any) -> int:
        """Count the rows that a statement, or those of a script, have written; a script itself has no count."""
        with translated_errors(f"look at the statements of job {job.job_id}"):
            statements = [job]
            if job.statement_type == "SCRIPT":
                statements = list(
                    self.client.list_jobs(project=job.project, parent_job=job.job_id, retry=REQUEST_RETRY)
                )
            return sum(int(statement.num_dml_affected_rows or 0) for statement in statements)

    def _load_counted(
        self, table_id: str, files: Sequence[StagedFile], step: str, schema: Schema, location: str | None = None
    ) -> None:
        """Append files to a table in as many load jobs as it takes; raise PublishError when rows are missing."""
        loaded = 0
        for number, first in enumerate(range(0, len(files), MAX_FILES_PER_JOB)):
            part = files[first : first + MAX_FILES_PER_JOB]
            loaded += int(
                self._load(
                    table_id, part, "WRITE_APPEND", f"{step}{number}", schema=schema, location=location
                ).job.output_rows
                or 0
            )
        rows = sum(file.rows for file in files)
        if loaded != rows:
            raise PublishError(
                f"BigQuery loaded {loaded:,} rows into {table_id}, but {rows:,} were staged: nothing was published"
            )

    def _load(
        self,
        table_id: str,
        files: Sequence[StagedFile],
        write_disposition: str,
        step: str,
        shared_id: str | None = None,
        *,
        schema: Schema | None = None,
        location: str | None = None,
    ) -> FinishedJob:
        """Run one load job."""
        with translated_errors(f"look at the table {table_id}"):
            table = self.client.get_table(table_id, retry=REQUEST_RETRY)
        names = {name.lower() for name in (schema or self.plan.schema).names}
        config = load_job_config(
            [field for field in table.schema if field.name.lower() in names], write_disposition, self._labels
        )
        uris = [file.uri for file in files]
        location = location or self.plan.location

        def begin(job_id: str) -> Any:
            return self.client.load_table_from_uri(
                uris, table_id, job_id=job_id, location=location, job_config=config, retry=REQUEST_RETRY
            )

        return self._finish(step, begin, f"load {len(uris)} file(s) into {table_id}", shared_id, location)

    def _load_disposition(self) -> str:
        # TRUNCATE_DATA keeps the table's constraints, descriptions and row policies; TRUNCATE drops them.
        return "WRITE_TRUNCATE_DATA" if self.plan.write_mode is WriteMode.TRUNCATE else "WRITE_APPEND"

    def _query(self, sql: str, config: bigquery.QueryJobConfig, step: str, shared_id: str | None = None) -> FinishedJob:
        config.labels = self._labels

        def begin(job_id: str) -> Any:
            return self.client.query(
                sql,
                job_config=config,
                job_id=job_id,
                location=self.plan.location,
                retry=REQUEST_RETRY,
                # Repeating a job under another id is `finish_job`'s to decide.
                job_retry=None,
            )

        return self._finish(step, begin, f"{step} the rows of {self.plan.table_id}", shared_id, self.plan.location)

    def _finish(
        self, step: str, begin: Callable[[str], Any], doing: str, shared_id: str | None, location: str
    ) -> FinishedJob:
        return finish_job(self.client, self._request(step, shared_id, doing, location), begin)

    def _request(
        self, step: str, shared_id: str | None, doing: str | None = None, location: str | None = None
    ) -> JobRequest:
        plan = self.plan
        return JobRequest(
            job_id=shared_id or f"sync-{plan.run_id}-{step}",
            run_id=plan.run_id,
            location=location or plan.location,
            doing=doing or f"{step} the rows of {plan.table_id}",
            max_retries=plan.config.max_retries,
            observed_at=plan.observed_at if shared_id else None,
        )

    @property
    def _labels(self) -> dict[str, str]:
        return job_labels(self.plan.run_id, self.plan.config.data_source)

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
            bytes_staged=sum(file.size for file in self.files),
            seconds=(now - plan.started_at).total_seconds(),
            lag_seconds=(now - plan.interval.end_moment).total_seconds() if plan.interval else None,
            outcome=outcome,
        )


_STATEMENTS: dict[WriteMode, Callable[[_Publication], FinishedJob]] = {
    WriteMode.APPEND: _Publication.append_rows,
    WriteMode.MERGE: _Publication.merge_rows,
    WriteMode.TRUNCATE: _Publication.truncate_and_fill,
    WriteMode.REPLACE: _Publication.replace_table,
}

# How the publishing job tells how many rows it wrote; None is for the load job.
_ROW_COUNTS: dict[WriteMode | None, Callable[[_Publication, Any], int]] = {
    None: lambda _publication, job: int(job.output_rows or 0),
    WriteMode.APPEND: lambda _publication, job: int(job.num_dml_affected_rows or 0),
    WriteMode.MERGE: _Publication.changed_rows,
    WriteMode.TRUNCATE: _Publication.rows_in_table,
    WriteMode.REPLACE: _Publication.rows_in_table,
}

_VERBS = {
    WriteMode.APPEND: "loaded",
    WriteMode.MERGE: "merged",
    WriteMode.TRUNCATE: "loaded",
    WriteMode.REPLACE: "loaded",
}


def load_job_config(
    fields: Sequence[bigquery.SchemaField], write_disposition: str, labels: dict[str, str]
) -> bigquery.LoadJobConfig:
    """Return the settings of a load job of Parquet files.

    The full schema is sent, as the table has it: without it BigQuery guesses DATETIME to be TIMESTAMP and refuses to
    append to REQUIRED columns. Without list inference it loads every array empty, and says nothing.
    """
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True
    return bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        parquet_options=parquet,
        schema=list(fields),
        create_disposition="CREATE_NEVER",
        write_disposition=write_disposition,
        labels=labels,
    )


def _outcome_of_nothing(plan: SyncPlan) -> str:
    if plan.write_mode is WriteMode.TRUNCATE and not plan.creates_table:
        return f"the source returned no rows: {plan.table_id} is now empty"
    if plan.creates_table:
        return f"the source returned no rows: {plan.table_id} was created empty"
    return f"nothing new: {plan.table_id} is as it was"


def _outcome_of_rival(plan: SyncPlan, job: Any) -> str:
    rival = (job.labels or {}).get(RUN_LABEL, job.job_id)
    return (
        f"run {rival} has published from the same timestamp meanwhile, so this one loaded nothing into "
        f"{plan.table_id}: what is newer comes with the next run"
    )
