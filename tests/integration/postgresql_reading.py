"""Reading PostgreSQL as a run does, without Beam and BigQuery: described, planned, copied."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import psycopg2
import pyarrow as pa
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from sandbox import Endpoints
from sync_pipeline.errors import SourceError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.sources.postgresql.source import PostgresqlSource, open_source
from sync_pipeline.transforms.batches import read_schema
from tests.integration.reading import read_splits
from tests.source_questions import described, read_planned

APPLICATION_NAME = "sync-to-bigquery"

# Rows for minutes, streamed as they are made.
ENDLESS = "SELECT generate_series(1, 1000000000) AS n, repeat('secret-row ', 20) AS t"
# What no message may show: a piece of the rows, and of the passwords that tests give.
SECRETS = ("secret-row", "s3cret")


@dataclass(frozen=True)
class Reader:
    """Reads queries of one database. Each keyword argument of its methods is a template parameter."""

    endpoints: Endpoints
    database: str

    def source(self, query: str, **parameters: str) -> PostgresqlSource:
        defaults = {
            "data_source": "postgresql",
            "postgresql_host": self.endpoints.postgresql_host,
            "postgresql_port": str(self.endpoints.postgresql_port),
            "postgresql_database": self.database,
            "postgresql_username": self.endpoints.postgresql_username,
            "postgresql_password": self.endpoints.postgresql_password,
            "postgresql_query": query,
            "destination_bigquery_project": self.endpoints.project,
            "destination_bigquery_dataset": "d",
            "destination_bigquery_table": "t",
            "max_retries": "0",
        }
        return open_source(SyncConfig.from_parameters({**defaults, **parameters}))

    def schema(self, query: str, **parameters: str) -> Schema:
        """Return the columns as they are read, with `transformation_config` applied."""
        source = self.source(query, **parameters)
        return read_schema(described(source).schema, source.config.transformation)

    def batches(
        self, query: str, batch_size: int = 1000, interval: SyncInterval | None = None, **parameters: str
    ) -> Iterator[pa.RecordBatch]:
        source = self.source(query, **{"batch_size": str(batch_size), **parameters})
        schema = read_schema(described(source, interval).schema, source.config.transformation)
        yield from read_splits(source, schema, read_planned(source, interval, schema).splits)

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return [row for batch in self.batches(query, **parameters) for row in rows_of(batch)]

    def column(self, query: str, **parameters: Any) -> list[Any]:
        """Return the values of a query's only column."""
        return [value for (value,) in self.rows(query, **parameters)]


def rows_of(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """Return rows of Python values."""
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def connect(endpoints: Endpoints, database: str) -> Connection:
    """Return a connection to `database` in autocommit mode."""
    connection = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=database))
    connection.autocommit = True
    return connection


@contextlib.contextmanager
def fresh_database(endpoints: Endpoints, options: str = "") -> Iterator[tuple[Reader, Connection]]:
    """Make an empty database for a whole module; give its reader and a connection, and drop it at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administrator = connect(endpoints, endpoints.postgresql_database)
    execute(administrator, f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy {options}")
    connection = connect(endpoints, name)
    try:
        yield Reader(endpoints, name), connection
    finally:
        connection.close()
        execute(administrator, f"DROP DATABASE {name} WITH (FORCE)")
        administrator.close()


def execute(connection: Connection, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
    return rows


@contextlib.contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Collect the statements that are sent."""
    sent: list[str] = []

    class Counting(psycopg2.extensions.cursor):
        def execute(self, statement: Any, values: Any = None) -> None:
            sent.append(statement)
            super().execute(statement, values)

    connecting = psycopg2.connect
    with mock.patch.object(psycopg2, "connect", lambda **given: connecting(**given, cursor_factory=Counting)):
        yield sent


def everything_said(error: BaseException) -> str:
    """Return all that a log would show of `error`: its message, its chain and the source lines."""
    return "".join(traceback.format_exception(error))


def failure(reader: Reader, read: Callable[[], object]) -> SourceError:
    """Return the error that `read` ends with, once it is known to be clear and to leak nothing."""
    with pytest.raises(SourceError) as caught:
        read()
    error = caught.value
    assert "\n" not in str(error)
    for secret in (reader.endpoints.postgresql_password, *SECRETS):
        assert secret not in everything_said(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    return error


def sessions(connection: Connection, reader: Reader) -> list[int]:
    """Return the processes that the server has for us in the reader's database."""
    rows = execute(
        connection,
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
        [reader.database, APPLICATION_NAME],
    )
    return [pid for (pid,) in rows]


def assert_nothing_is_left(connection: Connection, reader: Reader, threads: set[threading.Thread]) -> None:
    """Check that only `threads` run, and that the server has no session of ours."""
    assert set(threading.enumerate()) == threads
    # A backend needs a moment to end after its connection was closed.
    deadline = time.monotonic() + 5
    while sessions(connection, reader) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions(connection, reader) == []
