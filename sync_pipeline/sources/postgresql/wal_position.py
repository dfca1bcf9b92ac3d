"""How far a server of PostgreSQL has come, so that no later read of a run sees less than an earlier one.

One name may lead to several servers: a pooler or a load balancer before standbys, each of which lags by its own time. A
read from one that lags behind the server whose clock ended the interval would miss rows for good, and keys from it
would make rows that were just loaded count as deleted. So each transaction that reads rows or keys first asks its
server for its position in the write-ahead log, in the request that begins it, and waits until it has the position of
the run.

A server that has no such functions, such as a reader of Aurora, is not asked.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import begin, settings_sql, translated_errors
from sync_pipeline.sources.source import ReadSplit

_LOGGER = logging.getLogger(__name__)

# How long a read waits for its server.
CATCH_UP_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0

# What is inserted may be visible, even if it is not written yet: a commit with synchronous_commit=off.
_LSN_SQL = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END "
    "- '0/0'::pg_lsn"
)
# A physical standby has the identifier of its primary.
_SYSTEM_SQL = "(SELECT system_identifier FROM pg_control_system())"

# Classes of SQLSTATE: not supported, not defined or not allowed, not in this state.
_UNSUPPORTED = ("0A", "42", "55")

# On an idle primary, the next record begins after a page's header, and the last one ended before it: a standby never
# reports more. The shortest record has 24 bytes, so that none ends in between.
# https://github.com/postgres/postgres/blob/master/src/include/access/xlog_internal.h
_PAGE_BYTES = 8192
_HEADER_BYTES = (24, 40)

UNGUARDED = (
    "the server does not tell its position in the write-ahead log: if postgresql_host leads to several servers, rows "
    "may be read from one that lags behind, and be missed or count as deleted. Let it lead to one server, at best the "
    "primary"
)


@dataclass(frozen=True)
class WalPosition:
    """A position in the write-ahead log.

    Attributes:
        lsn: in bytes from its beginning.
        system: the identifier of the servers that share the log; None if the user may not know it.
    """

    lsn: int
    system: int | None

    @property
    def statement(self) -> str:
        """The query for a server's position, as far as this one is known."""
        return f"{_LSN_SQL}, {'NULL' if self.system is None else _SYSTEM_SQL}"


@dataclass(frozen=True)
class PositionedSplit(ReadSplit):
    """A split of a read, and the position that its server must have; None if it is not known."""

    position: WalPosition | None = None


def read_position(connection: Connection) -> WalPosition | None:
    """Return the server's position, within a transaction; None if the server does not tell it. Raises SourceError.

    What was visible before is at or below the position.
    """
    with translated_errors(), connection.cursor() as cursor:
        for system in (_SYSTEM_SQL, "NULL"):
            try:
                cursor.execute(f"SAVEPOINT wal_position; {_LSN_SQL}, {system}")
                return _found(cursor)
            except psycopg2.Error as error:
                if not _is_unsupported(error):
                    raise
                cursor.execute("ROLLBACK TO SAVEPOINT wal_position")
    return None


def begin_at(connection: Connection, position: WalPosition | None, config: PostgresqlConfig) -> None:
    """Begin a read-only transaction in UTC on a server that has reached `position`, if that is known.

    The transaction must be READ COMMITTED: the server goes on while it waits.

    Raises:
        SourceUnavailableError: the server has not reached the position in time, or is no copy of the one that had it.
    """
    if position is None:
        begin(connection)
        return
    began, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
    prefix = f"{settings_sql()}; "
    while (found := _position_of(connection, f"{prefix}{position.statement}")) is not None:
        if found.system != position.system:
            raise SourceUnavailableError(_other_system(config))
        if found.lsn >= position.lsn:
            return
        if time.monotonic() - began > CATCH_UP_SECONDS:
            raise SourceUnavailableError(_lagging(config, position.lsn - found.lsn))
        time.sleep(pause)
        prefix, pause = "", min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _position_of(connection: Connection, statement: str) -> WalPosition | None:
    """Return what the statement finds; None, in a new transaction, if the server does not support it."""
    with translated_errors(), connection.cursor() as cursor:
        try:
            cursor.execute(statement)
            return _found(cursor)
        except psycopg2.Error as error:
            if not _is_unsupported(error):
                raise
            connection.rollback()
    begin(connection)
    _warn_once()
    return None


def _found(cursor: Cursor) -> WalPosition | None:
    lsn, system = cursor.fetchone()
    if lsn is None:
        return None
    begins_page = int(lsn) % _PAGE_BYTES
    return WalPosition(int(lsn) - begins_page if begins_page in _HEADER_BYTES else int(lsn), system)


def _is_unsupported(error: psycopg2.Error) -> bool:
    return (error.pgcode or "").startswith(_UNSUPPORTED)


@functools.cache
def _warn_once() -> None:
    _LOGGER.warning("%s", UNGUARDED)


def _lagging(config: PostgresqlConfig, behind: int) -> str:
    return (
        f"PostgreSQL: the server that answered is {behind:,} bytes of the write-ahead log behind the one with which "
        f"the run began, and did not catch up in {CATCH_UP_SECONDS:.0f} seconds: rows would be missed, or count as "
        f"deleted: {_remedy(config)}"
    )


def _other_system(config: PostgresqlConfig) -> str:
    return (
        "PostgreSQL: the server that answered is neither the one with which the run began nor a physical standby of it "
        f"(pg_control_system): whether it has all rows cannot be known: {_remedy(config)}"
    )


def _remedy(config: PostgresqlConfig) -> str:
    parameter = "postgresql_instance" if config.instance else "postgresql_host"
    return f"let {parameter} lead to one server, at best the primary, or run the job again later"
