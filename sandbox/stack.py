"""All servers together: start, stop, and the state file that lets another process find them."""

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from sandbox import bigquery, credentials, postgresql, storage
from sandbox.endpoints import Endpoints
from sandbox.processes import Process, SandboxError, free_port, is_alive, launch, stop

PROJECT = "sandbox-project"
BUCKET = "sandbox-bucket"
DATASET = "demo"
_STATE = "state.json"


@dataclass(frozen=True)
class Stack:
    """The servers that were started under a folder, and how to reach all of them."""

    endpoints: Endpoints
    processes: tuple[Process, ...]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Endpoints]:
    """Start the servers with their data under `folder`, and stop them and delete the data afterwards.

    `folder` is created when missing and must not hold another sandbox. The servers also end when this process does,
    however it does; the PostgreSQL data may then stay in the temporary folder.
    Takes two to four seconds. Raises SandboxError when a server does not start.
    """
    stack = start(folder, detached=False)
    try:
        yield stack.endpoints
    finally:
        remove(folder)


def start(folder: Path, *, detached: bool) -> Stack:
    """Start the servers and write the state file; leave nothing behind when that fails, except the logs.

    A server that SANDBOX_POSTGRESQL_DSN, BIGQUERY_EMULATOR_HOST or STORAGE_EMULATOR_HOST names is used instead of
    starting one, unless SANDBOX_FOLDER tells that these variables come from another sandbox. Raises SandboxError when a
    server does not start.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _STATE).exists():
        raise SandboxError(f"{folder} holds another sandbox already")
    started: list[Process] = []

    def launched(process: Process) -> Process:
        started.append(launch(process, detached=detached))
        return started[-1]

    try:
        endpoints = _start_servers(folder, launched)
    except BaseException:
        _stop(folder, started)
        raise
    stack = Stack(endpoints, tuple(started))
    _write_state(folder, stack)
    return stack


def remove(folder: Path) -> None:
    """Stop the servers under `folder` and delete their data; the logs stay. Does nothing where there is no sandbox."""
    stack = read_state(folder)
    if stack is None:
        return
    _stop(folder, stack.processes)
    for name in ("credentials.json", _STATE):
        (folder / name).unlink(missing_ok=True)


def stop_server(folder: Path, name: str) -> None:
    """Stop one server ("postgresql", "bigquery" or "storage") and keep its data: an outage, for tests."""
    stop(_process(_existing(folder), name))


def start_server(folder: Path, name: str) -> None:
    """Start a server again that `stop_server` stopped, at the same address, and wait until it answers."""
    stack = _existing(folder)
    process = _process(stack, name)
    if is_alive(process):
        return
    process = launch(process, detached=False)
    processes = tuple(process if other.name == name else other for other in stack.processes)
    _write_state(folder, dataclasses.replace(stack, processes=processes))
    endpoints = stack.endpoints
    waits = {
        "postgresql": lambda: postgresql.wait(process, endpoints.postgresql_dsn),
        "bigquery": lambda: bigquery.wait(process, endpoints.bigquery_host, endpoints.project, endpoints.dataset),
        "storage": lambda: storage.wait(process, endpoints.storage_host, endpoints.bucket),
    }
    waits[name]()


def read_state(folder: Path) -> Stack | None:
    """Return the sandbox under `folder`, running or not; None when there is none."""
    try:
        state = json.loads((folder / _STATE).read_text())
    except FileNotFoundError:
        return None
    fields: dict[str, Any] = state["endpoints"]
    paths = {"folder": Path(fields["folder"]), "credentials_file": Path(fields["credentials_file"])}
    processes = (Process(**{**p, "log": Path(p["log"]), "command": tuple(p["command"])}) for p in state["processes"])
    return Stack(Endpoints(**{**fields, **paths}), tuple(processes))


def is_running(stack: Stack) -> bool:
    """Tell whether all servers of the sandbox are still alive."""
    return all(is_alive(process) for process in stack.processes)


def _start_servers(folder: Path, launched: Callable[[Process], Process]) -> Endpoints:
    # Everything that takes time runs at once: the emulator imports its libraries while PostgreSQL makes its cluster.
    given = {} if "SANDBOX_FOLDER" in os.environ else os.environ
    project, dataset = PROJECT, DATASET
    if "BIGQUERY_EMULATOR_HOST" in given:
        project = given.get("GOOGLE_CLOUD_PROJECT") or PROJECT
        dataset = given.get("SANDBOX_DATASET") or DATASET
    storage_host, storage_root, storage_process = given.get("STORAGE_EMULATOR_HOST", ""), None, None
    if not storage_host:
        port = free_port()
        storage_host, storage_root = f"http://127.0.0.1:{port}", storage.objects_folder(folder)
        storage_process = launched(storage.prepare(folder, port, BUCKET))

    bigquery_host, bigquery_storage_host, bigquery_process = (
        given.get("BIGQUERY_EMULATOR_HOST", ""),
        given.get("BIGQUERY_STORAGE_EMULATOR_HOST", ""),
        None,
    )
    if not bigquery_host:
        ports = free_port(), free_port()
        bigquery_host, bigquery_storage_host = f"http://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
        bigquery_process = launched(bigquery.prepare(folder, ports, project, dataset, storage_host, storage_root))

    dsn = given.get("SANDBOX_POSTGRESQL_DSN", "")
    if not dsn:
        port, password = free_port(), secrets.token_urlsafe(18)
        dsn = postgresql.dsn(port, password)
        postgresql.create_database(launched(postgresql.prepare(folder, port, password)), dsn)
    address = _parsed(dsn)

    if storage_process:
        storage.wait(storage_process, storage_host, BUCKET)
    if bigquery_process:
        bigquery.wait(bigquery_process, bigquery_host, project, dataset)
    return Endpoints(
        folder=folder,
        postgresql_host=address.get("host", "127.0.0.1"),
        postgresql_port=int(address.get("port", 5432)),
        postgresql_database=address.get("dbname", postgresql.DATABASE),
        postgresql_username=address.get("user", postgresql.USERNAME),
        postgresql_password=address.get("password", ""),
        bigquery_host=bigquery_host,
        bigquery_storage_host=bigquery_storage_host,
        storage_host=storage_host,
        bucket=given.get("SANDBOX_BUCKET") or BUCKET,
        project=project,
        dataset=dataset,
        credentials_file=credentials.write(folder),
    )


def _parsed(dsn: str) -> dict[str, str]:
    try:
        return dict(parse_dsn(dsn))
    except psycopg2.ProgrammingError:
        raise SandboxError("SANDBOX_POSTGRESQL_DSN is not a libpq connection string or URL") from None


def _stop(folder: Path, processes: Iterable[Process]) -> None:
    for process in processes:
        stop(process)
    postgresql.remove(folder)
    for name in ("bigquery", "storage"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _existing(folder: Path) -> Stack:
    stack = read_state(folder)
    if stack is None:
        raise SandboxError(f"there is no sandbox in {folder}")
    return stack


def _process(stack: Stack, name: str) -> Process:
    for process in stack.processes:
        if process.name == name:
            return process
    raise SandboxError(f"{name!r} is not one of this sandbox's servers: {', '.join(p.name for p in stack.processes)}")


def _write_state(folder: Path, stack: Stack) -> None:
    path = folder / _STATE
    path.touch(mode=0o600)  # the password is in it
    path.write_text(json.dumps(dataclasses.asdict(stack), indent=2, default=str))
