from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.plan import SyncPlan, WriteMode, new_run_id, staging_table_id
from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import INTERVAL, PASSWORD, USERS, moment, plan

KEYED = {"primary_key": "id"}
FIRST = SyncInterval(moment("1900-01-01"), moment("2025-07-22 15:00"), StartOrigin.EVERYTHING)


def from_latest(latest: datetime | None) -> SyncPlan:
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
def test_runs_that_publish_all_they_read_share_no_id(plan: SyncPlan) -> None:
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
    folder = plan(interval=INTERVAL).staging_folder
    assert folder == "gs://bucket/tmp/start=2025-07-22T130000.000000,run=20250722T150000_0a1b2c3d/"
    assert plan(interval=FIRST).staging_folder == "gs://bucket/tmp/start=0,run=20250722T150000_0a1b2c3d/"
    assert plan().staging_folder == "gs://bucket/tmp/start=none,run=20250722T150000_0a1b2c3d/"


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


FULL = plan(
    {"primary_key": "id", "batch_size": "5000"},
    interval=INTERVAL,
    write_mode=WriteMode.MERGE,
    creates_table=True,
    schema=Schema((*USERS, Field("tags", "STRING", REPEATED, source_type="text[]"), Field("document", "JSON"))),
    read_schema=Schema((*USERS, Field("tags", "STRING", REPEATED, source_type="text[]"))),
    layout=TableLayout("updated_at", "MONTH", ("id",), ("id",)),
    read=ReadPlan(
        "SELECT *\nFROM users",
        (ReadSplit(1, 2, "SELECT 1"), ReadSplit(2, 2, "SELECT 2")),
        estimated_rows=1234567,
    ),
    dead_letters=DeadLetterTable("p-123456.lost.rows", "EU", exists=False),
    notes=("first note", "second note"),
    risks=("one risk",),
)


def test_render_is_a_whole_page() -> None:
    assert (
        FULL.render()
        == """\
Sync
    postgresql to my-project.production.users in EU (run 20250722T150000_0a1b2c3d)
Interval
    updated_at in (2025-07-22 13:00:00.000000+00, 2025-07-22 15:00:00.000000+00]
    start: latest timestamp in the destination
Query
    SELECT *
    FROM users
Rows
    about 1,234,567, as the source estimates
Reading
    2 partition(s), at most 5,000 rows a batch
Columns
    id bigint                            ->  id INT64 NOT NULL
    name text                            ->  name STRING
    updated_at timestamp with time zone  ->  updated_at TIMESTAMP
    tags text[]                          ->  tags ARRAY<STRING>
    constant                             ->  document JSON
Table
    CREATE TABLE `my-project.production.users` (
      `id` INT64 NOT NULL,
      `name` STRING,
      `updated_at` TIMESTAMP,
      `tags` ARRAY<STRING>,
      `document` JSON,
      PRIMARY KEY (`id`) NOT ENFORCED
    )
    PARTITION BY TIMESTAMP_TRUNC(`updated_at`, MONTH)
    CLUSTER BY `id`
Publishing
    merge by id: one load job into a staging table, then one query job that parses JSON; rows that do not fit go to \
p-123456.lost.rows
Notes
    - first note
    - second note
Risks
    - one risk"""
    )


def test_render_of_a_plain_sync() -> None:
    alteration = "ALTER TABLE `my-project.production.users` ADD COLUMN IF NOT EXISTS `name` STRING"
    page = plan(alterations=(alteration,), write_mode=WriteMode.TRUNCATE).render()
    assert "Interval\n    none: Smart Sync is off, the whole query is read\n" in page
    assert "Rows\n    unknown\n" in page
    assert f"Table\n    exists, neither partitioned nor clustered\n    {alteration}\n" in page
    assert page.endswith("Publishing\n    replace all rows: one load job\nNotes\n    none\nRisks\n    none seen")


def test_render_of_a_replacement() -> None:
    page = plan(write_mode=WriteMode.REPLACE).render()
    assert "Table\n    CREATE OR REPLACE TABLE `my-project.production.users` (\n" in page
    assert "Publishing\n    replace the table: one load job into a staging table, then one query job\n" in page


def test_lines_are_single_lines() -> None:
    lines = replace(FULL, alterations=("ALTER TABLE x",)).lines()
    assert [line for line in lines if "\n" in line or not line.startswith("plan: ")] == []
    assert lines == [
        (
            "plan: run 20250722T150000_0a1b2c3d: postgresql to my-project.production.users, merge by id: one load job "
            "into a staging table, then one query job that parses JSON; rows that do not fit go to p-123456.lost.rows"
        ),
        "plan: 5 columns, 2 partition(s), rows: about 1,234,567, as the source estimates",
        (
            "plan: interval (2025-07-22 13:00:00.000000+00, 2025-07-22 15:00:00.000000+00]: latest timestamp in the "
            "destination"
        ),
        "plan: the table will be created, partitioned by updated_at (MONTH), clustered by id",
        "plan: the table will be changed: ALTER TABLE x",
        "plan: note: first note",
        "plan: note: second note",
        "plan: risk: one risk",
    ]


@pytest.mark.parametrize("plan", [FULL, plan()], ids=["full", "plain"])
def test_no_secret_is_shown(plan: SyncPlan) -> None:
    assert plan.config.source.password.resolve() == PASSWORD  # type: ignore[union-attr]
    shown = "\n".join((plan.render(), *plan.lines(), repr(plan), str(plan)))
    assert PASSWORD not in shown


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
