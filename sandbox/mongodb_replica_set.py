"""Three MongoDB servers that are one replica set, for what a single server cannot show: another primary, mid-read.

with replica_set(folder) as members:
    members.step_down()
"""

import base64
import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from sandbox import mongodb
from sandbox.processes import Process, SandboxError, free_port, launch, stop

NAME = "sandbox"
MEMBERS = 3


@dataclass(frozen=True)
class ReplicaSet:
    """A running replica set. `access.uri` names all members and the set, and belongs to the administrator."""

    access: mongodb.Access
    addresses: tuple[str, ...]

    @property
    def reader_uri(self) -> str:
        """The connection string of the user who may only read the database `demo`."""
        return mongodb.uri(self.addresses, self.access.username, self.access.password, f"&replicaSet={NAME}")

    def primary(self) -> str:
        """Return the `host:port` of the member that is primary now; raise a PyMongoError when none becomes it."""
        with mongodb.connect(self.access.uri) as client:
            client["admin"].command("ping")
            host, port = client.primary or ("", 0)
            return f"{host}:{port}"

    def step_down(self) -> str:
        """Make another member the primary, and return its `host:port` once it is."""
        before = self.primary()
        # It hangs up on its clients where it must; the answer may then be lost.
        with mongodb.connect(self.access.uri) as client, contextlib.suppress(PyMongoError):
            client["admin"].command({"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 10})
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(PyMongoError):
                if (primary := self.primary()) != before:
                    return primary
            time.sleep(0.02)
        raise SandboxError(f"no other member of the replica set became primary after {before}")


@contextlib.contextmanager
def replica_set(folder: Path) -> Iterator[ReplicaSet]:
    """Start a replica set with its data under `folder`, and stop it and delete the data afterwards; the logs stay.

    Takes about four seconds. Raises SandboxError when a member does not start or none becomes primary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The members trust each other by what is in this file.
    key = folder / "mongodb.key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(secrets.token_bytes(96)))
    addresses: list[str] = []
    processes: list[Process] = []
    try:
        for number in range(MEMBERS):
            port = free_port()
            settings = (f"--replSet={NAME}", f"--keyFile={key}", "--oplogSize=64")
            process = mongodb.prepare(folder, port, f"mongodb-{number}", settings)
            addresses.append(f"127.0.0.1:{port}")
            processes.append(launch(process, detached=False))
        yield _initiated(addresses, processes)
    finally:
        for process in processes:
            stop(process)
            shutil.rmtree(folder / process.name, ignore_errors=True)
        key.unlink()


def _initiated(addresses: Sequence[str], processes: Sequence[Process]) -> ReplicaSet:
    for address, process in zip(addresses, processes, strict=True):
        mongodb.wait(process, f"mongodb://{address}/?directConnection=true")
    configuration = {
        "_id": NAME,
        "members": [{"_id": number, "host": address} for number, address in enumerate(addresses)],
        # Ten seconds without a primary, the default, are long for a test.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
    }
    with mongodb.connect(f"mongodb://{addresses[0]}/?directConnection=true") as client:
        client["admin"].command("replSetInitiate", configuration)
    primary = _writable(addresses)
    access = mongodb.new_access(int(primary.rpartition(":")[2]))
    administrator = parse_uri(access.uri)
    uri = mongodb.uri(addresses, administrator["username"], administrator["password"], f"&replicaSet={NAME}")
    members = ReplicaSet(replace(access, uri=uri), tuple(addresses))
    mongodb.create_users(processes[addresses.index(primary)], members.access)
    return members


def _writable(addresses: Sequence[str]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for address in addresses:
            with mongodb.connect(f"mongodb://{address}/?directConnection=true") as client:
                if client["admin"].command("hello")["isWritablePrimary"]:
                    return address
        time.sleep(0.02)
    raise SandboxError("no member of the replica set became primary")
