"""The screens in the documentation: what the program prints for these plans, counts and reports."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sync_pipeline.output import progress
from sync_pipeline.output.progress import PLANNING, PUBLISHING, READING, Progress
from sync_pipeline.planning.billed_queries import BilledQuery
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.plan_text import plan_page
from sync_pipeline.publishing.report import SyncReport, total_text
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import INTERVAL, deletions, plan, run_plan
from tests.test_docs import read

SPLITS = (ReadSplit(1, 1, "SELECT 1"),)
ORDERS = plan(
    {"primary_key": "id", "destination_bigquery_table": "orders"},
    interval=INTERVAL,
    write_mode=WriteMode.MERGE,
    read=ReadPlan("SELECT", SPLITS, 1_500_000, 420 * 2**20),
    source_table="public.orders",
    source_bytes=2 * 2**30,
    mode_reason="key id, timestamps updated_at",
    transport="TLSv1.3, certificate verified",
    deletions=deletions(),
    billed=(BilledQuery("merge", 9 * 2**30, "x"), BilledQuery("keys of the table", 2**30, "x")),
    risks=("the merge reads the whole table: partition it by a column that rarely changes, such as created_at",),
)
COUNTRIES = plan(
    {"destination_bigquery_table": "countries"},
    write_mode=WriteMode.TRUNCATE,
    creates_table=True,
    read=ReadPlan("SELECT", SPLITS, 249, 16 * 2**10),
    source_table="public.countries",
    source_bytes=16 * 2**10,
    mode_reason="the table has no timestamp column updated_at",
    transport="TLSv1.3, certificate verified",
)
REPORT = SyncReport(
    "r",
    "my-project.production.orders",
    "all",
    1_499_998,
    1_499_998,
    2,
    63 * 2**20,
    14.2,
    16.4,
    "merged 1,499,998 rows into my-project.production.orders, and removed 12 deleted ones",
)


def screens() -> list[str]:
    section = read("docs/reference/command-line.md").partition("## What it prints")[2].partition("\n## ")[0]
    return re.findall(r"^```text\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def test_the_plan() -> None:
    assert f"{plan_page(run_plan(ORDERS, COUNTRIES), 100)}\n" == screens()[0]


def test_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    run, lines = Progress(), []
    for phase, seconds, rows in ((PLANNING, 1, 0), (READING, 4, 931_000), (PUBLISHING, 3, 0)):
        run.begin(phase, 1_500_249)
        now[0] += seconds
        run.add(rows)
        lines.append(run.line())
    assert lines == screens()[1].splitlines()


def test_the_report() -> None:
    countries = replace(REPORT, rows_staged=249, dead_letters=0, bytes_staged=4096, lag_seconds=None, seconds=13.1)
    countries = replace(countries, outcome="loaded 249 rows into my-project.production.countries")
    totals = {
        "tables": 2,
        "published": 2,
        "unchanged": 0,
        "failed": 0,
        "rows_read": 1_500_249,
        "dead_letters": 2,
        "seconds": 14.4,
    }
    assert [countries.text, REPORT.text, total_text(totals)] == screens()[2].splitlines()
