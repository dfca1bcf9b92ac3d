"""Rollouts and schedules in real Airflow, whose jobs run in the local Dataflow and load real rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.composer.sync_composer.health import RUN_LABEL, run_label
from sandbox import Endpoints
from tests.integration.launching import REGION, ROOT, Launching
from tests.integration.syncing import Syncing

PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
COMPOSER = ROOT / "orchestration" / "composer"
NAME = "orders-sync"
# Real runs, one after the other.
pytestmark = pytest.mark.timeout(400)
SLOT = ["2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00"]


@dataclass
class Airflow:
    """A process with Airflow, and the folder of manifests that its DAG file reads."""

    process: subprocess.Popen[str]
    manifests: Path
    log: Path

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a manifest or a launch file."""
        (self.manifests / name).write_text(yaml.safe_dump(content))

    def send(self, request: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": request, "with": arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "Airflow ended"}
        assert "result" in answer, f"{answer['error']}\n{self.log.read_text()[-3000:]}"
        return answer["result"]

    def ask(self, request: str, **arguments: Any) -> Any:
        self.send(request, **arguments)
        return self.answer()

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


def test_a_schedule(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    dag_id = "sync_schedule_orders"
    airflow.write("orders.yaml", _launch_file(items, launching))
    schedule = {
        "schedule": "orders",
        "launch_file": "orders.yaml",
        "cron": "0 0 * * *",
        "validation": {"counters": {"rows_loaded": {"min": 1}}},
    }
    airflow.write("orders.schedule.yaml", schedule)
    parsed = airflow.parse()
    assert sorted(parsed["dags"]) == ["sync_manifests", dag_id]

    # A slot of the schedule goes on where the last one ended.
    tasks = airflow.succeed(dag_id, run_type="scheduled", slot=SLOT)
    assert tasks == dict.fromkeys(["prepare", "launch", "wait", "check"], "success")
    assert items.query("SELECT id, note FROM items ORDER BY id") == [(1, "old"), (2, "old"), (3, "old")]

    # A backfill loads its slot again, under a name of its own: Dataflow takes no second active job of one name.
    items.execute("UPDATE items SET note = 'corrected'")
    slot = ["2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00"]
    airflow.succeed(dag_id, run_type="backfill", slot=slot)
    assert items.query("SELECT id, note FROM items ORDER BY id") == [(1, "corrected"), (2, "old"), (3, "old")]
    options = launching.job(f"{NAME}-20261102t000000")["environment"]["sdkPipelineOptions"]["options"]
    assert (options["interval_start"], options["interval_end"]) == ("2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z")

    # The answer to an earlier attempt was lost: its job is waited for. Somebody cancels it.
    label = {RUN_LABEL: run_label(dag_id, "manual__lost", "sync")}
    job_id = _start_waiting_job(items, launching, label)
    airflow.send("run", dag_id=dag_id, run_id="manual__lost")
    time.sleep(2)
    launching.call("PUT", f"jobs/{job_id}", {"requestedState": "JOB_STATE_CANCELLED"})
    cancelled = airflow.answer()
    assert cancelled["tasks"] == {"prepare": "success", "launch": "success", "wait": "success", "check": "failed"}
    assert cancelled["errors"] == [f"job {NAME} ({job_id}) ended in JOB_STATE_CANCELLED"]
    assert len(launching.jobs(NAME)) == 2

    # A slot needs an interval.
    airflow.write("orders.yaml", _launch_file(items, launching, enable_smart_sync=False))
    airflow.parse()
    assert airflow.fail(dag_id, run_type="backfill", slot=slot[::-1]) == (
        f"the launch of {NAME} has no enable_smart_sync: true, so a run cannot load one slot; start a run without a "
        "slot, which loads what the query reads"
    )

    # A mistake takes the DAG's place, and others keep theirs. Without its manifest a DAG is gone.
    airflow.write("bills.schedule.yaml", {**schedule, "schedule": "bills", "cron": "0 0 * *"})
    airflow.write("taxes.schedule.yaml", {**schedule, "schedule": "taxes", "validation": {"reconcile": True}})
    assert airflow.parse()["dags"]["sync_schedule_bills"] == ["invalid", "sync-to-bigquery"]
    told = (
        "bills.schedule.yaml: cron is '0 0 * *': give five fields, minute hour day month weekday, such as "
        '"0 */2 * * *"'
    )
    assert airflow.fail("sync_schedule_bills") == told
    assert airflow.fail("sync_manifests") == told
    (airflow.manifests / "orders.schedule.yaml").unlink()
    (airflow.manifests / "bills.schedule.yaml").unlink()
    assert airflow.parse()["active"] == ["sync_manifests", "sync_schedule_taxes"]


def test_rollouts(airflow: Airflow, items: Syncing, launching: Launching) -> None:
    dag_id, schedule_id = "sync_rollout_orders", "sync_schedule_orders"
    airflow.write("orders.yaml", _launch_file(items, launching))
    rollout = {
        "rollout": "orders",
        "version": "1",
        "launch_file": "orders.yaml",
        "strategy": "rolling",
        "candidate": {"parameters": {"destination_bigquery_table": "candidate"}},
        "overrides": {"parameters": {"postgresql_query": "SELECT * FROM nowhere"}},
    }
    airflow.write("orders.rollout.yaml", rollout)
    airflow.write("orders.schedule.yaml", {"schedule": "orders", "rollout": "orders", "cron": "0 0 * * *"})
    airflow.parse()
    old_job = _start_waiting_job(items, launching)

    # rolling: a new job that is not healthy leaves the old one running, and releases nothing.
    assert 'relation "nowhere" does not exist' in airflow.fail(dag_id)
    assert _state(launching, old_job) == "JOB_STATE_RUNNING"
    assert "rollout orders has not released a version yet: run the DAG sync_rollout_orders" in airflow.fail(schedule_id)

    # A new version is rolled out by itself, and once. When it is healthy, the old job is stopped.
    airflow.write("orders.rollout.yaml", {**rollout, "version": "2", "overrides": {}})
    airflow.parse()
    assert airflow.succeed("sync_manifests") == {"check_manifests": "success", "start_orders": "success"}
    assert airflow.succeed("sync_manifests")["start_orders"] == "skipped"
    tasks = airflow.succeed(dag_id, run_id="version__2")
    assert set(tasks.values()) == {"success"}, tasks
    assert _state(launching, old_job) == "JOB_STATE_CANCELLED"
    assert items.tables() == ["candidate"]

    # The schedule launches what was released: the launch file's table, not the candidate's.
    airflow.succeed(schedule_id, run_type="scheduled", slot=[SLOT[1], "2026-11-22T00:00:00+00:00"])
    assert items.query("SELECT COUNT(*) FROM items") == [(3,)]

    # restart: the old job has ended before the new one starts.
    old_job = _start_waiting_job(items, launching)
    restart = {"rollout": "orders", "version": "3", "launch_file": "orders.yaml", "strategy": "restart"}
    airflow.write("orders.rollout.yaml", restart)
    airflow.parse()
    airflow.succeed(dag_id, run_id="version__3")
    new, old, *_ = launching.jobs(NAME)
    assert (old["id"], old["currentState"]) == (old_job, "JOB_STATE_CANCELLED")
    assert old["currentStateTime"] <= new["createTime"]

    # No job runs, which is how most rollouts find it.
    airflow.write("orders.rollout.yaml", {**rollout, "version": "4", "overrides": {}})
    airflow.parse()
    tasks = airflow.succeed(dag_id, run_id="version__4")
    assert [name for name, state in tasks.items() if state != "success"] == ["wait_for_old_jobs"]
    # The run of a version that the manifest no longer has does nothing.
    assert set(airflow.succeed(dag_id, run_id="version__2b").values()) == {"skipped"}
