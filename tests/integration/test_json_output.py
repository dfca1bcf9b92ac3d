"""`--output=json`: one document on standard output, as the published schema describes it, and nothing else there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sync_pipeline import command
from tests.integration.syncing import Run, Syncing
from tests.json_schemas import broken, is_valid
from tests.output.test_run_output import SCHEMA


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL)")
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z'), (2, 'b', '2024-01-02Z'); ANALYZE items")


def document(run: Run) -> dict[str, Any]:
    found = json.loads(run.printed)
    assert is_valid(found, SCHEMA)
    assert [path for path, other in broken(found) if is_valid(other, SCHEMA)] == []
    assert found["exit_code"] == run.exit_code
    if run.errors:
        assert found["error"]["message"] == "\n".join(run.errors)
    return dict(found)


def test_the_report_of_a_run(syncing: Syncing) -> None:
    found = document(syncing.smart(primary_key="id", output="json").succeeded())
    [run] = found["runs"]
    [table] = run["tables"]
    assert (table["destination"], table["mode"], table["status"]) == (syncing.table_id(), "merge", "published")
    assert (table["rows_read"], table["rows_loaded"], table["interval"]["start"]) == (2, 2, None)
    assert (found["totals"]["rows_loaded"], found["error"]) == (2, None)
    [table] = document(syncing.smart(primary_key="id", output="json"))["runs"][0]["tables"]
    assert (table["status"], table["interval"]["start"]) == ("unchanged", "2024-01-02T00:00:00.000000+00:00")


def test_the_report_of_many_tables_one_of_which_fails(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE numbers (id int PRIMARY KEY, v numeric(50, 0)); INSERT INTO numbers VALUES (1, 1e49)")
    syncing.execute("CREATE TABLE odd (id int PRIMARY KEY, v numeric); INSERT INTO odd VALUES (1, 'NaN')")
    many = {"postgresql_query": None, "postgresql_table": "public.*", "destination_bigquery_table": None}
    run = syncing.run(**many, output="json")
    found = document(run)
    [tables] = [one["tables"] for one in found["runs"]]
    failed = [table for table in tables if table["status"] == "failed"]
    assert {table["source"] for table in tables} == {"public.items", "public.numbers", "public.odd"}
    assert "public.odd" in {table["source"] for table in failed}
    assert all(table["error"]["kind"] == "RecordError" for table in failed)
    assert found["totals"]["failed"] == len(failed)


def test_the_report_of_a_run_that_cannot_be_planned(syncing: Syncing) -> None:
    found = document(syncing.run(postgresql_query="SELECT nothing", output="json"))
    assert (found["kind"], found["exit_code"], found["error"]["kind"], found["runs"]) == (
        "report",
        2,
        "SourceQueryError",
        [],
    )


def test_the_plan_of_a_dry_run(syncing: Syncing) -> None:
    planned = document(syncing.smart(output="json", dry_run="true"))
    [table] = planned["tables"]
    assert (planned["estimate"]["rows"], planned["estimate"]["billed_bytes"]) == (2, 0)
    assert planned["summary"][0].startswith("Append about 2 rows")
    assert (table["creates_table"], table["estimated_rows"], table["mode"]) == (True, 2, "append")
    assert document(syncing.run(postgresql_query="SELECT no", output="json", dry_run="true"))["kind"] == "plan"


def test_mistakes_of_a_command_line(syncing: Syncing) -> None:
    found = document(syncing.run(batch_size="0", output="json"))
    assert found["error"]["kind"] == "ConfigError"


def test_an_unexpected_error_has_its_traceback_and_a_document(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object) -> None:
        raise ValueError("the value of a row")

    monkeypatch.setattr("sync_pipeline.pipeline.make_plan", break_down)
    with pytest.raises(ValueError, match="row"):
        command.main(syncing.argv(output="json"))
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["error"]["kind"]) == (1, "ValueError")
    assert "row" not in found["error"]["message"]


def test_a_job_on_dataflow_prints_no_report(syncing: Syncing) -> None:
    found = document(syncing.run(runner="DataflowRunner", output="json", sdk_container_image="x", region="r"))
    assert found["error"]["message"].startswith("--output=json can only follow a run in this process")


def test_workers_in_other_processes_are_reported(syncing: Syncing) -> None:
    process = syncing.begin_process("--direct_running_mode=multi_processing", "--output=json")
    printed, _ = process.communicate(timeout=100)
    assert json.loads(printed)["totals"]["rows_loaded"] == 2


def test_what_a_merge_costs(syncing: Syncing) -> None:
    """The queries over the destination, by their bytes; a first load has none."""
    assert syncing.smart(primary_key="id").succeeded()
    planned = document(syncing.smart(primary_key="id", deletes="remove", output="json", dry_run="true"))
    [table] = planned["tables"]
    assert planned["estimate"]["billed_bytes"] == table["billed_bytes"] > 0
    assert "remove deleted rows" in planned["summary"][0]
    page = syncing.smart(primary_key="id", deletes="remove", dry_run="true").printed
    [costs] = re.findall(r"^Costs\n((?:    .*\n)+)", page, re.MULTILINE)
    assert [line.split(":")[0].strip() for line in costs.splitlines()] == [
        "latest timestamp",
        "staged rows",
        "merge",
        "keys of the table",
    ]
    assert re.search(r"Cost in BigQuery: queries over \d+ bytes, less than \$0.01 on demand", page)
