"""What a run asks of SQLite, at launch and on the workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import pyarrow as pa

from sync_pipeline.errors import SourceQueryError, SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import BEGINNING, SyncInterval
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.csv_batches import checked_parts
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import DeadLetter, ReadPlan, ReadSplit, SourceClock, SourceDescription, SplitReader
from tests.sqlite_source import SqliteConfig

# By the declared type, without its length. A column of another one is loaded as text.
SQLITE_TYPES = {"INTEGER": "INT64", "REAL": "FLOAT64", "BLOB": "BYTES", "DATE": "DATE", "TIMESTAMP": "TIMESTAMP"}
SQLITE_TYPES |= {"BOOLEAN": "BOOL", "DECIMAL": "NUMERIC", "JSON": "JSON"}

# What is selected, where that is not the value itself: the text that `csv_batches` reads.
_TEXTS = {
    "BYTES": "CASE WHEN {0} IS NOT NULL THEN hex({0}) END",
    "BOOL": "CASE {0} WHEN 1 THEN 't' WHEN 0 THEN 'f' ELSE {0} END",
    "TIMESTAMP": "{0}||'+00'",
}

_RISK = "SQLite does not tell of open transactions: rows that one stamps early and commits late may be missed"


@contextmanager
def connected(file: str) -> Iterator[sqlite3.Connection]:
    """Open the database for reading. Translates errors, also of what is done meanwhile."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        is_transient = error.sqlite_errorname in ("SQLITE_CANTOPEN", "SQLITE_BUSY")
        kind = SourceUnavailableError if is_transient else SourceQueryError
        raise kind(f"SQLite: {error}: correct sqlite_file or sqlite_query, or run again later") from None


@dataclass(frozen=True)
class SqliteSession:
    query: IntervalQuery
    connection: sqlite3.Connection
    clock: SourceClock

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        self.connection.execute(f"CREATE TEMP VIEW described AS {self.query.at(BEGINNING)}")
        columns = [(name, kind) for _, name, kind, *_ in self.connection.execute("PRAGMA table_info(described)")]
        check_names(name for name, _ in columns)
        types = [(name, kind, SQLITE_TYPES.get(kind.partition("(")[0].upper(), "STRING")) for name, kind in columns]
        return SourceDescription(Schema(tuple(Field(name, type_, source_type=kind) for name, kind, type_ in types)))

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        conditions = self.query.conditions(interval, '"{}"'.format)
        rows = f"({self.query.of(interval)}){''.join(f' WHERE {condition}' for condition in conditions)}"
        texts = [_TEXTS.get(field.type, "{0}").format(f'"{field.name}"') for field in schema]
        return ReadPlan(f"SELECT * FROM {rows}", (ReadSplit(1, 1, f"SELECT {', '.join(texts)} FROM {rows}"),))


@dataclass(frozen=True)
class SqliteReader(SplitReader):
    file: str
    schema: Schema

    def read(self, split: ReadSplit) -> Generator[pa.Table | DeadLetter]:
        with connected(self.file) as connection:
            rows = connection.execute(split.statement)
            yield from checked_parts((tuple(map(_text, row)) for row in rows), self.schema)


def _text(value: object) -> str | None:
    return value.hex() if isinstance(value, bytes) else None if value is None else str(value)


class ReadFromSqlite(ReadRows):
    pass


@dataclass(frozen=True)
class SqliteSource:
    config: SyncConfig
    sqlite: SqliteConfig
    transform: ClassVar = ReadFromSqlite

    @contextmanager
    def connect(self) -> Iterator[SqliteSession]:
        smart_sync = self.config.smart_sync
        with connected(self.sqlite.file) as connection:
            (text,) = connection.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
            now = datetime.fromisoformat(text).replace(tzinfo=UTC)
            clock = SourceClock(now, now - smart_sync.settle, risks=(_RISK,)) if smart_sync else SourceClock(now, now)
            yield SqliteSession(IntervalQuery(self.sqlite.query, smart_sync), connection, clock)

    def reader(self, schema: Schema) -> SqliteReader:
        return SqliteReader(self.sqlite.file, schema)


def open_source(config: SyncConfig) -> SqliteSource:
    return SqliteSource(config, config.source)
