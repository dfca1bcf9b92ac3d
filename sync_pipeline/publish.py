"""Publishing: the staged files become rows of the destination, all of them or none.

**direct**: one load job of all files into the table. **staged**: load jobs into a staging table, then one query job
from it into the table; used where a load job cannot do it. Either way readers of the table see the rows of the run
appear at once. Every job has an id made of the run's, so a repeated bundle finds the job that is already there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_client import REQUEST_RETRY, finish_job, open_client, translated_errors
from sync_pipeline.errors import PublishError
from sync_pipeline.layout import create_table_sql, new_table
from sync_pipeline.plan import SyncPlan, WriteMode
from sync_pipeline.schema import quoted
from sync_pipeline.staging import StagedFile, check_partitions, delete_staged_files

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
        rows_loaded: rows that BigQuery says it added; always equal to `rows_staged`.
        bytes_staged: size of the files.
        seconds: from the plan to the publication.
        lag_seconds: from the end of the interval to the publication, None without Smart Sync.
        outcome: one sentence.
    """

    run_id: str
    table_id: str
    interval: str
    rows_staged: int
    rows_loaded: int
    bytes_staged: int
    seconds: float
    lag_seconds: float | None
    outcome: str

    def __str__(self) -> str:
        values = {
            "run_id": self.run_id,
            "table": self.table_id,
            "interval": self.interval.replace(" ", "T").replace(",T", ","),
            "rows_read": self.rows_staged,
            "rows_loaded": self.rows_loaded,
            "bytes_staged": self.bytes_staged,
            "seconds": f"{self.seconds:.1f}",
            "lag_seconds": "" if self.lag_seconds is None else f"{self.lag_seconds:.1f}",
        }
        return f"sync report: {self.outcome}: " + " ".join(f"{name}={value}" for name, value in values.items())


@dataclass
class PublishStagedFiles(beam.PTransform):  # type: ignore[misc]
    """Publish all `StagedFile`s of the run as `plan` says, and emit one `SyncReport`."""

    plan: SyncPlan

    def expand(self, files: beam.PCollection[StagedFile]) -> beam.PCollection[SyncReport]:
        # The files come as a side input: the one element waits for all of them, and there is one without any.
        return (
            files.pipeline
            | "Plan" >> beam.Create([self.plan])
            | "PublishFiles" >> beam.ParDo(_PublishFilesFn(), beam.pvalue.AsList(files))
        )


class _PublishFilesFn(beam.DoFn):  # type: ignore[misc]
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
    try:
        return _Publication(client, plan, files).run()
    finally:
        _clean_up(client, plan)


@dataclass(frozen=True)
class _Publication:
    client: bigquery.Client
    plan: SyncPlan
    files: Sequence[StagedFile]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def run(self) -> SyncReport:
        plan = self.plan
        partitions = frozenset[str | None]().union(*(file.partitions for file in self.files))
        check_partitions(partitions, plan.schema, plan.layout)
        if plan.creates_table:
            with translated_errors(f"create the table {plan.table_id}"):
                self.client.create_table(
                    new_table(plan.table_id, plan.schema, plan.layout), exists_ok=True, retry=REQUEST_RETRY
                )
        if plan.write_mode is WriteMode.REPLACE or (self.rows and self._is_staged):
            loaded = self._publish_staged()
        elif self.rows:
            loaded = self._load(plan.table_id, self.files, self._write_disposition(), "load")
        else:
            loaded = self._publish_nothing()
        if loaded != self.rows:
            raise PublishError(
                f"BigQuery says that {loaded:,} rows came to {plan.table_id}, but {self.rows:,} were staged: compare the "
                "table with the source before the next run (partitions that expire at once lose rows)"
            )
        return self._report(loaded)

    @property
    def _is_staged(self) -> bool:
        return self.plan.needs_staging_table or len(self.files) > MAX_FILES_PER_JOB

    def _publish_nothing(self) -> int:
        if self.plan.write_mode is WriteMode.TRUNCATE and not self.plan.creates_table:
            self._query(f"TRUNCATE TABLE {quoted(self.plan.table_id)}", bigquery.QueryJobConfig(), "truncate")
        return 0

    def _publish_staged(self) -> int:
        """Load into the staging table, then move the rows on by one query; return how many it moved."""
        plan = self.plan
        staging = bigquery.Table(plan.staging_table_id, schema=plan.schema.staged)
        staging.expires = datetime.now(UTC) + timedelta(hours=STAGING_TABLE_HOURS)
        with translated_errors(f"create the staging table {plan.staging_table_id}"):
            self.client.create_table(staging, exists_ok=True, retry=REQUEST_RETRY)
        loaded = 0
        for number, first in enumerate(range(0, len(self.files), MAX_FILES_PER_JOB)):
            part = self.files[first : first + MAX_FILES_PER_JOB]
            loaded += self._load(plan.staging_table_id, part, "WRITE_APPEND", f"stage{number}")
        if loaded != self.rows:
            raise PublishError(
                f"BigQuery loaded {loaded:,} rows into the staging table, but {self.rows:,} were staged: nothing was published"
            )
        return _STAGED_STATEMENTS[plan.write_mode](self)

    def append_from_staging(self) -> int:
        job = self._query(insert_sql(self.plan), bigquery.QueryJobConfig(), "insert")
        return int(job.num_dml_affected_rows or 0)

    def truncate_from_staging(self) -> int:
        config = bigquery.QueryJobConfig(
            destination=self.plan.table_id, write_disposition="WRITE_TRUNCATE_DATA", create_disposition="CREATE_NEVER"
        )
        self._query(select_sql(self.plan), config, "truncate")
        return self._rows_in_table()

    def replace_from_staging(self) -> int:
        plan = self.plan
        sql = f"{create_table_sql(plan.table_id, plan.schema, plan.layout, replace=True)}\nAS {select_sql(plan)}"
        self._query(sql, bigquery.QueryJobConfig(), "replace")
        return self._rows_in_table()

    def _rows_in_table(self) -> int:
        with translated_errors(f"count the rows of {self.plan.table_id}"):
            return int(self.client.get_table(self.plan.table_id, retry=REQUEST_RETRY).num_rows or 0)

    def _load(self, table_id: str, files: Sequence[StagedFile], write_disposition: str, step: str) -> int:
        """Run one load job and return how many rows BigQuery says it wrote."""
        with translated_errors(f"look at the table {table_id}"):
            table = self.client.get_table(table_id, retry=REQUEST_RETRY)
        names = {field.name.lower() for field in self.plan.schema}
        config = load_job_config(
            [field for field in table.schema if field.name.lower() in names], write_disposition, self.plan
        )
        uris = [file.uri for file in files]

        def begin(job_id: str) -> Any:
            return self.client.load_table_from_uri(
                uris, table_id, job_id=job_id, location=self.plan.location, job_config=config, retry=REQUEST_RETRY
            )

        return int(self._finish(step, begin, f"load {len(uris)} file(s) into {table_id}").output_rows or 0)

    def _write_disposition(self) -> str:
        # TRUNCATE_DATA keeps the table's constraints, descriptions and row policies; TRUNCATE drops them.
        return "WRITE_TRUNCATE_DATA" if self.plan.write_mode is WriteMode.TRUNCATE else "WRITE_APPEND"

    def _query(self, sql: str, config: bigquery.QueryJobConfig, step: str) -> Any:
        config.labels = _labels(self.plan)

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

        return self._finish(step, begin, f"{step} the rows of {self.plan.table_id}")

    def _finish(self, step: str, begin: Callable[[str], Any], doing: str) -> Any:
        return finish_job(
            self.client,
            f"sync-{self.plan.run_id}-{step}",
            self.plan.location,
            begin,
            doing=doing,
            max_retries=self.plan.config.max_retries,
        )

    def _report(self, loaded: int) -> SyncReport:
        plan = self.plan
        now = datetime.now(UTC)
        return SyncReport(
            run_id=plan.run_id,
            table_id=plan.table_id,
            interval=str(plan.interval) if plan.interval else "all",
            rows_staged=self.rows,
            rows_loaded=loaded,
            bytes_staged=sum(file.size for file in self.files),
            seconds=(now - plan.started_at).total_seconds(),
            lag_seconds=(now - plan.interval.end).total_seconds() if plan.interval else None,
            outcome=_outcome(plan, loaded),
        )


