"""Counts the rows of many tables that no interval contains, with few statements."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.tables import PostgresqlTable
from sync_pipeline.sources.postgresql.unread import Timestamps, count_statement, counted_risks, unread_rows

# What one statement may read, in tables with their partitions (it locks them all, and a server has a limited number of
# locks) and in bytes of those that no index helps with, and its time. A table beyond `_SMALL_BYTES` without an index is
# asked about alone, by `unread_rows`, which estimates the cost first.
_BATCH_RELATIONS = 100
_BATCH_BYTES = 256 * 2**20
_SMALL_BYTES = 32 * 2**20
_BATCH_MILLISECONDS = 10_000


class UnreadTables:
    """Answers for each table that was added before the first question, with a statement for many of them."""

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: dict[Timestamps, PostgresqlTable] = {}
        self._risks: dict[Timestamps, list[str]] = {}

    def add(self, table: PostgresqlTable, timestamps: Timestamps) -> None:
        """Announce a question."""
        with self._lock:
            if timestamps not in self._risks:
                self._waiting[timestamps] = table

    def risks(self, timestamps: Timestamps) -> list[str]:
        """Return warnings about rows of a table that no interval contains. Raises SourceError."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            for batch in _batches(waiting):
                self._risks.update(self._counted(batch))
            if timestamps in self._risks:
                return self._risks[timestamps]
        with self._connection.transaction() as connection:
            return _asked_alone(connection, timestamps)

    def _counted(self, batch: Sequence[Timestamps]) -> dict[Timestamps, list[str]]:
        """Return the warnings for the tables of a batch; none of them if the statement fails."""
        statement = "\nUNION ALL\n".join(
            f"SELECT {index}, * FROM ({count_statement(timestamps)}) AS counted"
            for index, timestamps in enumerate(batch)
        )
        try:
            with self._connection.transaction() as connection, connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {_BATCH_MILLISECONDS}")
                cursor.execute(statement)
                return {batch[index]: counted_risks(batch[index], *counts) for index, *counts in cursor.fetchall()}
        except psycopg2.Error:
            # One of the tables is locked, gone or not readable: each is asked about alone, and meets its own error.
            return {}


def _batches(waiting: dict[Timestamps, PostgresqlTable]) -> Iterator[list[Timestamps]]:
    batch: list[Timestamps] = []
    relations = size = 0
    for timestamps, table in waiting.items():
        cost = _bytes_to_read(table, timestamps.column)
        if cost is None or cost > _SMALL_BYTES or table.relations > _BATCH_RELATIONS:
            continue
        if relations + table.relations > _BATCH_RELATIONS or size + cost > _BATCH_BYTES:
            yield batch
            batch, relations, size = [], 0, 0
        batch.append(timestamps)
        relations += table.relations
        size += cost
    if batch:
        yield batch


def _bytes_to_read(table: PostgresqlTable, column: str) -> int | None:
    """Return about how much the count reads; None if unknown."""
    # Without statistics the planner expects a third of the rows, and uses no index.
    return 0 if column in table.indexed and table.listed.rows is not None else table.listed.size


def _asked_alone(connection: Connection, timestamps: Timestamps) -> list[str]:
    try:
        return unread_rows(connection, timestamps)
    except SourceUnavailableError:
        if connection.closed:
            raise
        return [
            f"{timestamps.name} is locked: rows whose {timestamps.column} no interval contains could not be counted"
        ]
