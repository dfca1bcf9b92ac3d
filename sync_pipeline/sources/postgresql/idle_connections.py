"""Connections to PostgreSQL for the reads of a thread: one serves those that follow each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.idle import Idle, login_of
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import opened
from sync_pipeline.sources.postgresql.wal_position import WalPosition, begin_at

# The fields of the configuration that say what to read.
_OF_A_READ = frozenset({"table", "query", "base_query", "partition_column"})

_IDLE: Idle[Connection] = Idle(Connection.close)


@contextlib.contextmanager
def lent(config: PostgresqlConfig, max_retries: int, position: WalPosition | None = None) -> Iterator[Connection]:
    """Begin a read-only transaction in UTC, on the thread's idle connection if it has one for this server and login.

    The server has reached `position`, if that is known; see `begin_at`.

    Afterwards the connection is idle again, until `close_idle` or the end of the thread. A connection on which anything
    failed, or whose rows were not all taken, is closed.

    Raises:
        SourceUnavailableError: the server cannot be reached, or has not reached the position.
        SourceQueryError: the server rejected the connection; not retried.
    """
    connection = _reused(config, position)
    try:
        if connection is None:
            # Each statement sees what is committed when it begins: see `copied_parts`.
            connection = opened(config, max_retries, "READ COMMITTED")
            begin_at(connection, position, config)
        yield connection
        # All rows are there: a connection that fails now is not kept, and fails no read.
        with contextlib.suppress(psycopg2.Error):
            connection.rollback()
            kept, connection = connection, None
            _IDLE.keep(kept, login_of(config, _OF_A_READ))
    finally:
        if connection is not None:
            connection.close()


def close_idle() -> None:
    """Close the idle connection of this thread, if there is one."""
    _IDLE.close()


def _reused(config: PostgresqlConfig, position: WalPosition | None) -> Connection | None:
    """Return the thread's idle connection after its transaction began; None if there is none that works."""
    connection = _IDLE.take(login_of(config, _OF_A_READ))
    if connection is None:
        return None
    try:
        begin_at(connection, position, config)
    except SourceError:
        # The server has ended it in the meantime, or is one that lags: another one may answer a new connection.
        connection.close()
        return None
    return connection
