"""Histories: what can happen to a source, a destination and the runs between them, and what must hold at the end.

A history is a list of operations, so a failing one can be read, cut down and kept as a test. Every write to the source
gets a version number of its own, by which rows are told apart afterwards.

After the operations the open transactions are committed and one more run is made, with nobody about. Then:

**merge**: every row of the source whose timestamp is NULL or not in the future is in the destination, as it is in the
source; there is one row for each key, and none that the source does not have.

**append**: no version of a row is there twice, and the present version of every row with a timestamp that is not in the
future is there once. Versions that were overwritten before a run could see them may be missing.
"""

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
from typing import Any
from unittest import mock

import psycopg2
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO
from google.cloud import bigquery
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from sandbox import Endpoints
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.cloud_storage import delete_staged_files
from sync_pipeline.publishing.publish import publish
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.sources import open_source
from tests.integration.kills import DyingClient, KilledError
from tests.integration.reading import read_rows

# Rows of one file: the few rows of a history make several.
BATCH_ROWS = 3

_PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_query": "SELECT * FROM source",
    "enable_smart_sync": "true",
    # Every step of a history has ended before the next begins, so nothing is under way that would have to settle.
    "smart_sync_settle_seconds": "0",
    "batch_size": str(BATCH_ROWS),
    "max_retries": "0",
}


class Mode(enum.Enum):
    """How the runs of a history publish; the value is what is added to their parameters."""

    APPEND = ()
    MERGE = (("primary_key", "id"), ("smart_sync_null_timestamps", "include"))


class Stamp(enum.Enum):
    """What a write puts into `updated_at`; the value is its SQL."""

    NOW = "now()"
    NULL = "NULL"
    FUTURE = "TIMESTAMPTZ '2099-01-01 00:00:00+00'"

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Insert:
    """Insert rows with one timestamp; outside a transaction of the history this is one of its own."""

    count: int = 1
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Update:
    """Update one row, unless another transaction is at it."""

    row: int = 0
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class UpdateAll:
    """Update all rows that no other transaction is at: they get one timestamp."""

    transaction: int | None = None


@dataclass(frozen=True)
class SetBack:
    """Stamp the rows from the future with the present."""


@dataclass(frozen=True)
class Begin:
    """Open a transaction, which writes later or never."""

    transaction: int


@dataclass(frozen=True)
class Prepare:
    transaction: int


@dataclass(frozen=True)
class Commit:
    transaction: int


@dataclass(frozen=True)
class Rollback:
    transaction: int


@dataclass(frozen=True)
class Spoil:
    """Somebody else writes to the destination: a row that is there, or one that the source does not have.

    Random histories only stamp it with the future: a stamp of the present moves the destination on, past rows that are
    still to come.
    """

    row: int | None = None
    stamp: Stamp = Stamp.FUTURE


