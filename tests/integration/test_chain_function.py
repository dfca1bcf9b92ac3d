"""The Cloud Function of the chains in functions-framework: CloudEvents over HTTP, and the local Dataflow."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestration.chain.__main__ import main
from orchestration.chain.flow.events import CHECK, MESSAGE_PUBLISHED, START, STATE_CHANGED
from orchestration.chain.reading import read_chain
from sandbox import Endpoints
from tests.http_servers import answering
from tests.integration.launching import REGION, ROOT, Launching

FUNCTION = ROOT / ".venv-function/bin/functions-framework"


@dataclass
class Forwarder:
    """Stands between function and Dataflow.

    Attributes:
        hides: how often a request for a job is answered as if Dataflow did not know it.
    """

    target: str
    hides: int = 0
    url: str = ""
    launches: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def forwarder(endpoints: Endpoints) -> Iterator[Forwarder]:
    made = Forwarder(endpoints.dataflow_host)

    def forward(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if made.hides and method == "GET" and "/jobs/" in path:
            made.hides -= 1
            return 404, b'{"error": {"code": 404, "message": "could not be found in our system"}}'
        if method == "POST":
            made.launches.append(json.loads(body)["launchParameter"]["jobName"])
        request = urllib.request.Request(made.target + path, body or None, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    with answering(forward) as made.url:
        yield made


@dataclass(frozen=True)
class Function:
    """The function's process; `send` returns the HTTP status of its answer."""

    url: str
    log: Path

    def send(self, kind: str, data: Any, *, structured: bool = False, **headers: str) -> int:
        attributes = {"specversion": "1.0", "id": str(time.monotonic_ns()), "source": "//tests", "type": kind}
        if structured:
            body, headers = {**attributes, "data": data}, {**headers, "Content-Type": "application/cloudevents+json"}
        else:
            body = data
            headers |= {f"ce-{name}": value for name, value in attributes.items()}
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@pytest.fixture(scope="module")
def function(
    endpoints: Endpoints, template: str, forwarder: Forwarder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("chains")
    for name in ("whole", "broken"):
        path = chain_file(folder, name, endpoints, template)
        (folder / f"{name}.json").write_text(read_chain(path).to_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "CHAINS": str(folder),
        "DATAFLOW_EMULATOR_HOST": forwarder.url,
        "PATIENCE_SECONDS": "3",
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("PYTHONPATH", None)
    words = [FUNCTION, "--source=main.py", "--target=on_event", "--host=127.0.0.1", f"--port={port}"]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            words, cwd=ROOT / "orchestration/chain", env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield Function(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(timeout=30)


def chain_file(folder: Path, name: str, endpoints: Endpoints, template: str) -> Path:
    """A chain whose steps append one row each, from BigQuery alone; of the one named `broken`, the first step fails."""

    def step(table: str, query: str, **rest: Any) -> dict[str, Any]:
        parameters = {
            "data_source": "bigquery",
            "source_bigquery_project": endpoints.project,
            "source_bigquery_query": query,
            "destination_bigquery_project": endpoints.project,
            "destination_bigquery_dataset": endpoints.dataset,
            "destination_bigquery_table": f"{name}_{table}",
            "write_disposition": "WRITE_APPEND",
        }
        return {"template": template, "parameters": parameters, **rest}

    row = "SELECT '${date}' AS date, '${run}' AS run"
    # The launcher refuses it.
    wrong = "DELETE FROM x"
    steps = {
        "extract": step("extract", wrong if name == "broken" else row, next=["left", "right"], on_failure="alert"),
        "left": step("left", row, next="join"),
        "right": step("right", row, next="join"),
        # What the step before has shown on its job.
        "join": step("join", "SELECT run FROM `${steps.left.output_table}`"),
        "alert": step("alert", wrong),
    }
    path = folder / f"{name}.yaml"
    path.write_text(
        json.dumps({"name": name, "project": endpoints.project, "region": REGION, "time_zone": "UTC", "steps": steps})
    )
    return path


def ended(launching: Launching, job_name: str, state: str = "DONE") -> dict[str, Any]:
    """Wait until a job has ended, and return Dataflow's event of it."""
    launching.wait(job_name, state)
    (job,) = launching.jobs(job_name)
    return {"payload": job, "@type": "type.googleapis.com/google.events.cloud.dataflow.v1beta3.JobEventData"}


def stopped(launching: Launching, job_name: str, state: str = "DONE") -> dict[str, Any]:
    """Wait until a job has ended, and return the message of a log sink for it."""
    launching.wait(job_name, state)
    (job,) = launching.jobs(job_name)
    labels = {"job_id": job["id"], "job_name": job_name, "project_id": job["projectId"], "region": REGION}
    entry = {"textPayload": "Worker pool stopped.", "resource": {"type": "dataflow_step", "labels": labels}}
    return {"message": {"data": base64.b64encode(json.dumps(entry).encode()).decode(), "messageId": "1"}}


def steps(launching: Launching, chain: str, run: str) -> list[str]:
    """The steps of a run that have a job, in the order in which they started."""
    found = launching.call("GET", "jobs").body["jobs"]
    names = [job["name"].split("--") for job in sorted(found, key=lambda job: job["createTime"])]
    return [name[1] for name in names if name[::2] == [chain, run]]


@pytest.mark.timeout(240)
def test_chain_runs_to_its_end(function: Function, launching: Launching, forwarder: Forwarder) -> None:
    first, second = "20250722t220000", "20250722t220100"
    # Two runs of it, one for the time of a schedule.
    schedule = {"X-CloudScheduler-ScheduleTime": "2025-07-22T22:00:00Z"}
    assert function.send(START, {"chain": "whole"}, **schedule) == 200
    assert function.send(START, {"chain": "whole"}, **schedule) == 200
    assert steps(launching, "whole", first) == ["extract"]
    extracted = ended(launching, f"whole--extract--{first}")
    # The event comes four times at once, while Dataflow does not know the job yet; and again, in both forms.
    forwarder.hides = 2
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: function.send(STATE_CHANGED, extracted), range(4))) == {200}
    assert forwarder.hides == 0
    assert function.send(STATE_CHANGED, extracted, structured=True) == 200
    assert function.send(MESSAGE_PUBLISHED, stopped(launching, f"whole--extract--{first}")) == 200
    assert function.send(START, {"chain": "whole", "run": second}) == 200
    assert steps(launching, "whole", first) == ["extract", "left", "right"]
    assert steps(launching, "whole", second) == ["extract"]
    right = stopped(launching, f"whole--right--{first}")
    left = ended(launching, f"whole--left--{first}")
    second_extracted = ended(launching, f"whole--extract--{second}")
    # The second of the two to end comes first, and so does an old event.
    for event in (left, extracted, left):
        assert function.send(STATE_CHANGED, event) == 200
    assert function.send(MESSAGE_PUBLISHED, right) == 200
    assert steps(launching, "whole", first) == ["extract", "left", "right", "join"]
    joined = ended(launching, f"whole--join--{first}")
    assert function.send(STATE_CHANGED, joined) == 200
    (job,) = launching.jobs(f"whole--join--{first}")
    assert job["labels"].items() >= {"chain": "whole", "chain_step": "join", "chain_run": first}.items()
    shown = launching.call("GET", f"jobs/{job['id']}?view=JOB_VIEW_ALL").body["environment"]["sdkPipelineOptions"]
    table = f"{launching.endpoints.project}.{launching.endpoints.dataset}.whole_left"
    assert shown["options"]["source_bigquery_query"] == f"SELECT run FROM `{table}`"
    # The event of the other run was lost: the timer finds its steps. Then it comes after all, several times at once.
    assert steps(launching, "whole", second) == ["extract"]
    assert function.send(CHECK, {}) == 200
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: function.send(STATE_CHANGED, second_extracted), range(4))) == {200}
    assert steps(launching, "whole", second) == ["extract", "left", "right"]
    assert f"whole--left--{second} was due and had not been started: started now" in function.log.read_text()
    for step in ("left", "right"):
        cancel(launching, f"whole--{step}--{second}")


