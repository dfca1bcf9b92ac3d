from __future__ import annotations

import io
from dataclasses import replace

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.plan_text import plan_page, styled_page, table_lines, table_page
from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.output.test_terminal import Tty
from tests.plans import INTERVAL, PASSWORD, USERS, plan, run_plan

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


def test_the_whole_page() -> None:
    assert (
        table_page(FULL)
        == """\
Risks
    - one risk
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
    2 read splits, at most 5,000 rows per batch between steps
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
    merge by id: one load job into a staging table, then one query job that parses JSON; rejected rows go to \
p-123456.lost.rows
Notes
    - first note
    - second note"""
    )


def test_the_page_of_a_plain_sync() -> None:
    alteration = "ALTER TABLE `my-project.production.users` ADD COLUMN IF NOT EXISTS `name` STRING"
    page = table_page(plan(alterations=(alteration,), write_mode=WriteMode.TRUNCATE))
    assert page.startswith("Risks\n    none seen\nSync\n")
    assert "Interval\n    none: Smart Sync is off; the run reads the whole query\n" in page
    assert "Rows\n    unknown\n" in page
    assert f"Table\n    exists, neither partitioned nor clustered\n    {alteration}\n" in page
    assert page.endswith("Publishing\n    replace all rows: one load job\nNotes\n    none")


def test_the_page_of_a_replacement() -> None:
    page = table_page(plan(write_mode=WriteMode.REPLACE))
    assert "Table\n    CREATE OR REPLACE TABLE `my-project.production.users` (\n" in page
    assert "Publishing\n    replace the table: one load job into a staging table, then one query job\n" in page


def test_lines_are_single_lines() -> None:
    lines = table_lines(replace(FULL, alterations=("ALTER TABLE x",)))
    assert [line for line in lines if "\n" in line or not line.startswith("plan: ")] == []
    assert lines == [
        (
            "plan: run 20250722T150000_0a1b2c3d: postgresql to my-project.production.users, merge by id: one load job "
            "into a staging table, then one query job that parses JSON; rejected rows go to p-123456.lost.rows"
        ),
        "plan: 5 columns, 2 read splits, rows: about 1,234,567, as the source estimates",
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
def test_no_secret_is_shown(plan: TableSync) -> None:
    assert plan.config.source.password.resolve() == PASSWORD  # type: ignore[union-attr]
    shown = "\n".join((table_page(plan), *table_lines(plan), repr(plan), str(plan)))
    assert PASSWORD not in shown


def test_a_page_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences fit; a statement stays as it can be copied."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    risky = replace(FULL, risks=("the server is a standby, " * 5,))
    page = plan_page(run_plan(risky), 60)
    lines = page.split("\n")
    assert max(map(len, lines[: lines.index("Sync")])) <= 60
    assert "    PARTITION BY TIMESTAMP_TRUNC(`updated_at`, MONTH)" in lines
    styled = styled_page(page, Tty())
    assert styled.startswith("\x1b[1mMerge about 1,234,567 rows from PostgreSQL into the new")
    assert "\n\x1b[1mRisks\x1b[0m\n\x1b[33m    - the server is a standby," in styled
    assert "\n\x1b[1mSync\x1b[0m\n    postgresql to" in styled
    assert styled_page(page, io.StringIO()) == page