@dataclass(frozen=True)
class Plan:
    """Plan a run; an earlier one of this number is abandoned where it is. The launcher's clock may say anything."""

    run: int = 0
    launcher_clock: datetime = datetime(2025, 7, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Stage:
    """Read and stage; once more when it was done before. With `files` it ends after so many files, and is not done."""

    run: int = 0
    files: int | None = None


@dataclass(frozen=True)
class Publish:
    """Publish; once more when it was done before. With `calls` the process dies after so many calls of BigQuery."""

    run: int = 0
    calls: int | None = None


Operation = Insert | Update | UpdateAll | SetBack | Begin | Prepare | Commit | Rollback | Spoil | Plan | Stage | Publish


def sync(run: int = 0) -> tuple[Operation, ...]:
    """Return the steps of a whole run."""
    return Plan(run), Stage(run), Publish(run)


class ViolationError(AssertionError):
    """The destination is not what it must be."""


@dataclass
class _Run:
    plan: TableSync
    files: list[StagedFile] | None = None


@dataclass
class _Transaction:
    connection: Connection
    state: str = "none"
    gid: str = ""


@dataclass
class World:
    """One source table and one dataset, used again and again: each history begins with both empty."""

    endpoints: Endpoints
    client: bigquery.Client
    connection: Connection
    database: str
    dataset: str
    staging: str
    transactions: dict[int, _Transaction] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, endpoints: Endpoints, client: bigquery.Client) -> Iterator[World]:
        name = f"histories_{uuid.uuid4().hex[:12]}"
        administrator = _connected(endpoints, endpoints.postgresql_database)
        _execute(administrator, f"CREATE DATABASE {name} TEMPLATE template0")
        client.create_dataset(name)
        connection = _connected(endpoints, name)
        world = cls(endpoints, client, connection, name, name, f"gs://{endpoints.bucket}/{name}")
        try:
            _execute(
                connection,
                "CREATE TABLE source (id int PRIMARY KEY, version int NOT NULL, note text, updated_at timestamptz)",
            )
            with _without_repeated_questions(client):
                yield world
        finally:
            world.end_transactions("ROLLBACK")
            for transaction in world.transactions.values():
                transaction.connection.close()
            connection.close()
            _execute(administrator, f"DROP DATABASE {name} WITH (FORCE)")
            administrator.close()
            client.delete_dataset(name, delete_contents=True)

    def config(self, mode: Mode, table: str) -> SyncConfig:
        endpoints = self.endpoints
        return SyncConfig.from_parameters(
            {
                **_PARAMETERS,
                **dict(mode.value),
                "postgresql_host": endpoints.postgresql_host,
                "postgresql_port": str(endpoints.postgresql_port),
                "postgresql_database": self.database,
                "postgresql_username": endpoints.postgresql_username,
                "postgresql_password": endpoints.postgresql_password,
                "destination_bigquery_project": endpoints.project,
                "destination_bigquery_dataset": self.dataset,
                "destination_bigquery_table": table,
            }
        )

    def transaction(self, number: int) -> _Transaction:
        if number not in self.transactions:
            self.transactions[number] = _Transaction(_connected(self.endpoints, self.database))
        return self.transactions[number]

    def end_transactions(self, verb: str) -> None:
        for transaction in self.transactions.values():
            end(transaction, verb)

    def play(self, history: Iterable[Operation], mode: Mode) -> int:
        """Play a history from empty tables to its last run, and return how many rows were compared.

        Raises ViolationError where the destination is not what it must be.
        """
        played = _Played(self, mode, f"t{next(self.numbers)}")
        try:
            for operation in history:
                played.do(operation)
            self.end_transactions("COMMIT")
            self._wait_until_quiet()
            return played.finish()
        finally:
            self.end_transactions("ROLLBACK")
            self._empty(played)

    def _wait_until_quiet(self) -> None:
        # A session that was just closed counts as open until its process has ended.
        while _execute(
            self.connection,
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        ):
            time.sleep(0.001)

    def _empty(self, played: _Played) -> None:
        _execute(self.connection, "TRUNCATE source")
        self.client.delete_table(played.config.destination.table_id, not_found_ok=True)
        if played.has_left_overs:
            for table in self.client.list_tables(self.dataset):
                self.client.delete_table(table.reference, not_found_ok=True)
            delete_staged_files(played.staging)


