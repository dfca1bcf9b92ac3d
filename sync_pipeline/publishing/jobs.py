"""The BigQuery jobs that publish a run: each has an id, so that a repeated attempt finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config, translated_errors
from sync_pipeline.bigquery_api.job_records import job_labels
from sync_pipeline.bigquery_api.jobs import FinishedJob, JobRequest, find_concurrent_job, finish_job
from sync_pipeline.errors import PublishError
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.schema import Schema, without_policy_tags

# The most files one load job takes. https://cloud.google.com/bigquery/quotas#load_jobs
MAX_FILES_PER_JOB = 10_000

# The step whose job publishes the rows.
PUBLISH = "publish"


@dataclass(frozen=True)
class PublishingJobs:
    """Starts the jobs of a table, or finds those that an earlier attempt started.

    Steps are named by what they do. The step `publish` has the id that the run shares with others, where it has one.
    """

    client: bigquery.Client
    table: TableSync

    def load(
        self,
        table_id: str,
        files: Sequence[StagedFile],
        write_disposition: str,
        step: str,
        schema: Schema | None = None,
        location: str | None = None,
    ) -> FinishedJob:
        """Run one load job of at most `MAX_FILES_PER_JOB` files and return it. Raises PublishError."""
        with translated_errors(f"look at the table {table_id}"):
            table = self.client.get_table(table_id, retry=REQUEST_RETRY)
        names = {name.lower() for name in (schema or self.table.schema).names}
        fields = [field for field in table.schema if field.name.lower() in names]
        config = load_job_config(fields, write_disposition, self._labels)
        uris = [file.uri for file in files]
        location = location or self.table.location

        def begin(job_id: str) -> Any:
            return self.client.load_table_from_uri(
                uris, table_id, job_id=job_id, location=location, job_config=config, retry=REQUEST_RETRY
            )

        return self._finish(step, begin, f"load {len(uris)} file(s) into {table_id}", location)

    def append_files(
        self,
        table_id: str,
        files: Sequence[StagedFile],
        step: str,
        schema: Schema | None = None,
        location: str | None = None,
    ) -> None:
        """Append files to a table in as many load jobs as needed. Raises PublishError, also when rows are missing."""
        loaded = 0
        for number, first in enumerate(range(0, len(files), MAX_FILES_PER_JOB)):
            part = files[first : first + MAX_FILES_PER_JOB]
            finished = self.load(table_id, part, "WRITE_APPEND", f"{step}{number}", schema, location)
            loaded += int(finished.job.output_rows or 0)
        rows = sum(file.rows for file in files)
        if loaded != rows:
            raise PublishError(
                f"row count mismatch: BigQuery loaded {loaded:,} rows into {table_id}, but {rows:,} were staged: "
                "nothing was published"
            )

    def query(self, sql: str, step: str) -> FinishedJob:
        """Run a statement, or a script, as one job and return it. Raises PublishError."""
        config = self._query_config()
        config.labels = self._labels

        def begin(job_id: str) -> Any:
            return self.client.query(
                sql,
                job_config=config,
                job_id=job_id,
                location=self.table.location,
                retry=REQUEST_RETRY,
                # Repeating a job under another id is `finish_job`'s to decide.
                job_retry=None,
            )

        return self._finish(step, begin, f"{step} the rows of {self.table.table_id}", self.table.location)

    def concurrent_job(self) -> Any | None:
        """Return the job of another run that has loaded this interval, or None.

        Raises:
            PublishUnavailableError: BigQuery does not tell.
        """
        if self.table.publish_id is None:
            return None
        request = self._request(PUBLISH, f"publish the rows of {self.table.table_id}", self.table.location)
        return find_concurrent_job(self.client, request)

    def run_from_latest(self) -> Any | None:
        """Return the job of a run that has published, from the latest timestamp, since this run looked at the table.

        Raises:
            PublishUnavailableError: BigQuery does not tell.
        """
        request = self._request("compare", f"compare the rows of {self.table.table_id}", self.table.location)
        shared = replace(request, job_id=self.table.id_from_latest, observed_at=self.table.observed_at)
        return find_concurrent_job(self.client, shared)

    def _query_config(self) -> bigquery.QueryJobConfig:
        selection = self.table.selection
        if selection is None:
            return bigquery.QueryJobConfig()
        return query_config(
            self.table.run.job_project,
            selection.default_project,
            selection.default_dataset,
            selection.maximum_bytes_billed,
        )

    def _finish(self, step: str, begin: Callable[[str], Any], action: str, location: str) -> FinishedJob:
        return finish_job(self.client, self._request(step, action, location), begin)

    def _request(self, step: str, action: str, location: str) -> JobRequest:
        table = self.table
        shared_id = table.publish_id if step == PUBLISH else None
        return JobRequest(
            job_id=shared_id or f"sync-{table.name}-{step}",
            run_id=table.run_id,
            location=location,
            action=action,
            max_retries=table.config.max_retries,
            observed_at=table.observed_at if shared_id and not table.publishes_once else None,
            # A row is merged by its key, and a newer one stays: once more changes nothing. A load adds rows.
            repeatable=step == PUBLISH and table.write_mode is WriteMode.MERGE and not table.is_first_load,
        )

    @property
    def _labels(self) -> dict[str, str]:
        return job_labels(self.table.run_id, self.table.config.data_source, self.table.run.execution)


def load_job_config(
    fields: Sequence[bigquery.SchemaField], write_disposition: str, labels: dict[str, str]
) -> bigquery.LoadJobConfig:
    """Return the settings of a load job of Parquet files.

    The full schema is sent, as the table has it: without it BigQuery guesses DATETIME to be TIMESTAMP and refuses to
    append to REQUIRED columns. Without list inference it loads every array empty, and says nothing. Policy tags are not
    sent: the table keeps its own, and sending them takes the right to set them.
    """
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True
    return bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        parquet_options=parquet,
        schema=without_policy_tags(fields),
        create_disposition="CREATE_NEVER",
        write_disposition=write_disposition,
        labels=labels,
    )
