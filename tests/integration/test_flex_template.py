"""The documents' launches, by the real gcloud where there is one, against the local Dataflow: real rows are loaded."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from sandbox import stack
from sync_pipeline.launching import commands, requests
from sync_pipeline.launching.launch_file import Launch, read_launch
from sync_pipeline.launching.settings import SETTINGS
from tests.http_servers import refusing
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.launching import HAS_GCLOUD, REGION, ROOT, Launching
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing
from tests.test_docs import page


@dataclass(frozen=True)
class Example:
    """A launch of the documents.

    Attributes:
        source: the fixture that has the source, and with it runs from there.
        fill: makes what the source has.
        replaced: what stands in the documents for servers and secrets, and what it is here.
        query: what to ask BigQuery afterwards, and `rows` what it then answers.
        change: something happens at the source; a second launch makes `rows_then` of it.
        check: looks at the table.
    """

    file: str
    source: str
    fill: Callable[[Any], None]
    replaced: Callable[[Any], dict[str, str]]
    query: str
    rows: list[tuple[Any, ...]]
    change: Callable[[Any], None] | None = None
    rows_then: list[tuple[Any, ...]] | None = None
    check: Callable[[Any], None] | None = None


def _fill_orders(syncing: Syncing) -> None:
    syncing.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer text, status text, amount numeric(12, 2), secret text, "
        "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now())"
    )
    syncing.execute("INSERT INTO orders VALUES (1, 'Ada, Ltd.', 'new', 1.50), (2, 'it''s me', 'paid', 20)")


def _postgresql(syncing: Syncing) -> dict[str, str]:
    """Return what stands in the documents for servers, and what it is here."""
    endpoints = syncing.endpoints
    return {
        "postgresql_host: 10.0.0.5": f'postgresql_host: {endpoints.postgresql_host}\n  postgresql_port: "'
        f'{endpoints.postgresql_port}"\n  smart_sync_settle_seconds: "0"',
        "postgresql_host=10.0.0.5": f"postgresql_host={endpoints.postgresql_host}~postgresql_port="
        f"{endpoints.postgresql_port}",
        # The servers of the sandbox do not speak TLS.
        "sslmode: require": "sslmode: prefer",
        "sslmode=require": "sslmode=prefer",
        "_username: sync": f"_username: {endpoints.postgresql_username}",
        "_username=sync": f"_username={endpoints.postgresql_username}",
        "_database: shop": f"_database: {syncing.database}",
        "_database=shop": f"_database={syncing.database}",
    }


def _pay(syncing: Syncing) -> None:
    syncing.execute("UPDATE orders SET status = 'paid', updated_at = clock_timestamp() WHERE id = 1")


def _check_layout(syncing: Syncing) -> None:
    table = syncing.table("orders")
    assert table.time_partitioning.field == "created_at"
    assert table.clustering_fields == ["id"]


def _fill_users(syncing: MongodbSyncing) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    users = [{"_id": 1, "status": "active", "name": "Ada"}, {"_id": 2, "status": "gone", "name": "Bob"}]
    syncing.mongodb["users"].insert_many({**user, "updatedAt": at} for user in users)


def _mongodb(syncing: MongodbSyncing) -> dict[str, str]:
    endpoints = syncing.endpoints
    return {
        "mongodb_host: mongodb.example.com": f'mongodb_host: {endpoints.mongodb_host}\n  mongodb_port: "'
        f'{endpoints.mongodb_port}"',
        "mongodb_username: sync": f"mongodb_username: {endpoints.mongodb_username}",
        "mongodb_tls: true": "mongodb_tls: false",
        "mongodb_database: user_data": f"mongodb_database: {syncing.database}",
    }


def _fill_events(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE user_events (event_id INT64, updated_at TIMESTAMP)")
    syncing.at_source("INSERT INTO user_events VALUES (1, '2026-01-01 00:00:00 UTC')")


def _bigquery(syncing: BigquerySyncing) -> dict[str, str]:
    return {"source-data-project": syncing.endpoints.project, "raw_data": syncing.source}


ADA, ME = (1, "Ada, Ltd.", "new", 1.5), (2, "it's me", "paid", 20.0)
EXAMPLES = [
    Example(
        "orders.yaml",
        "syncing",
        _fill_orders,
        _postgresql,
        "SELECT id, customer, status, CAST(amount AS FLOAT64) FROM orders ORDER BY id",
        [ADA, ME],
        _pay,
        [(1, "Ada, Ltd.", "paid", 1.5), ME],
        _check_layout,
    ),
    Example(
        "users.yaml",
        "mongodb_syncing",
        _fill_users,
        _mongodb,
        "SELECT _id, status, name FROM users",
        [(1, "active", "Ada")],
    ),
    Example(
        "events.yaml",
        "bigquery_syncing",
        _fill_events,
        _bigquery,
        "SELECT event_id, CAST(updated_at AS STRING) FROM events",
        [(1, "2026-01-01 00:00:00+00")],
    ),
]


def _here(syncing: Syncing, launching: Launching, text: str, replaced: dict[str, str]) -> str:
    """Put this machine's names in the place of the documents'."""
    names = replaced | {
        "gs://my-templates/sync-to-bigquery.json": launching.template,
        "gs://my-bucket/tmp": syncing.folder,
        "analytics": syncing.dataset,
        "my-project": syncing.endpoints.project,
    }
    for written, meant in names.items():
        text = text.replace(written, meant)
    return text


def _blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page(title), re.DOTALL | re.MULTILINE)


def _prepare(syncing: Syncing, launching: Launching, example: Example) -> tuple[str, str]:
    """Write the example's file, and return the command that the documents give for it and the name of the job."""
    (written,) = (block for block in _blocks("Launch", "yaml") if block.startswith(f"# {example.file}\n"))
    text = _here(syncing, launching, written, example.replaced(syncing))
    (launching.folder / example.file).write_text(text)
    command = f"sync-to-bigquery launch {example.file} --execute"
    assert f"\n{command}" in page("Launch")
    return command, yaml.safe_load(text)["job_name"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file.removesuffix(".yaml"))
