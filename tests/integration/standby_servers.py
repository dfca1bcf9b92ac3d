"""A primary of PostgreSQL and a streaming standby of it, both real servers."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from sandbox import postgresql
from sandbox.processes import Process, free_port, launch, stop
from tests.integration.postgresql_reading import execute

# A standby needs at least the connections that the cluster was made for.
_SETTINGS = (
    "--wal-level=replica",
    "--max-wal-senders=10",
    "--max-connections=100",
    "--wal-keep-size=256MB",
    "--shared-buffers=32MB",
)


@dataclass(frozen=True)
class Server:
    """One of the servers.

    Attributes:
        connection: in autocommit mode.
    """

    port: int
    password: str
    connection: Connection

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        return execute(self.connection, statement)


@dataclass(frozen=True)
class Servers:
    primary: Server
    standby: Server

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the standby from replaying what the primary writes."""
        self.standby.execute("SELECT pg_wal_replay_pause()")
        while self.standby.execute("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            time.sleep(0.005)
        try:
            yield
        finally:
            self.standby.execute("SELECT pg_wal_replay_resume()")


@contextlib.contextmanager
def standby_servers(folder: Path) -> Iterator[Servers]:
    """Start both servers; stop them at the end."""
    password = secrets.token_urlsafe(18)
    primary_folder, standby_folder = folder / "primary", folder / "standby"
    primary_folder.mkdir()
    standby_folder.mkdir()
    try:
        primary = postgresql.prepare(primary_folder, free_port(), password)
        standby = _copy(primary, standby_folder)
        _follow(standby, _port(primary), password)
        with contextlib.ExitStack() as running:
            servers = []
            for process in (primary, standby):
                started = launch(replace(process, command=(*process.command, *_SETTINGS)), detached=False)
                running.callback(stop, started)
                dsn = postgresql.dsn(_port(process), password, "postgres")
                postgresql.wait(started, dsn)
                connection = psycopg2.connect(dsn)
                running.callback(connection.close)
                connection.autocommit = True
                servers.append(Server(_port(process), password, connection))
            yield Servers(*servers)
    finally:
        for each in (primary_folder, standby_folder):
            postgresql.remove(each)


def _copy(primary: Process, folder: Path) -> Process:
    """Return the process of a server whose cluster is a copy of the primary's, which has not been started yet."""
    original = Path(primary.command[2])
    copy = original.with_name("standby") if original.parent != primary.log.parent else folder / "postgresql"
    shutil.copytree(original, copy)
    if primary.user != "-":
        account = pwd.getpwnam(primary.user)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
    copy.chmod(0o700)
    command = tuple(
        str(copy) if word == str(original) else word.replace(f"--port={_port(primary)}", f"--port={free_port()}")
        for word in primary.command
    )
    return replace(primary, name="standby", command=command, log=folder / "postgresql.log")


def _follow(standby: Process, port: int, password: str) -> None:
    data = Path(standby.command[2])
    (data / "standby.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"primary_conninfo = 'host=127.0.0.1 port={port} user={postgresql.USERNAME} password={password}'\n"
            "wal_retrieve_retry_interval = '100ms'\n"
        )


def _port(process: Process) -> int:
    return next(int(word.partition("=")[2]) for word in process.command if word.startswith("--port="))
