"""What makes a run safe, each piece of it removable: a test of a protection must fail without it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery

from sync_pipeline.errors import SyncError
from sync_pipeline.planning import interval as planned_interval
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing import delete, merge, publish
from sync_pipeline.publishing.delete import MergeAndDelete
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.publishing.stage_splits import StageSplitFn
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import Published, Strategy
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.upper_bound import UpperBound
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql import clock
from sync_pipeline.sources.source import ReadSplit

_LATE = datetime(2098, 1, 1, tzinfo=UTC)


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
        return None if shared.__get__(plan) is None else f"sync-{plan.name}-publish"

    return mock.patch.object(TableSync, "publish_id", property(own))


@contextlib.contextmanager
def with_start_included() -> Iterator[None]:
    """Rows at the start of the interval are read, though an earlier run has loaded them."""
    with _including_condition(), mock.patch.object(TableSync, "bounds", property(_without_after)):
        yield


def with_start_included_by_the_query() -> AbstractContextManager[Any]:
    """The same, but rows are still looked at before they are staged."""
    return _including_condition()


def with_steps_from_the_start() -> AbstractContextManager[Any]:
    """A step ends so long after its start, whether the source has rows there or not."""

    def fixed(unloaded: SyncInterval, interval: SyncInterval, _: object, longest: timedelta) -> SyncInterval:
        return replace(interval, end=min(unloaded.start + longest, interval.end), more_is_left=True)

    return mock.patch.object(planned_interval, "step_of", fixed)


def without_a_last_step() -> AbstractContextManager[Any]:
    """A step with all the rows that are left counts as the last one, though it ends before some of them."""
    step_of = planned_interval.step_of

    def last(*arguments: Any) -> SyncInterval:
        return replace(step_of(*arguments), more_is_left=False)

    return mock.patch.object(planned_interval, "step_of", last)


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


@contextlib.contextmanager
def with_a_late_clock() -> Iterator[None]:
    """The end is read after the rows: those count as well that came after the open transactions were looked at."""
    condition = IntervalQuery.condition

    def endless(query: IntervalQuery, interval: SyncInterval | None) -> str:
        return re.sub(r"<= '[^']*'", f"<= '{_LATE}'", condition(query, interval))

    def without_end(plan: TableSync) -> TimestampBounds | None:
        bounds = _bounds.__get__(plan)
        return bounds and replace(bounds, until=_LATE)

    with (
        mock.patch.object(IntervalQuery, "condition", endless),
        mock.patch.object(TableSync, "bounds", property(without_end)),
    ):
        yield


def with_early_clean_up() -> AbstractContextManager[Any]:
    """What is staged is removed after every error, though another attempt may need it."""
    publish_or_skip = publish._publish_or_skip

    def cleaning(strategy: Strategy, dead_letters: StagedFiles) -> Published:
        try:
            return publish_or_skip(strategy, dead_letters)
        except SyncError:
            jobs = strategy.jobs
            publish.clean_up(jobs.client, jobs.table, strategy.temporary_table_ids, destination_moved=False)
            raise

    return mock.patch.object(publish, "_publish_or_skip", cleaning)


def without_clean_up() -> AbstractContextManager[Any]:
    """What is staged is never removed."""
    return mock.patch.object(publish, "clean_up")


def with_failed_tables_published() -> AbstractContextManager[Any]:
    """What is staged of a table is published, though not all of it could be read."""

    def publish_table(client: bigquery.Client, table: TableSync, elements: Sequence[Any]) -> SyncReport:
        return publish.publish(client, table, [element for element in elements if isinstance(element, StagedFile)])

    return mock.patch.object(publish, "_publish_table", publish_table)


def with_one_failure_for_all() -> AbstractContextManager[Any]:
    """The first table that fails ends the publishing of the others."""

    def outcome_of(elements: Mapping[int, Sequence[Any]], client: bigquery.Client, table: TableSync) -> SyncReport:
        return publish._publish_table(client, table, elements[table.number])

    return mock.patch.object(publish, "_outcome_of", outcome_of)


def with_early_manifests() -> AbstractContextManager[Any]:
    """A split counts as staged when its read begins."""
    staged = StageSplitFn._staged

    def early(fn: StageSplitFn, split: ReadSplit) -> list[StagedFile]:
        if fn._finished is not None:
            fn._finished.keep(fn._table, split, [])
        return staged(fn, split)

    return mock.patch.object(StageSplitFn, "_staged", early)


def with_half_a_failure() -> AbstractContextManager[Any]:
    """A table's failure counts only if none of its splits could be read."""
    publish_table = publish._publish_table

    def lenient(client: bigquery.Client, table: TableSync, elements: Sequence[Any]) -> SyncReport:
        files = [element for element in elements if isinstance(element, StagedFile)]
        return publish_table(client, table, files or elements)

    return mock.patch.object(publish, "_publish_table", lenient)


def with_deletions_of_their_own() -> AbstractContextManager[Any]:
    """Rows are merged by one job, and deleted rows are removed by the next."""
    publish_both = MergeAndDelete.publish

    def publish_apart(strategy: MergeAndDelete) -> Published:
        strategy.jobs.query(merge.publish_merge_sql(strategy.table, strategy.staged.rows), "merge")
        return publish_both(strategy)

    return mock.patch.object(MergeAndDelete, "publish", publish_apart)


def without_limit_of_deletions() -> AbstractContextManager[Any]:
    """Any number of rows may be removed."""
    return mock.patch.object(delete, "_is_allowed_sql", return_value="sync_counts.missing > 0")


# Those whose absence random histories can show.
REMOVABLE: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "commit-safe-end": without_commit_safe_end,
    "open-transactions": with_writers_only,
    "shared-job-id": without_shared_job_id,
    "excluded-start": with_start_included,
}

# Those whose absence random histories of several tables can show.
REMOVABLE_OF_TABLES: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    **REMOVABLE,
    "count": with_a_lost_file_and_no_count,
    "late-clock": with_a_late_clock,
    "clean-up-after-success": with_early_clean_up,
    "clean-up": without_clean_up,
    "failed-tables": with_failed_tables_published,
    "failed-splits": with_half_a_failure,
    "alone": with_one_failure_for_all,
    "manifests": with_early_manifests,
}


@contextlib.contextmanager
def _including_condition() -> Iterator[None]:
    condition = IntervalQuery.condition

    def including(query: IntervalQuery, interval: SyncInterval | None) -> str:
        sql = condition(query, interval)
        if interval is None:
            return sql
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
