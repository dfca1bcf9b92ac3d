"""A server that takes a connection and then says nothing does not keep a run waiting for ever."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import bson
import pytest

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb import connection as of_mongodb
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.postgresql import connection as of_postgresql
from sync_pipeline.sources.postgresql.config import PostgresqlConfig

POSTGRESQL = PostgresqlConfig(
    "127.0.0.1", 0, "d", "u", Secret("postgresql_password", "p"), "SELECT 1", None, "prefer", None, None
)
MONGODB = MongodbConfig("127.0.0.1", 0, "d", "c", "u", Secret("mongodb_password", "p"), None, None, None)
HELLO = {"ok": 1, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 17, "maxBsonObjectSize": 2**24}


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Hand each connection to `talk`, in a thread of its own; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(connection)
            threads.append(threading.Thread(target=talk, args=(connection,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in accepted:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in threads:
            thread.join()


def silent(connection: socket.socket) -> None:
    pass


def greets_only(connection: socket.socket) -> None:
    """Answer MongoDB's greeting, as every connection begins with it, and nothing after it."""
    with contextlib.suppress(OSError, struct.error):
        while True:
            length, request, _, code = struct.unpack("<iiii", connection.recv(16, socket.MSG_WAITALL))
            body = connection.recv(length - 16, socket.MSG_WAITALL)
            if b"hello" not in body and b"ismaster" not in body:
                continue
            if code == 2004:  # OP_QUERY, answered by OP_REPLY
                answer, kind = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(HELLO), 1
            else:
                answer, kind = struct.pack("<iB", 0, 0) + bson.encode(HELLO), 2013
            connection.sendall(struct.pack("<iiii", 16 + len(answer), 0, request, kind) + answer)


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two seconds are the least that libpq takes.
    monkeypatch.setattr(of_postgresql, "CONNECT_TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(of_mongodb, "CONNECT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(of_mongodb, "SELECTION_SECONDS", 1)


def test_silent_postgresql() -> None:
    started = time.monotonic()
    with (
        server(silent) as port,
        pytest.raises(SourceUnavailableError, match="timeout expired"),
        of_postgresql.connected(dataclasses.replace(POSTGRESQL, port=port), 0),
    ):
        pass
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("talk", [silent, greets_only], ids=["silent", "silent after the greeting"])
def test_silent_mongodb(talk: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with (
        server(talk) as port,
        pytest.raises(SourceUnavailableError, match="timed out"),
        of_mongodb.connected(dataclasses.replace(MONGODB, port=port), 0),
    ):
        pass
    assert time.monotonic() - started < 30


def test_closed_port_of_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is looked for once as long as it may take, and not also as long as a login may."""
    monkeypatch.setattr(of_mongodb, "CONNECT_TIMEOUT_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    with (
        pytest.raises(SourceUnavailableError, match="Connection refused"),
        of_mongodb.connected(dataclasses.replace(MONGODB, port=port), 0),
    ):
        pass
    assert time.monotonic() - started < 6
