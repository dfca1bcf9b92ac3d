from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.errors import SchemaError
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.run_plan import FailedTable
from sync_pipeline.publishing.report import SyncReport, outcome_of_nothing, report_of, total_line, total_text, totals_of
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import DeletionCounts, Published
from sync_pipeline.smart_sync.interval import StartOrigin
from tests.plans import INTERVAL, deletions, plan, run_plan

REPORT = SyncReport(
    run_id="r1",
    table_id="p.d.t",
    interval="(2025-07-22 13:00:00.000000+00, 2025-07-22 15:00:00.000000+00]",
    rows_staged=1000,
    rows_loaded=998,
    dead_letters=7,
    bytes_staged=12345,
    seconds=61.25,
    lag_seconds=12.04,
    outcome="merged 998 rows into p.d.t",
)


def test_a_report_is_one_line_of_name_and_value() -> None:
    assert str(REPORT) == (
        "sync report: merged 998 rows into p.d.t: run_id=r1 table=p.d.t "
        "interval=(2025-07-22T13:00:00.000000+00,2025-07-22T15:00:00.000000+00] rows_read=1007 rows_loaded=998 "
        "dead_letters=7 bytes_staged=12345 seconds=61.2 lag_seconds=12.0"
    )


def test_what_a_report_says_to_programs() -> None:
    assert REPORT.values == {
        "phase": "publish",
        "status": "published",
        "run_id": "r1",
        "table": "p.d.t",
        "interval": "(2025-07-22 13:00:00.000000+00, 2025-07-22 15:00:00.000000+00]",
        "rows_read": 1007,
        "rows_loaded": 998,
        "dead_letters": 7,
        "rows_deleted": None,
        "bytes_staged": 12345,
        "seconds": 61.2,
        "lag_seconds": 12.0,
        "more_is_left": False,
    }


def test_what_a_person_sees() -> None:
    assert REPORT.text == (
        "merged 998 rows into p.d.t (1,007 rows read, 7 rejected, 12.1 KiB staged, 61.2 s, 12.0 s behind the source)"
    )
    nothing = replace(REPORT, outcome="nothing new", rows_staged=0, dead_letters=0, bytes_staged=0, lag_seconds=None)
    assert replace(nothing, more_is_left=True).text == (
        "nothing new (0 rows read, 61.2 s); more is left for the next run"
    )
    totals = {"tables": 3, "published": 2, "unchanged": 1, "failed": 0, "rows_read": 5, "dead_letters": 1, "seconds": 2}
    assert total_text(totals) == "3 tables: 2 published, 1 unchanged, 0 failed (5 rows read, 1 rejected, 2 s)"


def test_a_report_without_smart_sync() -> None:
    plain = SyncReport("r1", "p.d.t", "all", 0, 0, 0, 0, 0.04, None, "nothing")
    assert str(plain) == (
        "sync report: nothing: run_id=r1 table=p.d.t interval=all rows_read=0 rows_loaded=0 dead_letters=0 "
        "bytes_staged=0 seconds=0.0 lag_seconds="
    )


def test_deleted_rows_come_last() -> None:
    assert str(replace(REPORT, rows_deleted=3)) == f"{REPORT} rows_deleted=3"


@pytest.mark.parametrize(
    ("counts", "marks", "outcome"),
    [
        pytest.param((10, 0, 0), False, "nothing new: {} is as it was", id="none"),
        pytest.param((10, 1, 0), False, "merged 0 rows into {}, and removed 1 deleted ones", id="removed"),
        pytest.param((10, 1, 2), True, "merged 0 rows into {}, and marked 1 deleted ones, and unmarked 2", id="marked"),
        pytest.param((12, 11, 0), False, "merged 0 rows into {}, and removed none of 11", id="too many"),
    ],
)
def test_the_outcome_of_deletions(counts: tuple[int, int, int], marks: bool, outcome: str) -> None:
    table = plan(interval=INTERVAL, write_mode=WriteMode.MERGE, deletions=deletions(marks=marks))
    job = FinishedJob(SimpleNamespace(job_id="j", labels={}))
    published = Published(job, 0, DeletionCounts(20, *counts, max_percent=10))
    report = report_of(table, StagedFiles(), StagedFiles(), published)
    assert report.outcome == outcome.format(table.table_id)
    assert report.is_unchanged is (counts[1:] == (0, 0))
    assert report.rows_deleted == (0 if counts[1] == 11 else counts[1])


