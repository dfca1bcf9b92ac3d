"""Creates, alters and fills tables before the rows are published. Each step may be repeated."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from google.cloud import bigquery

from sync_pipeline.auto_schema.ddl import new_table
from sync_pipeline.auto_schema.table_options import encrypted
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.publishing.jobs import PublishingJobs
from sync_pipeline.publishing.pacing import wait_to_create
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.schema import Schema

# A table that is staged or built expires by itself: later than a load job may run, and a query job may wait.
STAGING_TABLE_HOURS = 24

# A table takes five changes of its metadata in ten seconds; one is left for the load job that follows.
# https://cloud.google.com/bigquery/quotas#standard_tables
_ALTERATIONS_AT_ONCE, _ALTERATION_SECONDS = 4, 2.5


def prepare_destination(jobs: PublishingJobs) -> None:
    """Create the destination, or change its columns; this late, so that a run that fails earlier changes nothing.

    Raises:
        PublishError: BigQuery refuses.
    """
    table = jobs.table
    if table.creates_table:
        created = new_table(table.table_id, table.table_schema, table.layout)
        create_table(jobs.client, encrypted(created, table.kms_key), "table")
    for number, statement in enumerate(table.alterations):
        if number >= _ALTERATIONS_AT_ONCE:
            time.sleep(_ALTERATION_SECONDS)
        jobs.query(statement, f"alter{number}")


def fill_staging_table(jobs: PublishingJobs, staged: StagedFiles) -> None:
    """Create the staging table and load the files into it. Raises PublishError, also when rows are missing."""
    table = jobs.table
    _create_staging_table(jobs, table.staging_table_id, table.schema)
    jobs.append_files(table.staging_table_id, staged.files, "stage")


def fill_keys_table(jobs: PublishingJobs, keys: StagedFiles) -> None:
    """Create the staging table of the source's keys and load the files into it. Raises what `fill_staging_table` does.

    Args:
        jobs: of the table whose `of_keys` are in the files.
    """
    table = jobs.table
    assert table.of_keys is not None
    schema = table.of_keys.schema
    _create_staging_table(jobs, table.keys_table_id, schema)
    jobs.append_files(table.keys_table_id, keys.files, "keys", schema)


def _create_staging_table(jobs: PublishingJobs, table_id: str, schema: Schema) -> None:
    staging_table = bigquery.Table(table_id, schema=schema.staged)
    staging_table.expires = datetime.now(UTC) + timedelta(hours=STAGING_TABLE_HOURS)
    create_table(jobs.client, encrypted(staging_table, jobs.table.kms_key), "staging table")


def create_table(client: bigquery.Client, table: bigquery.Table, kind: str) -> None:
    """Create the table unless it exists; `kind` is its name in messages. Raises PublishError."""
    wait_to_create()
    with translated_errors(f"create the {kind} {table.project}.{table.dataset_id}.{table.table_id}"):
        client.create_table(table, exists_ok=True, retry=REQUEST_RETRY)
