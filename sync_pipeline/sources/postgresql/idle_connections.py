"""Connections that stay open between the reads of a thread, so that small tables do not pay for connecting."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import begin, opened

# What is read, not where from.
_OF_A_READ = frozenset({"table", "query", "base_query", "partition_column"})


class _Idle(threading.local):
    """The idle connection of a thread, at most one, and the server and login that it is for."""

    connection: Connection | None = None
    login: dict[str, Any] | None = None


_IDLE = _Idle()


@contextlib.contextmanager
def lent(config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Begin a read-only transaction in UTC, on the thread's idle connection if it has one for this server and login.

    Afterwards the connection is idle again, until `close_idle` or the end of the thread. A connection on which anything
    failed, or whose rows were not all taken, is closed.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection; not retried.
    """
    login = _login(config)
    connection = _reused(login)
    try:
        if connection is None:
            connection = opened(config, max_retries)
            begin(connection)
        yield connection
        # All rows are there: a connection that fails now is not kept, and fails no read.
        with contextlib.suppress(psycopg2.Error):
            connection.rollback()
            if _IDLE.connection is None:
                _IDLE.connection, _IDLE.login, connection = connection, login, None
    finally:
        if connection is not None:
            connection.close()


def close_idle() -> None:
    """Close the idle connection of this thread, if there is one."""
    connection, _IDLE.connection = _IDLE.connection, None
    if connection is not None:
        connection.close()


def _reused(login: dict[str, Any]) -> Connection | None:
    """Return the thread's idle connection after its transaction began; None if there is none that works."""
    if _IDLE.login != login:
        close_idle()
    connection, _IDLE.connection = _IDLE.connection, None
    if connection is None:
        return None
    try:
        begin(connection)
    except SourceError:
        # The server has ended it in the meantime.
        connection.close()
        return None
    return connection


def _login(config: PostgresqlConfig) -> dict[str, Any]:
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in _OF_A_READ
    }
