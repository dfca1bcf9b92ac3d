"""Where histories are played: a database, a dataset and open transactions, used for one history after the other."""

from __future__ import annotations

import contextlib
import enum
import functools
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from unittest import mock

import psycopg2
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from sandbox import Endpoints

# A row: its key, its version, and what else it has.
Row = tuple[Any, ...]


class ViolationError(AssertionError):
    """The destination is not what it must be."""


class Stamp(enum.Enum):
    """What a write puts into `updated_at`; the value is its SQL."""

    NOW = "now()"
    NULL = "NULL"
    FUTURE = "TIMESTAMPTZ '2099-01-01 00:00:00+00'"

    def __repr__(self) -> str:
        return str(self)


@dataclass
class Transaction:
    """A transaction of a history: `none`, `open` or `prepared`."""

    connection: Connection
    state: str = "none"
    gid: str = ""

    def begin(self) -> None:
        if self.state == "none":
            execute(self.connection, "BEGIN")
            self.state = "open"

    def prepare(self) -> None:
        if self.state == "open":
            self.gid = uuid.uuid4().hex
            execute(self.connection, f"PREPARE TRANSACTION '{self.gid}'")
            self.state = "prepared"

    def end(self, verb: str) -> None:
        if self.state == "open":
            execute(self.connection, verb)
        if self.state == "prepared":
            execute(self.connection, f"{verb} PREPARED '{self.gid}'")
        self.state = "none"


@dataclass
class Site:
    """A source and a dataset. `prepare` of a derived class makes what the source has before the first history."""

    endpoints: Endpoints
    client: bigquery.Client
    connection: Connection
    database: str
    dataset: str
    staging: str
    transactions: dict[int, Transaction] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    # Of BigQuery's tables, by their id: of a column that is there the type stays.
    _schemas: dict[str, Sequence[bigquery.SchemaField]] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, endpoints: Endpoints, client: bigquery.Client) -> Iterator[Self]:
        name = f"histories_{uuid.uuid4().hex[:12]}"
        administrator = _connected(endpoints, endpoints.postgresql_database)
        execute(administrator, f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        client.create_dataset(name)
        connection = _connected(endpoints, name)
        site = cls(endpoints, client, connection, name, name, f"gs://{endpoints.bucket}/{name}")
        try:
            site.prepare()
            with _without_repeated_questions(client):
                yield site
        finally:
            site.end_transactions("ROLLBACK")
            for transaction in site.transactions.values():
                transaction.connection.close()
            connection.close()
            execute(administrator, f"DROP DATABASE {name} WITH (FORCE)")
            site.remove_users(administrator)
            administrator.close()
            client.delete_dataset(name, delete_contents=True)

    def prepare(self) -> None:
        """Create the source's tables."""

    def remove_users(self, administrator: Connection) -> None:
        """Drop what outlives the database."""

    def transaction(self, number: int) -> Transaction:
        if number not in self.transactions:
            self.transactions[number] = Transaction(_connected(self.endpoints, self.database))
        return self.transactions[number]

    def end_transactions(self, verb: str) -> None:
        for transaction in self.transactions.values():
            transaction.end(verb)

    def writer(self, transaction: int | None) -> Connection | None:
        """Return the connection that writes for a transaction, which begins by it; None if it is prepared."""
        if transaction is None:
            return self.connection
        writing = self.transaction(transaction)
        if writing.state == "prepared":
            return None
        writing.begin()
        return writing.connection

    def rows(self, table_id: str, columns: Sequence[str]) -> list[Row] | None:
        """Return the rows of a table of BigQuery; None if there is no such table.

        Without a statement, which takes several times as long.
        """
        try:
            if table_id not in self._schemas:
                self._schemas[table_id] = self.client.get_table(table_id).schema
            # They come in the order of the table's columns.
            fields = [field for field in self._schemas[table_id] if field.name in columns]
            table = bigquery.TableReference.from_string(table_id)
            rows = list(self.client.list_rows(table, selected_fields=fields))
        except NotFound:
            return None
        return [tuple(row[column] for column in columns) for row in rows]

    def wait_until_quiet(self) -> None:
        # A session that was just closed counts as open until its process has ended.
        while execute(
            self.connection,
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        ):
            time.sleep(0.001)


def _connected(endpoints: Endpoints, database: str) -> Connection:
    connection = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=database))
    connection.autocommit = True
    return connection


def execute(connection: Connection, statement: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description is not None else []


@contextlib.contextmanager
def _without_repeated_questions(client: bigquery.Client) -> Iterator[None]:
    """Leave out of a run what is the same each time and takes half of its time: on a server of one's own it may."""
    storage = GcsIO()
    with (
        # BigQuery's clock is this machine's, and a dataset stays what it is.
        mock.patch("sync_pipeline.planning.destination.bigquery_clock", _clock),
        mock.patch.object(client, "get_dataset", functools.cache(client.get_dataset)),
        # Beam makes a client for every call, which then looks at the bucket.
        mock.patch.object(GCSFileSystem, "_gcsIO", return_value=storage),
    ):
        yield


def _clock(client: bigquery.Client, location: str) -> datetime:
    now = datetime.now(UTC)
    # BigQuery tells milliseconds.
    return now - timedelta(microseconds=now.microsecond % 1000)


def check(holds: bool, problem: str) -> None:
    """Raise ViolationError unless it holds."""
    if not holds:
        raise ViolationError(problem)


def check_keys(destination: Iterable[Row], known: Iterable[Any]) -> None:
    """Check that a merged table has no key twice, and none but the known ones."""
    keys = [row[0] for row in destination]
    check(not (repeated := _repeated(keys)), f"keys more than once: {repeated}")
    unknown = set(keys) - set(known)
    check(not unknown, f"keys that the source does not have: {unknown}")


def check_versions(destination: Iterable[Row]) -> None:
    """Check that a table that is appended to has no version of a row twice."""
    check(not (repeated := _repeated(row[:2] for row in destination)), f"versions more than once: {repeated}")


def check_present(expected: Iterable[Row], destination: Iterable[Row], identity: int) -> None:
    """Check that rows are there as they are expected; `identity` is the number of columns that tell rows apart."""
    there = {row[:identity]: row for row in destination}
    wrong = [(row, there.get(row[:identity])) for row in expected if there.get(row[:identity]) != row]
    lines = (f"source {_shown(row)}, destination {_shown(other)}" for row, other in wrong)
    check(not wrong, "rows that differ:\n" + "\n".join(lines))


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _shown(row: Row | None) -> str:
    return "has none" if row is None else f"id={row[0]} version={row[1]} updated_at={row[3]}"