def test_a_launch_of_the_documents_loads_rows(
    launching: Launching, example: Example, request: pytest.FixtureRequest
) -> None:
    syncing: Syncing = request.getfixturevalue(example.source)
    example.fill(syncing)
    command, name = _prepare(syncing, launching, example)
    launching.succeed(command)
    job = launching.wait(name, "DONE")
    assert syncing.query(example.query) == example.rows
    shown = launching.call("GET", f"jobs/{job['id']}?view=JOB_VIEW_ALL").body
    options = shown["environment"]["sdkPipelineOptions"]["options"]
    # A launcher that sends it back would append all rows.
    assert "write_disposition" not in options
    assert options["create_disposition"] == "CREATE_IF_NEEDED"
    seen = json.dumps([shown, launching.messages(name)])
    assert syncing.endpoints.postgresql_password not in seen
    assert syncing.endpoints.mongodb_password not in seen
    if example.change:
        example.change(syncing)
        launching.succeed(command)
        launching.wait(name, "DONE")
        assert syncing.query(example.query) == example.rows_then
    if example.check:
        example.check(syncing)
    assert syncing.left_over() == []


def test_the_launch_on_one_line_loads_rows(syncing: Syncing, launching: Launching) -> None:
    _fill_orders(syncing)
    (command,) = (block for block in _blocks("The template", "bash") if '--parameters="' in block)
    launching.succeed(_here(syncing, launching, command, _postgresql(syncing)).replace("orders-sync", "one-line"))
    launching.wait("one-line", "DONE")
    assert syncing.query("SELECT id, status FROM orders ORDER BY id") == [(1, "new"), (2, "paid")]


def test_the_check_of_a_deployment_loads_a_row(bigquery_syncing: BigquerySyncing, launching: Launching) -> None:
    syncing = bigquery_syncing
    (command,) = (block for block in _blocks("Deploy", "bash") if "run test-deployment" in block)
    here = {
        "gs://$TEMPLATES/sync-to-bigquery.json": launching.template,
        "gs://$BUCKET/tmp": syncing.folder,
        "$PROJECT": syncing.endpoints.project,
        "$REGION": REGION,
        "test_dataset": syncing.dataset,
    }
    for written, meant in here.items():
        command = command.replace(written, meant)
    launching.succeed(command)
    launching.wait("test-deployment", "DONE")
    assert syncing.query("SELECT test_column FROM test_table") == [(1,)]


