from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.errors import PublishError, RecordError, SourceUnavailableError, SyncError
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.run_plan import FailedTable
from sync_pipeline.publishing.run_record import RunRecord
from sync_pipeline.smart_sync.interval import StartOrigin
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.json_schemas import broken, is_valid
from tests.output.test_run_output import SCHEMA
from tests.plans import INTERVAL, plan, run_plan
from tests.publishing.test_report import REPORT


def document(record: RunRecord, error: SyncError | None = None) -> dict[str, Any]:
    """Return the document, which fits the schema and has all of its properties and no other."""
    found = json.loads(
        json.dumps(record.output(error, 0 if error is None else error.exit_code).model_dump(mode="json"))
    )
    assert is_valid(found, SCHEMA)
    # A count of a column has a name of its own, so nothing requires it.
    changed = [path for path, other in broken(found) if ".different_by_column." not in path and is_valid(other, SCHEMA)]
    assert changed == []
    assert list(found) == list(SCHEMA["$defs"]["Plan" if found["kind"] == "plan" else "Report"]["properties"])
    return dict(found)


def test_a_run_of_several_tables() -> None:
    merged = plan(interval=INTERVAL, write_mode=WriteMode.MERGE, primary_key=("id",), risks=("late",))
    others = [plan({"destination_bigquery_table": name}, source_table=name) for name in ("a", "b")]
    running = replace(run_plan(merged, *others), failed=(FailedTable("public.c", RecordError("no")),))
    with RunRecord.open() as record:
        outcomes = record.begin(running)
        outcomes.add(0, REPORT)
        outcomes.add(1, replace(REPORT, rows_staged=0, rows_loaded=0, dead_letters=0, is_unchanged=True))
        outcomes.add(2, RecordError("does not fit"))
        record.end()
        found = document(record, RecordError("2 of 4 tables failed"))
    assert (found["exit_code"], found["error"]) == (2, {"kind": "RecordError", "message": "2 of 4 tables failed"})
    [run] = found["runs"]
    assert run["run_id"] == running.run.id
    assert [table["status"] for table in run["tables"]] == ["published", "unchanged", "failed", "failed"]
    first, _, third, last = run["tables"]
    assert first == {
        "source": "",
        "destination": "my-project.production.users",
        "mode": "merge",
        "is_backfill": False,
        "primary_key": ["id"],
        "interval": {
            "column": "updated_at",
            "start": "2025-07-22T13:00:00.000000+00:00",
            "end": "2025-07-22T15:00:00.000000+00:00",
        },
        "more_is_left": False,
        "risks": ["late"],
        "error": None,
        "status": "published",
        "outcome": "merged 998 rows into p.d.t",
        "rows_read": 1007,
        "rows_loaded": 998,
        "rows_rejected": 7,
        "rows_deleted": None,
        "differences": None,
        "bytes_staged": 12345,
        "seconds": 61.25,
        "lag_seconds": 12.04,
    }
    assert (third["source"], third["error"]["message"], third["rows_read"]) == ("b", "does not fit", 0)
    assert (last["source"], last["mode"], last["error"]["message"]) == ("public.c", None, "no")
    counts = {"runs": 1, "tables": 4, "published": 1, "unchanged": 1, "failed": 2, "rows_read": 1007}
    assert counts.items() <= found["totals"].items()


def test_a_run_that_ended_before_it_published() -> None:
    with RunRecord.open() as record:
        record.begin(run_plan(plan()))
        found = document(record, SourceUnavailableError("gone"))
    [table] = found["runs"][0]["tables"]
    assert (table["status"], table["error"]) == ("failed", {"kind": "SourceUnavailableError", "message": "gone"})


def test_a_command_that_planned_nothing() -> None:
    with RunRecord.open() as record:
        assert document(record, RecordError("no"))["runs"] == []
        record.is_dry_run = True
        assert document(record, RecordError("no"))["tables"] == []


def test_a_dry_run() -> None:
    table = plan(interval=replace(INTERVAL, origin=StartOrigin.EVERYTHING), creates_table=True, notes=("clustered",))
    with RunRecord.open() as record:
        record.is_dry_run = True
        record.dry_run = replace(run_plan(table), failed=(FailedTable("c", RecordError("no")),), notes=("left out",))
        found = document(record)
    first, last = found["tables"]
    assert first["interval"]["start"] is None
    assert (first["creates_table"], first["notes"], found["notes"]) == (True, ["clustered"], ["left out"])
    assert (last["source"], last["error"]["kind"]) == ("c", "RecordError")


def test_the_interval_of_a_wall_clock_has_no_offset() -> None:
    with RunRecord.open() as record:
        record.begin(run_plan(plan(interval=replace(INTERVAL, wall_clock=WallClock("America/New_York")))))
        found = document(record)
    assert found["runs"][0]["tables"][0]["interval"]["end"] == "2025-07-22T15:00:00.000000"


def test_a_run_that_gets_no_further_is_the_last() -> None:
    before = run_plan(plan(interval=replace(INTERVAL, more_is_left=True)))
    further = replace(INTERVAL, latest=INTERVAL.end, more_is_left=True)
    with RunRecord.open() as record:
        assert not record.more_is_left
        record.begin(before)
        assert record.more_is_left
        record.begin(run_plan(plan(interval=further)))
        with pytest.raises(PublishError, match=r"latest timestamp of my-project\.production\.users is what it was"):
            record.begin(run_plan(plan(interval=further)))
        record.begin(run_plan(plan(interval=replace(further, more_is_left=False))))
        assert not record.more_is_left


def test_totals_are_those_of_all_runs() -> None:
    with RunRecord.open() as record:
        for number in (1, 2):
            interval = replace(INTERVAL, latest=None if number == 1 else INTERVAL.end, more_is_left=number == 1)
            record.begin(run_plan(plan(interval=interval, run_id=f"r{number}"))).add(0, REPORT)
            record.end()
        found = document(record)
    assert [run["run_id"] for run in found["runs"]] == ["r1", "r2"]
    assert {"runs": 2, "rows_read": 2014, "published": 2}.items() <= found["totals"].items()
    assert [run["tables"][0]["more_is_left"] for run in found["runs"]] == [True, False]


@pytest.mark.parametrize(
    ("reports", "nothing_new", "rejected"),
    [
        pytest.param([replace(REPORT, is_unchanged=True, dead_letters=0)], True, False, id="nothing new"),
        pytest.param([replace(REPORT, is_unchanged=True, dead_letters=0), REPORT], False, True, id="one of two"),
        pytest.param([replace(REPORT, dead_letters=0)], False, False, id="rows"),
        pytest.param([RecordError("no")], False, False, id="failed"),
    ],
)
def test_what_an_exit_code_can_tell(reports: list[Any], nothing_new: bool, rejected: bool) -> None:
    tables = [plan({"destination_bigquery_table": f"t{number}"}) for number in range(len(reports))]
    with RunRecord.open() as record:
        assert (record.found_nothing_new, record.rejected_rows, record.run) == (False, False, None)
        outcomes = record.begin(run_plan(*tables))
        for number, report in enumerate(reports):
            outcomes.add(number, report)
        assert (record.found_nothing_new, record.rejected_rows) == (nothing_new, rejected)
        assert record.tells_failure == isinstance(reports[0], Exception)
        assert record.run is not None
