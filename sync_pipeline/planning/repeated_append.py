"""Runs that append all rows of the source: only into an empty table, unless they are asked to do it again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from google.cloud import bigquery

from sync_pipeline.bigquery_api.job_records import is_attempt_of
from sync_pipeline.bigquery_api.jobs import JobRequest, find_concurrent_job
from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.plan import TableSync

_REMEDIES = (
    "give write_disposition=WRITE_TRUNCATE to replace the rows, WRITE_APPEND to append on purpose, primary_key to "
    "merge, or enable_smart_sync=true to load only what is new"
)


def check_append(client: bigquery.Client, table: TableSync, existing: ExistingTable | None) -> TableSync:
    """Return the plan; it tells whether an earlier attempt of the run's execution has filled the table.

    Raises:
        ConfigError: the table has rows, and the run would append all rows of the source to them.
        PublishError: BigQuery rejected a request.
    """
    if not table.fills_empty_table or existing is None or not existing.has_rows:
        return table
    if table.run.execution and _was_filled_by_attempt(client, table):
        return replace(table, is_published=True)
    problem = (
        f"write_disposition is not given, and {table.table_id} has rows, to which this run would append all rows of "
        f"the source again: {_REMEDIES}"
    )
    raise ConfigError([problem])


def append_risks(table: TableSync) -> Iterator[str]:
    """Yield a warning about the next run if it would append all rows again."""
    if not table.appends_all or table.config.destination.delete_existing_table:
        return
    if table.fills_empty_table:
        yield f"the next run ends with an error instead of appending all rows again: {_REMEDIES}"
    else:
        yield "write_disposition is WRITE_APPEND, without Smart Sync and primary_key: each run appends all rows again"


def _was_filled_by_attempt(client: bigquery.Client, table: TableSync) -> bool:
    assert table.publish_id is not None, "runs that fill an empty table share an id"
    request = JobRequest(
        table.publish_id, table.run_id, table.location, f"look for an earlier attempt to load {table.table_id}", 0
    )
    job = find_concurrent_job(client, request)
    return job is not None and is_attempt_of(job, table.run.execution)