@contextlib.contextmanager
def _paused(syncing: Syncing) -> Iterator[None]:
    """Let BigQuery answer nothing within the block."""
    found = stack.read_state(syncing.endpoints.folder)
    assert found is not None
    (server,) = (process for process in found.processes if process.name == "bigquery")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_schedule_of_the_documents_loads_rows_and_does_not_overlap(syncing: Syncing, launching: Launching) -> None:
    _fill_orders(syncing)
    (written,) = _blocks("Schedule", "yaml")
    (create,) = re.findall(r"^sync-to-bigquery launch \S+ --only=schedule --execute", page("Schedule"), re.MULTILINE)
    (launching.folder / "orders-sync.yaml").write_text(_here(syncing, launching, written, _postgresql(syncing)))
    launching.succeed(create)

    schedule = f"/v1/projects/{syncing.endpoints.project}/locations/{REGION}/jobs/orders-sync"
    with _paused(syncing):
        first = launching.succeed(f"gcloud scheduler jobs run orders-sync --location={REGION}")
        launching.succeed(f"gcloud scheduler jobs run orders-sync --location={REGION}")
        refused = launching.call("GET", schedule).body["status"]
    assert "ALREADY_EXISTS" not in first
    assert refused["code"] == 6
    assert "There is already an active job of this name" in refused["message"]
    launching.wait("orders-sync", "DONE")
    assert syncing.query("SELECT id FROM orders ORDER BY id") == [(1,), (2,)]


MERGE = {"enable_smart_sync": "true", "smart_sync_settle_seconds": "0", "primary_key": "id"}


@pytest.mark.parametrize(
    ("flag", "leaves_nothing"),
    [pytest.param("", True, id="told to end"), pytest.param("--force", False, id="killed")],
)
def test_a_job_that_is_cancelled_changes_nothing(
    syncing: Syncing, launching: Launching, flag: str, leaves_nothing: bool
) -> None:
    """It is cancelled with all its files staged, when BigQuery has been asked for the staging table only."""
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, note text, updated_at timestamptz DEFAULT now())")
    syncing.execute("INSERT INTO items SELECT n, 'old' FROM generate_series(1, 100) n")
    # A gate: whoever reads it waits for the lock.
    syncing.execute("CREATE VIEW gate AS SELECT items.* FROM items, LATERAL (SELECT pg_advisory_xact_lock_shared(7)) l")
    parameters = {**MERGE, "postgresql_query": "SELECT * FROM gate"}
    syncing.run(**parameters).succeeded()
    syncing.execute("UPDATE items SET note = 'new', updated_at = clock_timestamp()")
    syncing.execute("SELECT pg_advisory_lock(7)")
    name = f"cancelled-{'killed' if flag else 'told'}"
    launched = launching.launch(name, syncing.parameters(**parameters), tempLocation=syncing.folder)
    assert launched.status == 200
    launching.wait(name, "RUNNING")
    with _paused(syncing):
        syncing.execute("SELECT pg_advisory_unlock(7)")
        deadline = time.monotonic() + 30
        while not syncing.objects():
            assert time.monotonic() < deadline, launching.messages(name)
            time.sleep(0.02)
        launching.succeed(f"gcloud dataflow jobs cancel {launched.body['job']['id']} --region={REGION} {flag}")
    launching.wait(name, "CANCELLED")
    assert syncing.query("SELECT note, COUNT(*) FROM items GROUP BY 1") == [("old", 100)]
    assert (syncing.left_over() == []) is leaves_nothing
    # The next run loads what the cancelled one would have, and removes what that has left.
    syncing.run(**parameters).succeeded()
    assert syncing.query("SELECT note, COUNT(*) FROM items GROUP BY 1") == [("new", 100)]
    assert syncing.left_over() == []


def test_a_job_that_is_cancelled_before_it_reads(syncing: Syncing, launching: Launching) -> None:
    syncing.execute("CREATE TABLE items (id int)")
    with _paused(syncing):
        launched = launching.launch("early", syncing.parameters(), tempLocation=syncing.folder)
        launching.succeed(f"gcloud dataflow jobs cancel {launched.body['job']['id']} --region={REGION}")
        launching.wait("early", "CANCELLED")
    assert (syncing.tables(), syncing.left_over()) == ([], [])


def test_a_job_that_fails_says_why(syncing: Syncing, launching: Launching) -> None:
    launching.launch(
        "failing", syncing.parameters(postgresql_query="SELECT 1 FROM nowhere"), tempLocation=syncing.folder
    )
    launching.wait("failing", "FAILED")
    errors = launching.call(
        "GET", f"jobs/{launching.jobs('failing')[0]['id']}/messages?minimumImportance=JOB_MESSAGE_ERROR"
    )
    told = [message["messageText"] for message in errors.body["jobMessages"]]
    assert any('relation "nowhere" does not exist' in text for text in told)
    assert told[-1] == "Error occurred in the launcher container: exit code 2."


