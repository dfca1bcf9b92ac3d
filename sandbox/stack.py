"""All servers together: start, stop, and the state file that lets another process find them."""

import contextlib
import json
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from sandbox import bigquery, credentials, dataflow, mongodb, postgresql, storage
from sandbox.endpoints import Endpoints
from sandbox.processes import PortTakenError, Process, SandboxError, free_port, is_alive, launch, signal_to_stop, stop

PROJECT = "sandbox-project"
BUCKET = "sandbox-bucket"
DATASET = "demo"
_STATE = "state.json"
_ATTEMPTS = 3


@dataclass(frozen=True)
class Stack:
    """The servers that were started under a folder, and the endpoints of all servers."""

    endpoints: Endpoints
    processes: tuple[Process, ...]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Endpoints]:
    """Start the servers with their data under `folder`, and stop them and delete the data afterwards.

    `folder` is created if missing and must not hold another sandbox. The servers also end when this process ends for
    any reason; the PostgreSQL data may then stay in the temporary folder. The start takes two to four seconds.

    Raises:
        SandboxError: a server does not start.
    """
    stack = start(folder, detached=False)
    try:
        yield stack.endpoints
    finally:
        remove(folder)


def start(folder: Path, *, detached: bool) -> Stack:
    """Start the servers and write the state file; if that fails, leave nothing behind except the logs.

    A server that SANDBOX_POSTGRESQL_DSN, SANDBOX_MONGODB_URI, BIGQUERY_EMULATOR_HOST or STORAGE_EMULATOR_HOST names
    replaces the sandbox's own. If SANDBOX_FOLDER is set, these variables come from another sandbox and are ignored.

    Raises:
        SandboxError: a server does not start.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _STATE).exists():
        raise SandboxError(f"{folder} holds another sandbox already")
    for _ in range(_ATTEMPTS - 1):
        # A program that does not reserve its ports may take one of ours before our server does.
        with contextlib.suppress(PortTakenError):
            return _start(folder, detached=detached)
    return _start(folder, detached=detached)


def _start(folder: Path, *, detached: bool) -> Stack:
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
    """Stop the servers under `folder` and delete their data; the logs stay. Does nothing if there is no sandbox."""
    stack = read_state(folder)
    if stack is None:
        return
    _stop(folder, stack.processes)
    for name in ("credentials.json", _STATE):
        (folder / name).unlink(missing_ok=True)


def stop_server(folder: Path, name: str, *, abruptly: bool = False) -> None:
    """Stop one server ("postgresql", "mongodb", "bigquery", "storage" or "dataflow") and keep its data: an outage.

    `abruptly` kills the server, so that it cannot close its connections in order.
    """
    process = _process(_existing(folder), name)
    stop(replace(process, stop_signal=signal.SIGKILL) if abruptly else process)


def start_server(folder: Path, name: str) -> None:
    """Restart a server that `stop_server` stopped, at the same address, and wait until it answers."""
    stack = _existing(folder)
    process = _process(stack, name)
    if is_alive(process):
        return
    process = launch(process, detached=False)
    processes = tuple(process if other.name == name else other for other in stack.processes)
    _write_state(folder, replace(stack, processes=processes))
    endpoints = stack.endpoints
    waits = {
        "postgresql": lambda: postgresql.wait(process, endpoints.postgresql_dsn),
        "mongodb": lambda: mongodb.wait(process, endpoints.mongodb_uri),
        "bigquery": lambda: bigquery.wait(process, endpoints.bigquery_host, endpoints.project, endpoints.dataset),
        "storage": lambda: storage.wait(process, endpoints.storage_host, endpoints.bucket),
        "dataflow": lambda: dataflow.wait(process, endpoints.dataflow_host, endpoints.project, endpoints.secrets()),
    }
    waits[name]()


def read_state(folder: Path) -> Stack | None:
    """Return the sandbox under `folder`, running or not; None if there is none.

    Raises:
        SandboxError: another version of the sandbox wrote the state file.
    """
    file = folder / _STATE
    try:
        state = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    try:
        return _stack_of(state)
    except (KeyError, TypeError):
        raise SandboxError(
            f"{file} is of another version of the sandbox: stop its servers if they still run, and delete {folder}"
        ) from None


def _stack_of(state: dict[str, Any]) -> Stack:
    fields = state["endpoints"]
    paths = {"folder": Path(fields["folder"]), "credentials_file": Path(fields["credentials_file"])}
    processes = (Process(**{**p, "log": Path(p["log"]), "command": tuple(p["command"])}) for p in state["processes"])
    return Stack(Endpoints(**{**fields, **paths}), tuple(processes))


def is_running(stack: Stack) -> bool:
    """Return whether all servers of the sandbox are still alive."""
    return all(is_alive(process) for process in stack.processes)


def _start_servers(folder: Path, launched: Callable[[Process], Process]) -> Endpoints:
    # The slow steps run in parallel: the emulator imports its libraries while PostgreSQL creates its cluster.
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

    mongodb_uri, mongodb_process = given.get("SANDBOX_MONGODB_URI", ""), None
    access = mongodb.given_access(mongodb_uri) if mongodb_uri else mongodb.new_access(free_port())
    if not mongodb_uri:
        mongodb_process = launched(mongodb.prepare(folder, access.port))

    dsn = given.get("SANDBOX_POSTGRESQL_DSN", "")
    if not dsn:
        port, password = free_port(), secrets.token_urlsafe(18)
        dsn = postgresql.dsn(port, password)
        postgresql.create_database(launched(postgresql.prepare(folder, port, password)), dsn)
    address = _parsed(dsn)

    if mongodb_process:
        mongodb.create_users(mongodb_process, access)
    if storage_process:
        storage.wait(storage_process, storage_host, BUCKET)
    if bigquery_process:
        bigquery.wait(bigquery_process, bigquery_host, project, dataset)
    dataflow_ports = free_port(), free_port()
    endpoints = Endpoints(
        folder=folder,
        postgresql_host=address.get("host", "127.0.0.1"),
        postgresql_port=int(address.get("port", 5432)),
        postgresql_database=address.get("dbname", postgresql.DATABASE),
        postgresql_username=address.get("user", postgresql.USERNAME),
        postgresql_password=address.get("password", ""),
        mongodb_uri=access.uri,
        mongodb_host=access.host,
        mongodb_port=access.port,
        mongodb_database=mongodb.DATABASE,
        mongodb_username=access.username,
        mongodb_password=access.password,
        bigquery_host=bigquery_host,
        bigquery_storage_host=bigquery_storage_host,
        storage_host=storage_host,
        bucket=given.get("SANDBOX_BUCKET") or BUCKET,
        project=project,
        dataset=dataset,
        dataflow_host=f"http://127.0.0.1:{dataflow_ports[0]}",
        secret_manager_host=f"127.0.0.1:{dataflow_ports[1]}",
        credentials_file=credentials.write(folder),
    )
    # This server starts last, because its jobs need the addresses of all others.
    process = launched(dataflow.prepare(folder, dataflow_ports, endpoints.bucket, endpoints.environment()))
    dataflow.wait(process, endpoints.dataflow_host, project, endpoints.secrets())
    return endpoints


def _parsed(dsn: str) -> dict[str, str]:
    try:
        return dict(parse_dsn(dsn))
    except psycopg2.ProgrammingError:
        raise SandboxError("SANDBOX_POSTGRESQL_DSN is not a libpq connection string or URL") from None


def _stop(folder: Path, processes: Sequence[Process]) -> None:
    for process in processes:
        signal_to_stop(process)
    for process in processes:
        # The data goes as well, so nobody waits for a server that tidies up.
        stop(process, seconds=3)
    postgresql.remove(folder)
    for name in ("mongodb", "bigquery", "storage", "gcloud"):
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
    path.touch(mode=0o600)  # the file has the passwords
    path.write_text(json.dumps(asdict(stack), indent=2, default=str))