class _Played:
    """One history while it is played."""

    def __init__(self, world: World, mode: Mode, table: str) -> None:
        self.world = world
        self.mode = mode
        self.config = world.config(mode, table)
        self.staging = f"{world.staging}/{table}/"
        self.has_left_overs = False
        self._versions = itertools.count(1)
        self._rows = 0
        self._runs: dict[int, _Run] = {}
        # By key, the version that the source had reached when somebody changed the row in the destination.
        self._spoilt: dict[int, int] = {}

    def do(self, operation: Operation) -> None:
        match operation:
            case Insert(count, stamp, transaction):
                ids = range(self._rows + 1, self._rows + count + 1)
                self._rows += count
                self._write(
                    f"INSERT INTO source SELECT id, %(version)s, %(note)s, {stamp.value} FROM unnest(%(ids)s) AS id",
                    transaction,
                    ids=list(ids),
                )
            case Update(row, stamp, transaction):
                self._update("id = %(id)s", stamp, transaction, id=self._id(row))
            case UpdateAll(transaction):
                self._update("true", Stamp.NOW, transaction)
            case SetBack():
                self._update("updated_at > now()", Stamp.NOW, None)
            case Begin(transaction):
                begin(self.world.transaction(transaction))
            case Prepare(transaction):
                prepare(self.world.transaction(transaction))
            case Commit(transaction):
                end(self.world.transaction(transaction), "COMMIT")
            case Rollback(transaction):
                end(self.world.transaction(transaction), "ROLLBACK")
            case Spoil(row, stamp):
                self._spoil(row, stamp)
            case Plan(run, launcher_clock):
                self._plan(run, launcher_clock)
            case Stage(run, files):
                self._stage(run, files)
            case Publish(run, calls):
                self._publish(run, calls)

    def finish(self) -> int:
        """Make the last run, and compare."""
        (earliest_end,) = _execute(self.world.connection, "SELECT clock_timestamp()")[0]
        plan = self._plan(-1, datetime(2025, 7, 22, tzinfo=UTC))
        assert plan.interval is not None
        if plan.interval.end < earliest_end:
            raise ViolationError(f"with nobody about the end is {plan.interval.end}, before {earliest_end}")
        self._stage(-1, None)
        self._publish(-1, None)
        source = _execute(self.world.connection, "SELECT id, version, note, updated_at FROM source")
        rows = self.world.client.query_and_wait(
            f"SELECT id, version, note, updated_at FROM `{self.config.destination.table_id}` WHERE id > 0"
        )
        destination = [tuple(row.values()) for row in rows]
        if self.mode is Mode.MERGE:
            return self._compare_merged(source, destination, plan.interval.end)
        return self._compare_appended(source, destination, plan.interval.end)

    def _compare_merged(self, source: Sequence[_Row], destination: Sequence[_Row], end: datetime) -> int:
        _check(not (repeated := _repeated(row[0] for row in destination)), f"keys more than once: {repeated}")
        there = {row[0]: row for row in destination}
        unknown = there.keys() - {row[0] for row in source}
        _check(not unknown, f"keys that the source does not have: {unknown}")
        expected = [row for row in source if row[3] is None or row[3] <= end]
        # A row that somebody else changed is right again when the source has changed since.
        expected = [row for row in expected if row[1] > self._spoilt.get(row[0], 0)]
        wrong = [(row, there.get(row[0])) for row in expected if there.get(row[0]) != row]
        _check(not wrong, _differences(wrong))
        return len(expected)

    def _compare_appended(self, source: Sequence[_Row], destination: Sequence[_Row], end: datetime) -> int:
        # What somebody else wrote is nobody's version.
        destination = [row for row in destination if row[1] > 0]
        _check(not (repeated := _repeated(row[:2] for row in destination)), f"versions more than once: {repeated}")
        there = {row[:2]: row for row in destination}
        late = [row for row in destination if row[3] is None or row[3] > end]
        _check(not late, f"rows that no interval contains: {late}")
        expected = [row for row in source if row[3] is not None and row[3] <= end]
        expected = [row for row in expected if row[1] > self._spoilt.get(row[0], 0)]
        wrong = [(row, there.get(row[:2])) for row in expected if there.get(row[:2]) != row]
        _check(not wrong, _differences(wrong))
        return len(expected)

    def _id(self, row: int) -> int:
        return 1 + row % self._rows if self._rows else 0

    def _write(self, statement: str, transaction: int | None, **values: Any) -> None:
        connection = self.world.connection
        if transaction is not None:
            open_transaction = self.world.transaction(transaction)
            if open_transaction.state == "prepared":
                return
            begin(open_transaction)
            connection = open_transaction.connection
        version = next(self._versions)
        _execute(connection, statement, {**values, "version": version, "note": f"note {version}"})

    def _update(self, which: str, stamp: Stamp, transaction: int | None, **values: Any) -> None:
        # Nobody waits for a lock: the one who holds it is played by the same thread.
        self._write(
            f"UPDATE source SET version = %(version)s, note = %(note)s, updated_at = {stamp.value} "
            f"WHERE id IN (SELECT id FROM source WHERE {which} FOR UPDATE SKIP LOCKED)",
            transaction,
            **values,
        )

    def _spoil(self, row: int | None, stamp: Stamp) -> None:
        table_id = self.config.destination.table_id
        if not any(self.world.client.list_tables(self.world.dataset)):
            return
        updated_at = {Stamp.NOW: "CURRENT_TIMESTAMP()", Stamp.FUTURE: "TIMESTAMP '2099-01-01 00:00:00+00'"}[stamp]
        if row is None:
            statement = f"INSERT INTO `{table_id}` (id, version, updated_at) VALUES (-1, 0, {updated_at})"
        else:
            self._spoilt[self._id(row)] = next(self._versions)
            statement = f"UPDATE `{table_id}` SET version = 0, updated_at = {updated_at} WHERE id = {self._id(row)}"
        self.world.client.query_and_wait(statement)

    def _plan(self, run: int, launcher_clock: datetime) -> TableSync:
        source = open_source(self.config)
        plan = make_plan(self.config, source, self.world.client, self.staging, launcher_clock).tables[0]
        abandoned = self._runs.get(run)
        self.has_left_overs |= abandoned is not None and abandoned.files is not None
        self._runs[run] = _Run(plan)
        return plan

    def _stage(self, number: int, files: int | None) -> None:
        run = self._runs.get(number)
        if run is None:
            return
        batches = list(read_rows(run.plan))
        # A file for each batch.
        staged = [file for batch in batches[:files] for file in write_batches([batch], rows_target(run.plan))]
        self.has_left_overs |= files is not None
        if files is None:
            run.files = staged

    def _publish(self, number: int, calls: int | None) -> None:
        run = self._runs.get(number)
        if run is None or run.files is None:
            return
        if calls is None:
            publish(self.world.client, run.plan, run.files)
            return
        self.has_left_overs = True
        with contextlib.suppress(KilledError):
            publish(DyingClient(self.world.client, calls), run.plan, run.files)  # type: ignore[arg-type]


