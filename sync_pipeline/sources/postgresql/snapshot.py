"""One snapshot of the database for all splits of a read, while this process keeps it.

A connection that stays open exports the snapshot; each split imports it, and so sees the same versions of the rows. The
connection also locks the table against what would move its rows (VACUUM FULL, TRUNCATE, a rewriting ALTER TABLE), as a
split finds them by their place. If it is lost, splits that begin later cannot import the snapshot, and the run fails.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError, SourceUnavailableError
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import opened, settings_sql, translated_errors
from sync_pipeline.sources.postgresql.wal_position import PositionedSplit, begin_at
from sync_pipeline.sources.source import ReadPlan, ReadSplit

_LOGGER = logging.getLogger(__name__)

# The connection is idle while the splits are read, which a setting of the server may limit.
_STAY_SQL = "SET LOCAL idle_in_transaction_session_timeout = 0"

# The server's process and the table's file: another server may have a snapshot of the same name, and in another file
# the rows are at other places.
_PLACE_SQL = "SELECT pg_postmaster_start_time()::text, pg_relation_filenode(%(table)s::regclass)"

_LOST = (
    "PostgreSQL: the snapshot that all splits read is lost, because the connection that kept it has ended, or another "
    "server answered: nothing was loaded. Run the job again, or read with one statement by num_partitions=1"
)


@dataclass(frozen=True)
class Snapshot:
    """An exported snapshot.

    Attributes:
        name: the server's name for it.
        place: what `_PLACE_SQL` found when it was exported.
    """

    name: str
    place: tuple[str, int]


@dataclass(frozen=True)
class SnapshotSplit(PositionedSplit):
    """A split that must see the same snapshot as the others of its read.

    Attributes:
        table: the table that it reads, as SQL.
        whole: the statement that reads what all splits read together.
        snapshot: None until it is exported.
    """

    table: str = ""
    whole: str = ""
    snapshot: Snapshot | None = None


@contextlib.contextmanager
def held(read: ReadPlan, config: PostgresqlConfig, max_retries: int) -> Iterator[ReadPlan]:
    """Export a snapshot and yield the read with it; keep it until the end. Another read is yielded as it is.

    Where the server exports no snapshot, or it cannot be imported, the read is one statement, which needs none.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection.
    """
    splits = [split for split in read.splits if isinstance(split, SnapshotSplit)]
    if not splits:
        yield read
        return
    first = splits[0]
    # Each statement sees what is committed when it begins: the snapshot is younger than the lock.
    keeper = opened(config, max_retries, "READ COMMITTED")
    try:
        snapshot = _exported(keeper, first, config)
        if snapshot is not None and _is_importable(first, snapshot, config, max_retries):
            yield replace(read, splits=tuple(replace(split, snapshot=snapshot) for split in splits))
        else:
            # Nothing needs to be kept.
            keeper.close()
            _LOGGER.info("read: one split, as the server does not share a snapshot between connections")
            yield replace(read, splits=(PositionedSplit(1, 1, first.whole, first.position),))
    finally:
        keeper.close()


@contextlib.contextmanager
def imported(split: SnapshotSplit, config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Begin a read-only transaction in UTC that sees the split's snapshot, with a lock on its table.

    Raises:
        SourceUnavailableError: the server cannot be reached, or the snapshot is lost.
        SourceQueryError: the server rejected the connection.
    """
    assert split.snapshot is not None, "`held` gives it"
    connection = opened(config, max_retries, "REPEATABLE READ")
    try:
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{split.snapshot.name}'; {settings_sql()}")
            except psycopg2.Error:
                raise SourceUnavailableError(_LOST) from None
        if _locked_place(connection, split.table) != split.snapshot.place:
            raise SourceUnavailableError(_LOST)
        yield connection
    finally:
        connection.close()


def snapshot_of(split: ReadSplit) -> SnapshotSplit | None:
    """Return the split if it must see a snapshot, else None."""
    return split if isinstance(split, SnapshotSplit) else None


def _exported(keeper: Connection, split: SnapshotSplit, config: PostgresqlConfig) -> Snapshot | None:
    begin_at(keeper, split.position, config)
    with translated_errors(), keeper.cursor() as cursor:
        cursor.execute(_STAY_SQL)
    place = _locked_place(keeper, split.table)
    with keeper.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_export_snapshot()")
        except psycopg2.Error:
            return None
        return Snapshot(cursor.fetchone()[0], place)


def _locked_place(connection: Connection, table: str) -> tuple[str, int]:
    """Lock a table as a read does, until the end of the transaction, and return where its rows are."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(f"SELECT FROM {table} LIMIT 0")
        cursor.execute(_PLACE_SQL, {"table": table})
        started, file = cursor.fetchone()
        return started, file


def _is_importable(split: SnapshotSplit, snapshot: Snapshot, config: PostgresqlConfig, max_retries: int) -> bool:
    try:
        with imported(replace(split, snapshot=snapshot), config, max_retries):
            return True
    except SourceError:
        return False