ALL_SETTINGS = {
    "tempLocation": "gs://my-bucket/tmp",
    "stagingLocation": "gs://my-bucket/staging",
    "serviceAccountEmail": "sync@my-project.iam.gserviceaccount.com",
    "network": "my-network",
    "subnetwork": "regions/us-central1/subnetworks/my-subnet",
    "ipConfiguration": "WORKER_IP_PRIVATE",
    "numWorkers": 1,
    "maxWorkers": 3,
    "machineType": "e2-standard-2",
    "launcherMachineType": "e2-standard-4",
    "workerZone": "us-central1-a",
    "kmsKeyName": "projects/p/locations/us/keyRings/r/cryptoKeys/k",
    "flexrsGoal": "FLEXRS_COST_OPTIMIZED",
    "additionalUserLabels": {"team": "data", "stage": "test"},
    "additionalExperiments": ["a", "b=c"],
    "additionalPipelineOptions": ["x=1", "y=2"],
    "enableStreamingEngine": True,
}


@pytest.fixture(scope="module")
def launches() -> list[Launch]:
    """Launches with every setting, and with values that shells and gcloud have words of their own for."""
    examples = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "examples").glob("*.yaml"))}
    everywhere = examples.pop("business-hours") | {"environment": ALL_SETTINGS}
    by_region = examples.pop("daily-reports") | {
        "environment": {"tempLocation": "gs://b/t", "workerRegion": "us-east1"}
    }
    by_region["parameters"] |= {"source_bigquery_query": "SELECT 'it''s', \"~^~\", `a`, $b, '\\n', ','\nFROM t -- END"}
    told = [read_launch(yaml.safe_dump(launch)) for launch in (everywhere, by_region, *examples.values())]
    assert {name for launch in told for name in launch.environment} == {
        setting.name for setting in SETTINGS if setting.flag is not None
    }
    return told


@pytest.mark.parametrize("stand_in", [pytest.param(False, id="gcloud"), pytest.param(True, id="stand-in")])
def test_commands_send_what_the_requests_are(launching: Launching, launches: list[Launch], stand_in: bool) -> None:
    if not (stand_in or HAS_GCLOUD):
        pytest.skip("gcloud is not installed here")
    # gcloud takes a second for a command. The first two launches have all that the others with a schedule have.
    chosen = launches if stand_in else [*launches[:2], *(launch for launch in launches if launch.schedule is None)]
    script, expected = "", []
    for launch in chosen:
        schedule = launch.schedule
        told = [commands.run_command(launch)]
        if schedule is not None:
            told.append(commands.schedule_command(launch, schedule))
        for command in told:
            # The server refuses whatever it is asked; the script goes on.
            script += f"if\n{command}then exit 1; fi\n"
        request = requests.launch_request(launch)
        # gcloud always sends it.
        request["launchParameter"]["environment"].setdefault("enableStreamingEngine", False)
        region = f"projects/{launch.project}/locations/{launch.region}"
        expected.append(("POST", f"/v1b3/{region}/flexTemplates:launch", request))
        if schedule is not None:
            expected.append(("POST", f"/v1/{region}/jobs", requests.scheduler_job(launch, schedule)))
    script += "if gcloud dataflow jobs cancel 1 --region=us-central1 --force; then :; fi\n"
    cancel = {"requestedState": "JOB_STATE_CANCELLED", "labels": {"force_cancel_job": "true"}}
    expected.append(("PUT", f"/v1b3/projects/{launching.endpoints.project}/locations/us-central1/jobs/1", cancel))
    with refusing() as (url, sent):
        exports = f"export CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW={url}/\n"
        exports += f"export CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDSCHEDULER={url}/\n"
        ended = launching.shell(exports + script, stand_in=stand_in)
    assert ended.returncode == 0, ended.stderr
    assert _decoded(sent) == _decoded(expected)


def _decoded(sent: list[Any]) -> list[Any]:
    """Read the bodies of schedules: gcloud writes URL-safe base64, which Google reads as well."""
    for _, _, body in sent:
        if "httpTarget" in body:
            encoded = body["httpTarget"]["body"]
            body["httpTarget"]["body"] = json.loads(base64.b64decode(encoded.translate(str.maketrans("-_", "+/"))))
    return sent