_Row = tuple[Any, ...]


def begin(transaction: _Transaction) -> None:
    if transaction.state == "none":
        _execute(transaction.connection, "BEGIN")
        transaction.state = "open"


def prepare(transaction: _Transaction) -> None:
    if transaction.state == "open":
        transaction.gid = uuid.uuid4().hex
        _execute(transaction.connection, f"PREPARE TRANSACTION '{transaction.gid}'")
        transaction.state = "prepared"


def end(transaction: _Transaction, verb: str) -> None:
    if transaction.state == "open":
        _execute(transaction.connection, verb)
    if transaction.state == "prepared":
        _execute(transaction.connection, f"{verb} PREPARED '{transaction.gid}'")
    transaction.state = "none"


def _connected(endpoints: Endpoints, database: str) -> Connection:
    connection = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=database))
    connection.autocommit = True
    return connection


def _execute(connection: Connection, statement: str, values: Mapping[str, Any] | None = None) -> list[_Row]:
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


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise ViolationError(problem)


def _differences(wrong: Iterable[tuple[_Row, _Row | None]]) -> str:
    lines = (f"source {_shown(row)}, destination {_shown(there)}" for row, there in wrong)
    return "rows that differ:\n" + "\n".join(lines)


def _shown(row: _Row | None) -> str:
    return "has none" if row is None else f"id={row[0]} version={row[1]} updated_at={row[3]}"
