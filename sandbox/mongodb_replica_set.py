"""A replica set of three MongoDB servers, to test an election during a read.

with replica_set(folder) as members:
    members.step_down()
"""

import base64
import contextlib
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from sandbox import mongodb
from sandbox.processes import Process, SandboxError, free_port, is_alive, launch, stop

NAME = "sandbox"
MEMBERS = 3


@dataclass(frozen=True)
class ReplicaSet:
    """A running replica set. `access.uri` names the set and all its members, and logs in as the administrator.

    `members` has the process of each member by its `host:port`, including members that were killed.
    """

    access: mongodb.Access
    members: dict[str, Process]

    @property
    def reader_uri(self) -> str:
        """The connection string of the user who may only read the database `demo`."""
        return mongodb.uri(list(self.members), self.access.username, self.access.password, f"&replicaSet={NAME}")

    def primary(self) -> str:
        """Return the `host:port` of the current primary. Raises a PyMongoError when no member becomes primary."""
        with mongodb.connect(self.access.uri) as client:
            client["admin"].command("ping")
            host, port = client.primary or ("", 0)
            return f"{host}:{port}"

    def step_down(self) -> str:
        """Make another member the primary, wait for the election, and return its `host:port`."""
        before = self.primary()
        # The primary may close connections when it steps down, and then its answer is lost.
        with mongodb.connect(self.access.uri) as client, contextlib.suppress(PyMongoError):
            client["admin"].command({"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 10})
        return self._other_than(before)

    def kill_primary(self) -> str:
        """Kill the primary, wait for the election, and return the `host:port` of the new primary."""
        before = self.primary()
        stop(replace(self.members[before], stop_signal=signal.SIGKILL))
        return self._other_than(before)

    def restart(self) -> None:
        """Restart all members that were killed, and wait until they answer."""
        for address, process in self.members.items():
            if not is_alive(process):
                self.members[address] = launch(process, detached=False)
                mongodb.wait(self.members[address], f"mongodb://{address}/?directConnection=true")

    def _other_than(self, before: str) -> str:
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

    The start takes about four seconds.

    Raises:
        SandboxError: a member does not start, or no member becomes primary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The members authenticate to each other with this key file.
    key = folder / "mongodb.key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(secrets.token_bytes(96)))
    members: dict[str, Process] = {}
    try:
        for number in range(MEMBERS):
            port = free_port()
            settings = (f"--replSet={NAME}", f"--keyFile={key}", "--oplogSize=64")
            process = mongodb.prepare(folder, port, f"mongodb-{number}", settings)
            members[f"127.0.0.1:{port}"] = launch(process, detached=False)
        yield _initiated(members)
    finally:
        for process in members.values():
            stop(process)
            shutil.rmtree(folder / process.name, ignore_errors=True)
        key.unlink()


def _initiated(members: dict[str, Process]) -> ReplicaSet:
    addresses = list(members)
    for address, process in members.items():
        mongodb.wait(process, f"mongodb://{address}/?directConnection=true")
    configuration = {
        "_id": NAME,
        "members": [{"_id": number, "host": address} for number, address in enumerate(addresses)],
        # The default, an election after ten seconds without a primary, is too slow for tests.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
    }
    with mongodb.connect(f"mongodb://{addresses[0]}/?directConnection=true") as client:
        client["admin"].command("replSetInitiate", configuration)
    primary = _writable(addresses)
    access = mongodb.new_access(int(primary.rpartition(":")[2]))
    administrator = parse_uri(access.uri)
    uri = mongodb.uri(addresses, administrator["username"], administrator["password"], f"&replicaSet={NAME}")
    running = ReplicaSet(replace(access, uri=uri), members)
    mongodb.create_users(members[primary], running.access, len(members))
    return running


def _writable(addresses: Sequence[str]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for address in addresses:
            with mongodb.connect(f"mongodb://{address}/?directConnection=true") as client:
                if client["admin"].command("hello")["isWritablePrimary"]:
                    return address
        time.sleep(0.02)
    raise SandboxError("no member of the replica set became primary")