@pytest.mark.parametrize(
    ("mode", "creates", "outcome"),
    [
        (WriteMode.APPEND, False, "nothing new: my-project.production.users is as it was"),
        (WriteMode.MERGE, False, "nothing new: my-project.production.users is as it was"),
        (WriteMode.APPEND, True, "the source returned no rows: my-project.production.users was created empty"),
        (WriteMode.TRUNCATE, False, "the source returned no rows: my-project.production.users is now empty"),
        (WriteMode.TRUNCATE, True, "the source returned no rows: my-project.production.users was created empty"),
    ],
)
def test_the_outcome_of_no_rows(mode: WriteMode, creates: bool, outcome: str) -> None:
    assert outcome_of_nothing(plan(write_mode=mode, creates_table=creates)) == outcome


ROWS = StagedFiles([StagedFile("gs://b/1", rows=3, size=100)])
LETTERS = StagedFiles([StagedFile("gs://b/2", rows=1, size=10, is_dead_letters=True)])
THEIRS = SimpleNamespace(job_id="sync-1", labels={"sync_run": "20250722t150000_00000000"})


@pytest.mark.parametrize(
    ("published", "outcome"),
    [
        pytest.param(Published(FinishedJob(THEIRS), 2), "merged 2 rows into {}", id="merged"),
        pytest.param(
            Published(FinishedJob(THEIRS, is_ours=False)),
            "skipped: run 20250722t150000_00000000 already loaded this interval into {}; newer rows come with the next "
            "run",
            id="skipped",
        ),
    ],
)
def test_report_of(published: Published, outcome: str) -> None:
    merged = plan({"primary_key": "id"}, interval=INTERVAL, write_mode=WriteMode.MERGE)
    report = report_of(merged, ROWS, LETTERS, published)
    assert report.outcome == outcome.format(merged.table_id)
    assert (report.rows_staged, report.rows_loaded, report.dead_letters) == (3, published.rows, 1)
    assert report.bytes_staged == 100
    assert report.interval == str(INTERVAL)


def test_the_total_of_a_run() -> None:
    tables = [plan({"destination_bigquery_table": f"t{number}"}) for number in range(4)]
    running = replace(run_plan(*tables), failed=(FailedTable("public.views", SchemaError("no")),))
    unchanged = replace(REPORT, rows_staged=0, rows_loaded=0, dead_letters=0, bytes_staged=0, is_unchanged=True)
    line = total_line(totals_of(running, [REPORT, unchanged, REPORT]))
    assert re.sub("seconds=[0-9.]+$", "seconds=", line) == (
        "sync total: 5 tables: 2 published, 1 unchanged, 2 failed: run_id=20250722T150000_0a1b2c3d tables=5 "
        "published=2 unchanged=1 failed=2 rows_read=2014 rows_loaded=1996 dead_letters=14 bytes_staged=24690 seconds="
    )


@pytest.mark.parametrize(
    ("mode", "creates", "rows", "published", "expected"),
    [
        pytest.param(WriteMode.APPEND, False, StagedFiles(), Published(None), True, id="nothing new"),
        pytest.param(WriteMode.APPEND, True, StagedFiles(), Published(None), False, id="created empty"),
        pytest.param(WriteMode.TRUNCATE, False, StagedFiles(), Published(None), False, id="emptied"),
        pytest.param(WriteMode.MERGE, False, ROWS, Published(FinishedJob(THEIRS), 3), False, id="merged"),
        pytest.param(
            WriteMode.MERGE, False, ROWS, Published(FinishedJob(THEIRS, is_ours=False)), True, id="by another run"
        ),
    ],
)
def test_a_table_is_unchanged(
    mode: WriteMode, creates: bool, rows: StagedFiles, published: Published, expected: bool
) -> None:
    report = report_of(plan(write_mode=mode, creates_table=creates), rows, StagedFiles(), published)
    assert report.is_unchanged is expected


@pytest.mark.parametrize(
    ("mode", "rows", "outcome", "unchanged"),
    [
        (
            WriteMode.APPEND,
            3,
            "backfill: replaced the rows of the interval in my-project.production.users by 3 rows",
            0,
        ),
        (
            WriteMode.APPEND,
            0,
            "backfill: replaced the rows of the interval in my-project.production.users by 0 rows",
            0,
        ),
        (WriteMode.MERGE, 3, "backfill: merged 3 rows into my-project.production.users", 0),
        (
            WriteMode.MERGE,
            0,
            "backfill: the source has no rows in the interval: my-project.production.users is as it was",
            1,
        ),
    ],
)
def test_a_backfill(mode: WriteMode, rows: int, outcome: str, unchanged: bool) -> None:
    table = plan(interval=replace(INTERVAL, origin=StartOrigin.BACKFILL), write_mode=mode)
    staged = StagedFiles([StagedFile("gs://b/1", rows, 100)] if rows else [])
    report = report_of(table, staged, StagedFiles(), Published(None, rows))
    assert (report.outcome, report.is_unchanged, report.lag_seconds) == (outcome, unchanged, None)
