"""What a program does that imports jobs: it finds a job, takes its template and parameters, and launches it again.

It sends all values as texts, with an empty environment, then asks for the state and reads the outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.launching import Launching
from tests.integration.syncing import Syncing

ROOT = Path(__file__).parents[2]
SECRET = "projects/sandbox-project/secrets/postgresql-password/versions/latest"


def imported(launching: Launching, job_id: str) -> dict[str, Any]:
    """The request that launches a job again, of what the job shows and what its template says."""
    job = launching.call("GET", f"jobs/{job_id}?view=JOB_VIEW_ALL").body
    options = job["environment"]["sdkPipelineOptions"]["options"]
    metadata = json.loads((ROOT / "metadata.json").read_text())["parameters"]
    inputs = [each["name"] for each in metadata if each["customMetadata"]["direction"] == "input"]
    return {
        "launchParameter": {
            "jobName": f"{job['name']}-1",
            "containerSpecGcsPath": options["output_template"],
            "parameters": {name: str(options[name]) for name in inputs if name in options},
            "environment": {},
        }
    }


def outputs(job: dict[str, Any]) -> dict[str, Any]:
    options = job["environment"]["sdkPipelineOptions"]["options"]
    return {name: value for name, value in options.items() if name.startswith("output_")}


@pytest.fixture
def parameters(syncing: Syncing) -> dict[str, str]:
    """Parameters of a merge with Smart Sync, whose password is in Secret Manager."""
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
    syncing.execute("INSERT INTO items VALUES (1), (2)")
    return syncing.parameters(
        postgresql_password=SECRET,
        postgresql_query="SELECT id, updated_at FROM items",
        enable_smart_sync="true",
        smart_sync_settle_seconds="0",
        primary_key="id",
    )


def test_job_is_found_and_launched_again(syncing: Syncing, launching: Launching, parameters: dict[str, str]) -> None:
    table = f"{syncing.endpoints.project}.{syncing.dataset}.{parameters['destination_bigquery_table']}"
    answer = launching.launch("import", parameters, tempLocation=syncing.folder)
    first_id = answer.body["job"]["id"]
    launching.wait("import", "DONE")
    first = launching.job("import")
    assert first["labels"]["goog-dataflow-provided-template-type"] == "flex"
    assert first["environment"]["userAgent"]["name"].startswith("Apache Beam Python")

    request = imported(launching, first_id)
    sent = request["launchParameter"]["parameters"]
    assert request["launchParameter"]["containerSpecGcsPath"] == launching.template
    # With the values that were given and the defaults of the others; Beam's own options are not among them.
    assert sent.items() >= parameters.items()
    assert (sent["batch_size"], "mongodb_host" in sent, sent["dry_run"]) == ("1000", False, "false")

    syncing.execute("INSERT INTO items VALUES (3)")
    assert launching.call("POST", "flexTemplates:launch", request).status == 200
    launching.wait("import-1", "DONE")
    again = launching.job("import-1")
    assert syncing.column(f"SELECT id FROM `{table}` ORDER BY id") == [1, 2, 3]
    assert {name: again["environment"]["sdkPipelineOptions"]["options"][name] for name in sent} == sent

    told, told_again = outputs(first), outputs(again)
    assert (told["output_table"], told["output_tables"]) == (table, "1")
    # The second run goes on from the latest row that the first has loaded.
    assert told["output_interval_start"] < told_again["output_interval_start"] <= told["output_interval_end"]
    for name in ("output_run_id", "output_interval_end"):
        assert any(told[name] in message for message in launching.messages("import"))
    assert told["output_run_id"] != told_again["output_run_id"]


def test_job_that_is_cancelled_ends_as_cancelled(
    syncing: Syncing, launching: Launching, parameters: dict[str, str]
) -> None:
    syncing.execute("CREATE VIEW gate AS SELECT 1 AS id FROM (SELECT pg_advisory_xact_lock_shared(8)) l")
    syncing.execute("SELECT pg_advisory_lock(8)")
    held = syncing.parameters(postgresql_password=SECRET, postgresql_query="SELECT id FROM gate")
    job_id = launching.launch("import-held", held, tempLocation=syncing.folder).body["job"]["id"]
    launching.wait("import-held", "RUNNING")
    # The importer sends the parameters of a job that has not ended as well, and outputs that it does not know.
    request = imported(launching, job_id)
    assert request["launchParameter"]["parameters"].items() >= held.items()
    launching.call("PUT", f"jobs/{job_id}", {"requestedState": "JOB_STATE_CANCELLED"})
    assert launching.wait("import-held", "CANCELLED")["id"] == job_id
    assert syncing.tables() == []


def test_job_that_fails_ends_as_failed(syncing: Syncing, launching: Launching, parameters: dict[str, str]) -> None:
    # All values are texts, and outputs are sent back: neither is a reason to fail.
    wrong = parameters | {"postgresql_query": "SELECT id, updated_at FROM nowhere", "output_run_id": "of another run"}
    launching.launch("import-wrong", wrong, tempLocation=syncing.folder)
    launching.wait("import-wrong", "FAILED")
    assert any('relation "nowhere" does not exist' in message for message in launching.messages("import-wrong"))
    assert any("--output_run_id is an output" in message for message in launching.messages("import-wrong"))
