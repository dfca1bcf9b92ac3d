"""Rollouts and schedules in real Airflow, whose jobs run in the local Dataflow and load real rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.io.filesystems import FileSystems

from orchestration.composer.sync_composer.folders import read_manifests
from orchestration.composer.sync_composer.health import RUN_LABEL, run_label
from sandbox import Endpoints
from tests.integration.launching import REGION, ROOT, Launching
from tests.integration.syncing import Syncing

PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
COMPOSER = ROOT / "orchestration" / "composer"
NAME = "orders-sync"
SCHEDULE, ROLLOUT = "sync_schedule_orders", "sync_rollout_orders"
ROLLING = {
    "rollout": "orders",
    "version": "1",
    "launch_file": "orders.yaml",
    "strategy": "rolling",
    "candidate": {"parameters": {"destination_bigquery_table": "candidate"}},
    "validation": {"counters": {"rows_loaded": {"min": 3}, "dead_letters": {"max": 0}}, "reconcile": True},
}

# Real runs, one after the other.
pytestmark = pytest.mark.timeout(600)


@dataclass
class Airflow:
    """A process with Airflow, and the folder of manifests that its DAG file reads."""

    process: subprocess.Popen[str]
    manifests: Path
    log: Path

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a manifest or a launch file."""
        (self.manifests / name).write_text(yaml.safe_dump(content))

    def ask(self, request: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": request, "with": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "Airflow ended"}
        assert "result" in answer, f"{answer['error']}\n{self.log.read_text()[-3000:]}"
        return answer["result"]

    def parse(self) -> dict[str, Any]:
        """Return the DAGs of the folder once it is known that the DAG file has no errors."""
        parsed = dict(self.ask("parse"))
        assert (parsed["errors"], parsed["paused_at_first"]) == ({}, [])
        return parsed

    def run(self, dag_id: str, **arguments: Any) -> dict[str, Any]:
        return dict(self.ask("run", dag_id=dag_id, **arguments))

    def succeed(self, dag_id: str, **arguments: Any) -> dict[str, Any]:
        run = self.run(dag_id, **arguments)
        assert run["state"] == "success", run
        return dict(run["tasks"])

    def fail(self, dag_id: str, **arguments: Any) -> str:
        """Run a DAG that has to fail, and return the errors of its tasks."""
        run = self.run(dag_id, **arguments)
        assert run["state"] == "failed", run
        return "\n".join(run["errors"])


@pytest.fixture(scope="module")
def process(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow with what is uploaded to Composer, and an empty folder of manifests."""
    assert PYTHON.exists(), "Airflow is not installed: run make .venv-airflow/.installed"
    folder = tmp_path_factory.mktemp("composer")
    for name in ("airflow", "manifests"):
        (folder / name).mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(COMPOSER / "sync_composer", folder / "dags" / "sync_composer", ignore=ignored)
    shutil.copy(COMPOSER / "sync_to_bigquery_dags.py", folder / "dags")
    environment = {
        **os.environ,
        **endpoints.environment(),
        "SYNC_MANIFESTS": str(folder / "manifests"),
        "SYNC_POLL_SECONDS": "1",
    }
    log = folder / "airflow.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("airflow_process.py")), str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield Airflow(process, folder / "manifests", log)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def airflow(process: Airflow) -> Airflow:
    """Airflow with no manifests."""
    for file in process.manifests.iterdir():
        file.unlink()
    return process


@pytest.fixture
def items(syncing: Syncing) -> Syncing:
    """A table with three rows, one of each day, and a view of it that takes minutes to read."""
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, note text, updated_at timestamptz NOT NULL)")
    syncing.execute(
        "INSERT INTO items SELECT n, 'old', timestamptz '2026-11-01 12:00Z' + n * interval '1 day' "
        "FROM generate_series(1, 3) n"
    )
    syncing.execute("CREATE VIEW gate AS SELECT items.* FROM items, LATERAL (SELECT pg_sleep(300)) s")
    return syncing


def _launch_file(syncing: Syncing, launching: Launching, **parameters: Any) -> dict[str, Any]:
    secret = f"projects/{syncing.endpoints.project}/secrets/postgresql-password/versions/latest"
    smart = {"enable_smart_sync": True, "smart_sync_settle_seconds": 0, "primary_key": ["id"]}
    return {
        "job_name": NAME,
        "project": syncing.endpoints.project,
        "region": REGION,
        "template": launching.template,
        "environment": {"tempLocation": syncing.folder},
        "parameters": {**syncing.parameters(postgresql_password=secret), **smart, **parameters},
    }


def _start_waiting_job(syncing: Syncing, launching: Launching, labels: dict[str, str] | None = None) -> str:
    """Launch a job that reads for minutes, and return its id."""
    parameters = syncing.parameters(postgresql_query="SELECT * FROM gate", destination_bigquery_table="waiting")
    answer = launching.launch(NAME, parameters, tempLocation=syncing.folder, additionalUserLabels=labels or {})
    launching.wait(NAME, "RUNNING")
    return str(answer.body["job"]["id"])


def _state(launching: Launching, job_id: str) -> str:
    return str(launching.call("GET", f"jobs/{job_id}").body["currentState"])


def test_manifests(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    """One test, as Airflow takes seconds to start: the life of a sync. Each part finds what the one before has left."""
    _fail_with_mistakes(airflow)
    airflow.write("orders.yaml", _launch_file(items, launching))
    airflow.write("orders.schedule.yaml", {"schedule": "orders", "rollout": "orders", "cron": "0 0 * * *"})
    _roll_out_beside_an_old_job(airflow, items, launching)
    _run_slots(airflow, items, launching)
    _cancel_a_job(airflow, items, launching)
    _fail_to_roll_out_then_restart(airflow, items, launching)
    _unschedule(airflow)


def _fail_with_mistakes(airflow: Airflow) -> None:
    """A manifest with a mistake has a DAG that tells it, and does not keep others from having theirs."""
    taxes = {"schedule": "taxes", "rollout": "taxes", "cron": "0 0 * *"}
    airflow.write("taxes.schedule.yaml", taxes)
    assert airflow.parse()["dags"] == {
        "sync_manifests": ["sync-to-bigquery"],
        "sync_schedule_taxes": ["invalid", "sync-to-bigquery"],
    }
    told = (
        "taxes.schedule.yaml: cron is '0 0 * *': give five fields, minute hour day month weekday, such as "
        '"0 */2 * * *"'
    )
    assert airflow.fail("sync_schedule_taxes") == told
    assert airflow.fail("sync_manifests") == told
    (airflow.manifests / "taxes.schedule.yaml").unlink()


def _roll_out_beside_an_old_job(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    """rolling: the new job is validated in a table of its own; then the old one is stopped and the version released."""
    airflow.write("orders.rollout.yaml", ROLLING)
    airflow.parse()
    old_job = _start_waiting_job(items, launching)
    assert "rollout orders has not released a version yet: run the DAG sync_rollout_orders" in airflow.fail(SCHEDULE)
    # A new version is rolled out by itself, and once.
    assert airflow.succeed("sync_manifests") == {"check_manifests": "success", "start_orders": "success"}
    assert airflow.succeed("sync_manifests")["start_orders"] == "skipped"
    tasks = airflow.succeed(ROLLOUT, run_id="version__1")
    assert set(tasks.values()) == {"success"}, tasks
    assert "check_reconciliation" in tasks
    (new,), (old,) = launching.jobs(f"{NAME}-1"), launching.jobs(NAME)
    assert (old["id"], old["currentState"]) == (old_job, "JOB_STATE_CANCELLED")
    assert new["currentStateTime"] < old["currentStateTime"]
    assert items.tables() == ["candidate"]


def _run_slots(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    """The schedule launches what was released: not the candidate's table. A backfill loads its slot again."""
    slot = ["2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00"]
    tasks = airflow.succeed(SCHEDULE, run_type="scheduled", slot=slot)
    assert tasks == dict.fromkeys(["prepare", "launch", "wait", "check"], "success")
    assert items.query("SELECT id, note FROM items ORDER BY id") == [(1, "old"), (2, "old"), (3, "old")]

    items.execute("UPDATE items SET note = 'corrected'")
    airflow.succeed(SCHEDULE, run_type="backfill", slot=["2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00"])
    assert items.query("SELECT id, note FROM items ORDER BY id") == [(1, "corrected"), (2, "old"), (3, "old")]
    # A job of its own name may run beside the schedule's.
    options = launching.job(f"{NAME}-20261102t000000")["environment"]["sdkPipelineOptions"]["options"]
    assert (options["interval_start"], options["interval_end"]) == ("2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z")


def _cancel_a_job(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    """The answer to an earlier attempt was lost: its job is waited for, not launched again. Somebody cancels it."""
    count = len(launching.jobs(NAME))
    label = {RUN_LABEL: run_label(SCHEDULE, "manual__lost", "sync")}
    job_id = _start_waiting_job(items, launching, label)
    assert airflow.run(SCHEDULE, run_id="manual__lost", until="launch")["state"] == "running"
    launching.call("PUT", f"jobs/{job_id}", {"requestedState": "JOB_STATE_CANCELLED"})
    cancelled = airflow.run(SCHEDULE, run_id="manual__lost")
    assert cancelled["tasks"] == {"prepare": "success", "launch": "success", "wait": "success", "check": "failed"}
    assert cancelled["errors"] == [f"job {NAME} ({job_id}) ended in JOB_STATE_CANCELLED"]
    assert len(launching.jobs(NAME)) == count + 1


def _fail_to_roll_out_then_restart(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    """A new job that is not healthy leaves the old one running; restart ends the old one before the new one starts."""
    overrides = {"parameters": {"postgresql_query": "SELECT * FROM nowhere"}}
    airflow.write("orders.rollout.yaml", {**ROLLING, "version": "2", "overrides": overrides})
    airflow.parse()
    old_job = _start_waiting_job(items, launching)
    assert 'relation "nowhere" does not exist' in airflow.fail(ROLLOUT, run_id="version__2")
    assert _state(launching, old_job) == "JOB_STATE_RUNNING"

    restart = {"rollout": "orders", "version": "3", "launch_file": "orders.yaml", "strategy": "restart"}
    airflow.write("orders.rollout.yaml", restart)
    airflow.parse()
    # The run of a version that the manifest no longer has does nothing.
    assert set(airflow.succeed(ROLLOUT, run_id="version__2b").values()) == {"skipped"}
    airflow.succeed(ROLLOUT, run_id="version__3")
    new, old, *_ = launching.jobs(NAME)
    assert (old["id"], old["currentState"]) == (old_job, "JOB_STATE_CANCELLED")
    assert old["currentStateTime"] <= new["createTime"]


def _unschedule(airflow: Airflow) -> None:
    """Without its manifest, a DAG is gone."""
    (airflow.manifests / "orders.schedule.yaml").unlink()
    bills = {"schedule": "bills", "launch_file": "orders.yaml", "cron": "0 0 * * *"}
    airflow.write("bills.schedule.yaml", bills)
    assert airflow.parse()["active"] == ["sync_manifests", ROLLOUT, "sync_schedule_bills"]
    # Only Smart Sync has intervals.
    airflow.write("orders.yaml", {**yaml.safe_load((airflow.manifests / "orders.yaml").read_text()), "parameters": {}})
    airflow.parse()
    assert airflow.fail(
        "sync_schedule_bills", run_type="backfill", slot=["2026-11-02T00:00Z", "2026-11-03T00:00Z"]
    ) == (
        f"the launch of {NAME} has no enable_smart_sync: true, so a run cannot load one slot; start a run without a "
        "slot, which loads what the query reads"
    )


def test_manifests_of_a_bucket(endpoints: Endpoints) -> None:
    place = f"gs://{endpoints.bucket}/manifests-{uuid.uuid4().hex[:8]}"
    with pytest.raises(FileNotFoundError, match="has no manifests and no launch files: give the folder"):
        read_manifests(place)
    examples = ROOT / "examples" / "composer"
    for path in examples.rglob("*.yaml"):
        with FileSystems.create(f"{place}/{path.relative_to(examples)}") as file:
            file.write(path.read_bytes())
    assert read_manifests(place) == read_manifests(str(examples))
