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

import pyarrow as pa
import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery

from sync_pipeline.errors import SyncError
from sync_pipeline.planning import interval as planned_interval
from sync_pipeline.planning import plan_reconcile
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.reconciliation import NextRun
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing import delete, differences, merge, publish, reconcile
from sync_pipeline.publishing.delete import MergeAndDelete
from sync_pipeline.publishing.reconcile import CompareRows
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.publishing.stage_splits import StageSplitFn
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import Published, Strategy
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.upper_bound import UpperBound
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql import clock
from sync_pipeline.sources.source import ReadSplit
from tests.integration import histories

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
        if strategy.staged.rows or strategy.table.selection is not None:
            strategy.jobs.query(merge.publish_merge_sql(strategy.table, strategy.staged.rows), "merge")
        return publish_both(strategy)

    return mock.patch.object(MergeAndDelete, "publish", publish_apart)


def without_limit_of_deletions() -> AbstractContextManager[Any]:
    """Any number of rows may be removed."""
    return mock.patch.object(delete, "_is_allowed_sql", return_value="sync_counts.missing > 0")


@contextlib.contextmanager
def with_earlier_keys() -> Iterator[None]:
    """The keys of a run are read before its interval is known: when the run before it is planned."""
    latest: dict[str, list[pa.RecordBatch]] = {}
    of_plan: dict[tuple[str, Schema], list[pa.RecordBatch]] = {}
    plan_run, read_rows = histories.make_plan, histories.read_rows

    def plan(*arguments: Any) -> RunPlan:
        run = plan_run(*arguments)
        for table in run.tables:
            if (keys := table.of_keys) is not None and keys.selection is None:
                now = list(read_rows(keys))
                of_plan[keys.run_id, keys.schema] = latest.get(table.table_id, now)
                latest[table.table_id] = now
        return run

    def read(table: TableSync) -> Iterator[pa.RecordBatch]:
        kept = of_plan.get((table.run_id, table.schema))
        return read_rows(table) if kept is None else iter(kept)

    with mock.patch.object(histories, "make_plan", plan), mock.patch.object(histories, "read_rows", read):
        yield


def without_limit_of_repairs() -> AbstractContextManager[Any]:
    """Any number of surplus rows may be removed."""
    return mock.patch.object(reconcile, "allowed_sql", lambda removed, *_: f"{removed} > 0")


def with_repairs_in_two_changes() -> AbstractContextManager[Any]:
    """Surplus rows are removed by one job, and the others are corrected by the next."""
    publish_both, repair = CompareRows.publish, reconcile._repair

    def publish_apart(strategy: CompareRows) -> Published:
        table = strategy.table
        if table.reconciliation is not None and table.reconciliation.repairs:
            with mock.patch.object(reconcile, "_repair", lambda each: repair(each)[:-1]):
                sql = reconcile.reconcile_sql(table, strategy.staged.rows, strategy.rejected)
            strategy.jobs.query(sql, "remove")
        return publish_both(strategy)

    return mock.patch.object(CompareRows, "publish", publish_apart)


def with_new_rows_compared() -> AbstractContextManager[Any]:
    """A row that the next run loads counts as a difference."""
    return mock.patch.object(differences._Comparison, "_is_new", return_value="FALSE")


def with_later_rows_compared() -> AbstractContextManager[Any]:
    """So does a row of a run that has read the source later."""
    return mock.patch.object(differences._Comparison, "_is_later", return_value="FALSE")


def with_older_versions_compared() -> AbstractContextManager[Any]:
    """So does an older version of a row, in a table that is appended to."""
    return _changed_next_run(keeps_versions=False)


def with_deleted_rows_compared() -> AbstractContextManager[Any]:
    """So does a row that the next run removes."""
    return _changed_next_run(deletes=False)


def without_question_for_other_runs() -> AbstractContextManager[Any]:
    """So does a row that another run has removed since the source was read."""
    return mock.patch.object(CompareRows, "_may_have_been_removed", return_value=False)


def _changed_next_run(**values: bool) -> AbstractContextManager[Any]:
    next_run = plan_reconcile._next_run

    def changed(*arguments: Any) -> NextRun | None:
        known = next_run(*arguments)
        return known and replace(known, **values)

    return mock.patch.object(plan_reconcile, "_next_run", changed)


# Those whose absence random histories can show.
REMOVABLE: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "commit-safe-end": without_commit_safe_end,
    "open-transactions": with_writers_only,
    "shared-job-id": without_shared_job_id,
    "excluded-start": with_start_included,
    "key-order": with_earlier_keys,
    "deletion-limit": without_limit_of_deletions,
    "one-change": with_deletions_of_their_own,
    "repair-limit": without_limit_of_repairs,
    "repair-in-one-change": with_repairs_in_two_changes,
    "new-rows": with_new_rows_compared,
    "later-rows": with_later_rows_compared,
    "older-versions": with_older_versions_compared,
    "deleted-rows": with_deleted_rows_compared,
    "removed-rows": without_question_for_other_runs,
}

# Those whose absence random histories of several tables can show.
REMOVABLE_OF_TABLES: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "commit-safe-end": without_commit_safe_end,
    "open-transactions": with_writers_only,
    "shared-job-id": without_shared_job_id,
    "excluded-start": with_start_included,
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
