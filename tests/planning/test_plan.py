from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.bigquery_api.own_tables import TABLE_NAME, is_temporary
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.staging_names import new_run_id, staging_table_id
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from tests.plans import INTERVAL, USERS, moment, plan, run_plan

KEYED = {"primary_key": "id"}
FIRST = SyncInterval(moment("1900-01-01"), moment("2025-07-22 15:00"), StartOrigin.EVERYTHING)


def from_latest(latest: datetime | None) -> TableSync:
    return plan(interval=replace(INTERVAL, latest=latest))


def test_runs_from_one_timestamp_share_the_publishing_id() -> None:
    other = plan(
        interval=SyncInterval(
            moment("2025-07-22 12:00"), moment("2025-07-22 18:00"), StartOrigin.LOOKBACK, INTERVAL.latest
        ),
        run_id="another",
        started_at=moment("2026-01-01"),
        schema=Schema((Field("id", "INT64"),)),
    )
    assert other.publish_id == plan(interval=INTERVAL).publish_id
    assert re.fullmatch("sync-[0-9a-f]{32}", str(other.publish_id))


def test_appending_and_merging_runs_share_it_too() -> None:
    merging = plan(KEYED, interval=INTERVAL, write_mode=WriteMode.MERGE)
    assert merging.publish_id == plan(interval=INTERVAL).publish_id


def test_attempts_of_an_execution_append_once() -> None:
    table = plan()
    assert (table.publish_id, table.publishes_once) == (None, False)
    first, second, other = (
        replace(table, run=replace(table.run, id=run, execution=execution))
        for run, execution in (("r1", "orders-abcde"), ("r2", "orders-abcde"), ("r3", "orders-fghij"))
    )
    assert first.publish_id == second.publish_id != other.publish_id
    assert re.fullmatch("sync-[0-9a-f]{32}", str(first.publish_id))
    assert first.publishes_once
    # Another attempt of these has the same effect.
    assert replace(first, write_mode=WriteMode.TRUNCATE).publish_id is None
    # Its attempts compete with all other runs from the same timestamp.
    smart = plan(interval=INTERVAL)
    attempt = replace(smart, run=replace(smart.run, execution="orders-abcde"))
    assert (attempt.publish_id, attempt.publishes_once) == (smart.publish_id, False)


def backfill(end: str, write_mode: WriteMode = WriteMode.APPEND) -> TableSync:
    parameters = KEYED if write_mode is WriteMode.MERGE else {}
    interval = replace(INTERVAL, start=moment("2025-07-20"), end=moment(end), origin=StartOrigin.BACKFILL)
    return plan(parameters, interval=interval, write_mode=write_mode)


def test_a_backfill_of_the_latest_row_competes_with_the_runs_from_there() -> None:
    table = backfill("2025-07-22 13:00")
    assert table.publish_id == plan(interval=INTERVAL).publish_id
    assert table.staging_start == plan(interval=INTERVAL).staging_start


@pytest.mark.parametrize(
    ("end", "mode"), [("2025-07-22 12:59", WriteMode.APPEND), ("2025-07-22 13:00", WriteMode.MERGE)]
)
def test_other_backfills_compete_with_those_of_the_same_interval(end: str, mode: WriteMode) -> None:
    table = backfill(end, mode)
    assert table.publish_id == backfill(end, mode).publish_id
    assert table.publish_id not in (plan(interval=INTERVAL).publish_id, backfill("2025-07-21").publish_id)
    # Others may publish meanwhile, so none of them may take its files for orphaned.
    assert table.staging_start == "none"


def test_other_syncs_have_other_publishing_ids() -> None:
    plans = [
        plan(interval=INTERVAL),
        from_latest(moment("2025-07-22 13:00:00.000001")),
        from_latest(None),
        plan({"destination_bigquery_table": "others"}, interval=INTERVAL),
        plan({"destination_bigquery_dataset": "others"}, interval=INTERVAL),
        plan({"destination_bigquery_project": "other-project"}, interval=INTERVAL),
        plan(interval=INTERVAL, timestamp_column="created_at"),
    ]
    assert len({plan.publish_id for plan in plans}) == len(plans)


def test_the_publishing_id_is_always_the_same() -> None:
    assert plan(interval=FIRST).publish_id == "sync-01710c2563f2220c1b30cf9f7578716c"


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(plan(), id="without Smart Sync"),
        pytest.param(plan(write_mode=WriteMode.TRUNCATE), id="truncate"),
        pytest.param(plan(KEYED, write_mode=WriteMode.MERGE), id="merge without Smart Sync"),
        pytest.param(plan(interval=FIRST, write_mode=WriteMode.REPLACE), id="replace"),
    ],
)
def test_runs_that_publish_all_they_read_share_no_id(plan: TableSync) -> None:
    assert plan.publish_id is None
    assert plan.staging_start == "none"


