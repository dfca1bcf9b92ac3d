"""BigQuery's own clock, and the latest timestamp at or below which no new row can appear.

`CURRENT_TIMESTAMP()` is the start of a statement, and its rows become visible when it ends. So the end of an interval
stays before the oldest running job that may write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY
from sync_pipeline.parameters.config import SmartSyncConfig
from sync_pipeline.smart_sync.upper_bound import OpenTransaction, upper_bound
from sync_pipeline.sources.bigquery.client import JOBS_CREATE, source_errors
from sync_pipeline.sources.source import SourceClock


@dataclass(frozen=True)
class Observation:
    """BigQuery's answers.

    Attributes:
        now: its clock, aware, in UTC.
        writers: the jobs that ran and may add rows to tables.
        warnings: what the list of jobs may lack.
    """

    now: datetime
    writers: tuple[OpenTransaction, ...] = ()
    warnings: tuple[str, ...] = ()

    def source_clock(self, smart_sync: SmartSyncConfig | None) -> SourceClock:
        """Return the clock of a run. Without an interval it does not depend on running jobs."""
        if smart_sync is None:
            return SourceClock(self.now, upper_bound(self.now, (), settle=timedelta(), max_hold=timedelta()).end)
        safe = upper_bound(self.now, self.writers, settle=smart_sync.settle, max_hold=smart_sync.max_hold)
        return SourceClock(self.now, safe.end, risks=(*self.warnings, *safe.warnings))


def read_clock(client: bigquery.Client, tables_project: str, *, looks_at_jobs: bool) -> Observation:
    """Read the clock, then list the running jobs.

    Args:
        tables_project: the project of the jobs to list. Jobs of other projects are not visible.
        looks_at_jobs: False if no run has an interval.
    """
    with source_errors("ask BigQuery for its clock", JOBS_CREATE.format(project=client.project)):
        (row,) = client.query_and_wait("SELECT CURRENT_TIMESTAMP()", retry=REQUEST_RETRY)
    now = row[0].astimezone(UTC)
    return Observation(now, *_running_jobs(client, tables_project)) if looks_at_jobs else Observation(now)


def _running_jobs(client: bigquery.Client, project: str) -> tuple[tuple[OpenTransaction, ...], tuple[str, ...]]:
    """Return the running jobs that may write, and a warning if jobs are hidden."""
    with source_errors(f"list the jobs that run in {project}"):
        try:
            jobs = list(client.list_jobs(project=project, all_users=True, state_filter="running", retry=REQUEST_RETRY))
        except exceptions.Forbidden:
            hidden = f"running jobs of others in {project} are hidden: rows that one of them commits late may be missed"
            remedy = (
                "grant bigquery.jobs.listAll on the project (roles/bigquery.resourceViewer), or use primary_key with "
                "smart_sync_lookback_seconds"
            )
            return (), (f"{hidden}: {remedy}",)
    writers = [job for job in jobs if may_write(job) and job.created is not None]
    return tuple(OpenTransaction(job.created.astimezone(UTC), f"the BigQuery job {job.job_id}") for job in writers), ()


def may_write(job: Any) -> bool:
    """Whether a running job may add rows to a table. True for a query whose destination is not known yet."""
    if job.job_type == "extract":
        return False
    return not (job.job_type == "query" and job.statement_type == "SELECT" and _is_for_reading(job.destination))


def _is_for_reading(destination: bigquery.TableReference | None) -> bool:
    # A scheduled query is a SELECT too, and appends to its destination table. A query without one writes an anonymous
    # table: https://cloud.google.com/bigquery/docs/cached-results#how_cached_results_are_stored
    return destination is None or (destination.dataset_id.startswith("_") and destination.table_id.startswith("anon"))
