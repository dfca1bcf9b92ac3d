from __future__ import annotations

import pytest

from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.report import SyncReport, outcome_of_nothing
from tests.plans import plan

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


def test_a_report_without_smart_sync() -> None:
    plain = SyncReport("r1", "p.d.t", "all", 0, 0, 0, 0, 0.04, None, "nothing")
    assert str(plain) == (
        "sync report: nothing: run_id=r1 table=p.d.t interval=all rows_read=0 rows_loaded=0 dead_letters=0 "
        "bytes_staged=0 seconds=0.0 lag_seconds="
    )


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
