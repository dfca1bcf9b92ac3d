"""`python -m sandbox` as a person uses it: in processes of its own, with nothing prepared in the environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("SANDBOX_", "BIGQUERY_", "STORAGE_EMULATOR", "GOOGLE_", "PG")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment without any sandbox, whose own is in `tmp_path` and is stopped afterwards."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment = inherited | {"SANDBOX_FOLDER": str(tmp_path / "sandbox")}
    yield environment
    _sandbox("down", environment=environment)


def _sandbox(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)


def _processes(folder: str) -> list[int]:
    state = json.loads(Path(folder, "state.json").read_text())
    return [process["pid"] for process in state["processes"]]


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_up_env_psql_mongo_query_down(environment: dict[str, str]) -> None:
    folder = environment["SANDBOX_FOLDER"]
    up = _sandbox("up", environment=environment)
    assert (up.returncode, up.stderr) == (0, "")
    pids = _processes(folder)
    assert "running already" in _sandbox("up", environment=environment).stdout
    assert _processes(folder) == pids

    exported = _sandbox("env", environment=environment).stdout
    shell = ["bash", "-euc", f'{exported}\nprintf "%s\\n" "$BIGQUERY_EMULATOR_HOST" "$SANDBOX_POSTGRESQL_DSN"']
    host, dsn = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.splitlines()
    assert host.startswith("http://127.0.0.1:")
    psycopg2.connect(dsn).close()

    psql = _sandbox("psql", "-At", "-c", "SELECT current_database(), current_user", environment=environment)
    assert (psql.stdout, psql.stderr) == ("demo|postgres\n", "")
    if shutil.which("gcloud"):
        gcloud = _sandbox("gcloud", "dataflow", "jobs", "list", "--region=us-central1", environment=environment)
        assert (gcloud.returncode, gcloud.stdout, gcloud.stderr) == (0, "", "Listed 0 items.\n")

    document = '{"_id": {"$oid": "0123456789abcdef01234567"}}'
    _sandbox("mongo", f'{{"insert": "t", "documents": [{document}]}}', environment=environment)
    mongo = _sandbox("mongo", '{"find": "t"}', environment=environment)
    assert (json.loads(mongo.stdout)["cursor"]["firstBatch"], mongo.stderr) == ([json.loads(document)], "")

    query = _sandbox("query", "SELECT 1 AS one, 'x' AS letter, NULL AS nothing", environment=environment)
    assert [line.split() for line in query.stdout.splitlines()[1::2]] == [
        ["│", "one", "│", "letter", "│", "nothing", "│"],
        ["│", "1", "│", "x", "│", "NULL", "│"],
    ]

    assert _sandbox("down", environment=environment).returncode == 0
    assert not any(_alive(pid) for pid in pids)
    assert sorted(path.suffix for path in Path(folder).iterdir()) == [".log"] * 6
    assert "not running" in _sandbox("down", environment=environment).stdout


@pytest.mark.parametrize(
    "command", [["env"], ["psql"], ["mongo", "{}"], ["query", "SELECT 1"], ["gcloud"]], ids=lambda command: command[0]
)
def test_without_a_sandbox_one_line_says_what_to_do(environment: dict[str, str], command: list[str]) -> None:
    result = _sandbox(*command, environment=environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "sandbox: it is not running; start it with: python -m sandbox up\n"


@pytest.mark.parametrize("command", ["up", "env", "down"])
def test_a_sandbox_of_another_version(environment: dict[str, str], command: str) -> None:
    folder = Path(environment["SANDBOX_FOLDER"])
    folder.mkdir(exist_ok=True)
    state = folder / "state.json"
    state.write_text('{"endpoints": {"folder": "x", "credentials_file": "y"}, "processes": []}')
    result = _sandbox(command, environment=environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"sandbox: {state} is of another version of the sandbox: stop its servers if they still run, and delete "
        f"{folder}\n"
    )


def test_gcloud_where_there_is_none(environment: dict[str, str]) -> None:
    assert _sandbox("up", environment=environment).returncode == 0
    result = _sandbox("gcloud", "version", environment=environment | {"PATH": "/nonexistent"})
    assert result.returncode == 1
    assert re.fullmatch(
        r"sandbox: gcloud is not installed; the REST API is the same: http://127\.0\.0\.1:\d+\n", result.stderr
    )


def test_a_server_that_does_not_start_shows_its_log(environment: dict[str, str], tmp_path: Path) -> None:
    python = tmp_path / "broken" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'no such extension' >&2\nexit 1\n")
    python.chmod(0o755)
    result = _sandbox("up", environment=environment | {"SANDBOX_BIGQUERY_ENVIRONMENT": str(tmp_path / "broken")})
    log = Path(environment["SANDBOX_FOLDER"]) / "bigquery.log"
    assert result.returncode == 1
    assert result.stderr == (f"sandbox: bigquery ended while starting; its log {log} ends with:\n  no such extension\n")
    assert [path.suffix for path in log.parent.iterdir() if path.suffix != ".log"] == []


def test_an_emulator_that_is_not_installed(environment: dict[str, str]) -> None:
    result = _sandbox("up", environment=environment | {"SANDBOX_BIGQUERY_ENVIRONMENT": "/nonexistent"})
    expected = "sandbox: the BigQuery emulator is not installed in /nonexistent; run `make install`\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_servers_that_run_already_are_used(environment: dict[str, str], tmp_path: Path) -> None:
    program = """
import sys, pathlib, sandbox
with sandbox.running(pathlib.Path(sys.argv[1])) as endpoints:
    print(endpoints.bigquery_host, endpoints.storage_host, endpoints.postgresql_port, endpoints.postgresql_password)
    print(endpoints.mongodb_host, endpoints.mongodb_port, endpoints.mongodb_username, endpoints.mongodb_password)
    print(sorted(path.name for path in pathlib.Path(sys.argv[1]).iterdir()))
"""
    given = {
        "SANDBOX_POSTGRESQL_DSN": "postgresql://postgres:secret@localhost:5599/demo",
        "SANDBOX_MONGODB_URI": "mongodb://owner:p%40ss@localhost/?authSource=admin",
        "BIGQUERY_EMULATOR_HOST": "http://localhost:9050",
        "STORAGE_EMULATOR_HOST": "http://localhost:9023",
    }
    bare = {name: value for name, value in environment.items() if name != "SANDBOX_FOLDER"}
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "used")],
        env=bare | given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "http://localhost:9050 http://localhost:9023 5599 secret",
        "localhost 27017 owner p@ss",
        "['credentials.json', 'dataflow.log', 'state.json']",
    ]


def test_the_servers_end_with_a_killed_parent(environment: dict[str, str], tmp_path: Path) -> None:
    program = """
import sys, time, pathlib, sandbox
with sandbox.running(pathlib.Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(60)
"""
    folder = tmp_path / "orphaned"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], env=environment, cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        pids = _processes(str(folder))
        assert len(pids) == 5
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)
    _sandbox("down", environment=environment | {"SANDBOX_FOLDER": str(folder)})