_STAGED_STATEMENTS: dict[WriteMode, Callable[[_Publication], int]] = {
    WriteMode.APPEND: _Publication.append_from_staging,
    WriteMode.TRUNCATE: _Publication.truncate_from_staging,
    WriteMode.REPLACE: _Publication.replace_from_staging,
}


def load_job_config(
    fields: Sequence[bigquery.SchemaField], write_disposition: str, plan: SyncPlan
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
        labels=_labels(plan),
    )


def select_sql(plan: SyncPlan) -> str:
    """Return the query that turns rows of the staging table into rows of the destination."""
    expressions = []
    for field in plan.schema:
        column = f"s.{quoted(field.name)}"
        # 'round': BigQuery's JSON numbers are INT64, UINT64 or FLOAT64; the exact mode would refuse longer ones.
        expression = f"PARSE_JSON({column}, wide_number_mode=>'round')" if field.type == "JSON" else column
        expressions.append(f"{expression} AS {quoted(field.name)}")
    return f"SELECT {', '.join(expressions)}\nFROM {quoted(plan.staging_table_id)} AS s"


def insert_sql(plan: SyncPlan) -> str:
    """Return the statement that appends the rows of the staging table to the destination."""
    return f"INSERT INTO {quoted(plan.table_id)} ({', '.join(map(quoted, plan.schema.names))})\n{select_sql(plan)}"


def _labels(plan: SyncPlan) -> dict[str, str]:
    return {"sync_source": plan.config.data_source, "sync_run": plan.run_id.lower()}


def _outcome(plan: SyncPlan, loaded: int) -> str:
    if loaded:
        return f"loaded {loaded:,} rows into {plan.table_id}"
    if plan.write_mode is not WriteMode.APPEND:
        return f"the source returned no rows: {plan.table_id} is now empty"
    if plan.creates_table:
        return f"the source returned no rows: {plan.table_id} was created empty"
    return f"nothing new: {plan.table_id} is as it was"


def _clean_up(client: bigquery.Client, plan: SyncPlan) -> None:
    """Remove the run's staging table and files. What cannot be removed is said, and costs the run nothing."""
    try:
        client.delete_table(plan.staging_table_id, not_found_ok=True, retry=REQUEST_RETRY)
    except exceptions.GoogleAPICallError as error:
        _LOGGER.warning(
            "%s was not removed (%s); it expires by itself", plan.staging_table_id, error.__class__.__name__
        )
    try:
        delete_staged_files(plan.staging_folder)
    except OSError as error:
        _LOGGER.warning("%s was not removed (%s)", plan.staging_folder, error.__class__.__name__)