def cancel(launching: Launching, job_name: str) -> None:
    (job,) = launching.jobs(job_name)
    launching.call("PUT", f"jobs/{job['id']}", {"requestedState": "JOB_STATE_CANCELLED"})
    launching.wait(job_name, "CANCELLED")


@pytest.mark.timeout(240)
def test_nothing_follows_a_step_that_failed_or_was_cancelled(
    function: Function,
    launching: Launching,
    endpoints: Endpoints,
    template: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing, cancelled = "20250722t230000", "20250722t230100"
    for run in (failing, cancelled):
        assert function.send(START, {"chain": "broken", "run": run}) == 200
    cancel(launching, f"broken--extract--{cancelled}")
    assert function.send(STATE_CHANGED, ended(launching, f"broken--extract--{cancelled}", "CANCELLED")) == 200
    assert steps(launching, "broken", cancelled) == ["extract", "alert"]
    cancel(launching, f"broken--alert--{cancelled}")
    for step in ("extract", "alert"):
        assert function.send(STATE_CHANGED, ended(launching, f"broken--{step}--{failing}", "FAILED")) == 200
    assert function.send(CHECK, {}) == 200
    assert steps(launching, "broken", failing) == ["extract", "alert"]
    assert f"broken--extract--{failing} ended as JOB_STATE_FAILED" in function.log.read_text()

    # From a command line it is the same run, and nothing of it starts again.
    monkeypatch.setenv("DATAFLOW_EMULATOR_HOST", endpoints.dataflow_host)
    path = chain_file(launching.folder, "broken", endpoints, template)
    assert main(["run", str(path), f"--run={failing}"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-4:] == [
        "left: not started",
        "right: not started",
        "join: not started",
        f"broken, run {failing}: failed: extract, alert",
    ]


def test_events_that_are_none_of_its_own(function: Function, forwarder: Forwarder) -> None:
    before = list(forwarder.launches)
    job = {"projectId": "sandbox-project", "location": REGION, "id": "1", "currentState": "JOB_STATE_DONE"}
    assert function.send(STATE_CHANGED, {"payload": {**job, "name": "some-job"}}) == 200
    assert function.send(STATE_CHANGED, {"payload": {**job, "name": "weekly--extract--20250722t220000"}}) == 200
    assert function.send("google.cloud.storage.object.v1.finalized", {}) == 200
    assert function.send(START, {"chain": "weekly"}) == 200
    assert "there is no chain weekly; there are broken, whole" in function.log.read_text()
    assert forwarder.launches == before


def test_job_that_dataflow_does_not_know_is_asked_for_again(function: Function, endpoints: Endpoints) -> None:
    job = {"projectId": endpoints.project, "location": REGION, "id": "1", "currentState": "JOB_STATE_DONE"}
    # An error makes Eventarc send the event again.
    assert function.send(STATE_CHANGED, {"payload": {**job, "name": "whole--extract--20250722t210000"}}) == 500