def test_staging_start_sorts_by_time() -> None:
    latest = [
        None,
        moment("0001-01-01"),
        moment("1969-12-31 23:59:59"),
        moment("2025-07-22 13:00:00"),
        moment("2025-07-22 13:00:00.000001"),
        moment("2025-07-22 13:00:01"),
        moment("2025-10-01"),
        moment("9999-12-31 23:59:59.999999"),
    ]
    starts = [from_latest(each).staging_start for each in latest]
    assert all(earlier < later for earlier, later in pairwise(starts)), starts


def test_the_staging_folder() -> None:
    root = plan().staging_root
    folder = plan(interval=INTERVAL).staging_folder
    assert re.fullmatch("gs://bucket/tmp/my-project.production.users-[0-9a-f]{8}/", root)
    assert folder == f"{root}start=2025-07-22T130000.000000,run=20250722T150000_0a1b2c3d/"
    assert plan(interval=FIRST).staging_folder == f"{root}start=0,run=20250722T150000_0a1b2c3d/"
    assert plan().staging_folder == f"{root}start=none,run=20250722T150000_0a1b2c3d/"


def test_the_staging_table_lies_beside_the_destination() -> None:
    expected = "my-project.production._staging_20250722T150000_0a1b2c3d"
    assert plan().staging_table_id == staging_table_id(plan().config.destination, plan().run_id) == expected


@pytest.mark.parametrize(
    ("schema", "mode", "needed"),
    [
        pytest.param(USERS, WriteMode.APPEND, False, id="append"),
        pytest.param(USERS, WriteMode.TRUNCATE, False, id="truncate"),
        pytest.param(USERS, WriteMode.MERGE, True, id="merge"),
        pytest.param(USERS, WriteMode.REPLACE, True, id="replace"),
        pytest.param(Schema((Field("a", "JSON"),)), WriteMode.APPEND, True, id="append JSON"),
        pytest.param(Schema((Field("a", "JSON"),)), WriteMode.TRUNCATE, True, id="truncate JSON"),
    ],
)
def test_needs_staging_table(schema: Schema, mode: WriteMode, needed: bool) -> None:
    assert plan(schema=schema, write_mode=mode).needs_staging_table is needed


def test_bounds() -> None:
    end = moment("2025-07-22 15:00")
    assert plan().bounds is None
    assert plan(interval=INTERVAL).bounds == TimestampBounds("updated_at", moment("2025-07-22 13:00"), end)
    assert plan(KEYED, interval=INTERVAL, write_mode=WriteMode.MERGE).bounds == TimestampBounds("updated_at", None, end)
    assert plan(interval=INTERVAL, timestamp_column="changed").bounds == TimestampBounds(
        "changed", moment("2025-07-22 13:00"), end
    )
    assert plan(interval=FIRST).bounds == TimestampBounds("updated_at", None, end, refuses_null=True)
    assert plan(KEYED, interval=FIRST, write_mode=WriteMode.MERGE).bounds == TimestampBounds("updated_at", None, end)
    with_nulls = KEYED | {"smart_sync_null_timestamps": "include"}
    assert plan(with_nulls, interval=FIRST, write_mode=WriteMode.REPLACE).bounds == TimestampBounds(
        "updated_at", None, end
    )


def test_run_ids_sort_by_time_and_are_unique() -> None:
    started = moment("2025-07-22 15:00:01")
    ids = {new_run_id(started) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("20250722T150001_[0-9a-f]{8}", run_id) for run_id in ids)


def test_names_that_differ_in_case_share_an_id_where_they_are_one_table() -> None:
    names = [{"destination_bigquery_table": name} for name in ("Users", "users")]
    told, ignored = ([plan(name, interval=INTERVAL, ignores_case=fold).publish_id for name in names] for fold in (0, 1))
    assert told[0] != told[1]
    assert ignored[0] == ignored[1]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param({}, False, id="plain"),
        pytest.param({"layout": TableLayout("updated_at")}, True, id="partitioned"),
        pytest.param({"layout": TableLayout("updated_at"), "creates_table": True}, False, id="new"),
        pytest.param({"loads_all_columns": False}, True, id="some of the columns"),
    ],
)
def test_a_load_job_replaces_all_rows_of_whole_plain_tables_only(parts: dict[str, Any], expected: bool) -> None:
    assert plan(write_mode=WriteMode.TRUNCATE, **parts).needs_staging_table is expected


def test_the_first_table_is_named_by_the_run_alone() -> None:
    others = {"destination_bigquery_table": "others"}
    first, second = run_plan(plan(interval=INTERVAL), plan(others, interval=INTERVAL)).tables
    assert (first.name, second.name) == (first.run_id, f"{first.run_id}_1")
    assert second.staging_folder.startswith("gs://bucket/tmp/my-project.production.others-")
    assert second.staging_folder.endswith("start=2025-07-22T130000.000000,run=20250722T150000_0a1b2c3d_1/")
    assert second.staging_table_id == "my-project.production._staging_20250722T150000_0a1b2c3d_1"
    assert all(re.fullmatch(TABLE_NAME, table.name) for table in (first, second))
    for table in (first, second):
        beside = (table.staging_table_id, table.replacement_table_id, table.replaced_table_id)
        assert all(is_temporary(table_id.rpartition(".")[2]) for table_id in beside)
