"""What makes a run safe, each piece of it removable: a test of a protection must fail without it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing import merge
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.upper_bound import UpperBound
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql import clock


def without_commit_safe_end() -> AbstractContextManager[Any]:
    """The end is the clock, whoever is about to commit."""

    def end_now(now: datetime, _transactions: object, *, settle: timedelta, **_: object) -> UpperBound:
        return UpperBound(now - settle)

    return mock.patch.object(clock, "upper_bound", end_now)


def with_writers_only() -> AbstractContextManager[Any]:
    """Only transactions that have written hold the end back, not those that may still write."""
    sql = clock._SESSIONS_SQL.replace("xact_start IS NOT NULL", "backend_xid IS NOT NULL")
    assert sql != clock._SESSIONS_SQL
    return mock.patch.object(clock, "_SESSIONS_SQL", sql)


def without_shared_job_id() -> AbstractContextManager[Any]:
    """Each run publishes under an id of its own, so that BigQuery lets all of them through."""
    shared = TableSync.publish_id

    def own(plan: TableSync) -> str | None:
        return None if shared.__get__(plan) is None else f"sync-{plan.run_id}-publish"

    return mock.patch.object(TableSync, "publish_id", property(own))


@contextlib.contextmanager
def with_start_included() -> Iterator[None]:
    """Rows at the start of the interval are read, though an earlier run has loaded them."""
    with _including_condition(), mock.patch.object(TableSync, "bounds", property(_without_after)):
        yield


def with_start_included_by_the_query() -> AbstractContextManager[Any]:
    """The same, but rows are still looked at before they are staged."""
    return _including_condition()


def without_newer_wins() -> AbstractContextManager[Any]:
    """A merge replaces a row by any other of its key."""

    merge_sql = merge.merge_sql

    def any_merge_sql(plan: TableSync) -> str:
        sql, count = re.subn(r"WHEN MATCHED AND \(.*\) THEN", "WHEN MATCHED THEN", merge_sql(plan))
        assert count == 1
        return sql

    return mock.patch.object(merge, "merge_sql", any_merge_sql)


def with_a_lost_file() -> AbstractContextManager[Any]:
    """BigQuery loads all files of a job but the last of several, and says how many rows it has loaded."""
    load = bigquery.Client.load_table_from_uri

    def losing(client: bigquery.Client, uris: Sequence[str], *arguments: Any, **options: Any) -> Any:
        return load(client, uris[: max(1, len(uris) - 1)], *arguments, **options)

    return mock.patch.object(bigquery.Client, "load_table_from_uri", losing)


def with_a_lost_file_and_no_count() -> AbstractContextManager[Any]:
    """The same, but what BigQuery says is not looked at."""
    load = bigquery.Client.load_table_from_uri

    def losing(client: bigquery.Client, uris: Sequence[str], *arguments: Any, **options: Any) -> Any:
        job = load(client, uris[: max(1, len(uris) - 1)], *arguments, **options)
        rows = sum(_rows_of(uri) for uri in uris)
        job.__class__ = type("Unquestioned", (job.__class__,), {"output_rows": rows})
        return job

    return mock.patch.object(bigquery.Client, "load_table_from_uri", losing)


# Those whose absence random histories can show.
REMOVABLE: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "commit-safe-end": without_commit_safe_end,
    "open-transactions": with_writers_only,
    "shared-job-id": without_shared_job_id,
    "excluded-start": with_start_included,
}


@contextlib.contextmanager
def _including_condition() -> Iterator[None]:
    condition = IntervalQuery.condition

    def including(query: IntervalQuery, interval: SyncInterval) -> str:
        sql = condition(query, interval)
        # The first interval of all has no start.
        assert sql.count(" > '") == (interval.after is not None)
        return sql.replace(" > '", " >= '")

    with mock.patch.object(IntervalQuery, "condition", including):
        yield


_bounds = TableSync.bounds


def _without_after(plan: TableSync) -> TimestampBounds | None:
    bounds = _bounds.__get__(plan)
    return bounds and replace(bounds, after=None)


def _rows_of(uri: str) -> int:
    with FileSystems.open(uri) as file:
        return int(pyarrow.parquet.read_metadata(file).num_rows)
