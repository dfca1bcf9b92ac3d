"""Reading: one COPY per read split, streamed into record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import psycopg2
import pyarrow as pa
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.csv_batches import parse_rows, separate_rejected, split_rows
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.idle_connections import close_idle, lent
from sync_pipeline.sources.postgresql.texts import POSTGRESQL_TEXTS
from sync_pipeline.sources.prefetch import prefetched
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import DeadLetter, ReadSplit, SplitReader

# Approximate size of a chunk of rows, in bytes: large enough to amortise the fixed cost of parsing, small enough to
# keep a few chunks in a worker's memory.
CHUNK_BYTES = 4 * 1024 * 1024

# Size of the queue between connection and parser: one chunk is parsed while the next arrives.
WAITING_CHUNKS = 2


@dataclass(frozen=True)
class _Chunk:
    """Complete rows of CSV, and their number."""

    text: bytearray
    rows: int

    def split(self) -> list[bytes]:
        """Return the rows separately, to parse them one by one."""
        rows = split_rows(self.text)
        if len(rows) != self.rows:
            raise _miscounted(self.rows, len(rows))
        return rows


class _ChunkWriter:
    """The file object that COPY writes to. libpq passes one complete row per call, so chunks end between rows.

    https://www.postgresql.org/docs/current/libpq-copy.html: "Data is always returned one data row at a time".
    """

    def __init__(self, put: Callable[[_Chunk], None]) -> None:
        self._put = put
        self._text = bytearray()
        self._rows = 0

    def write(self, row: bytes) -> None:
        # The only Python code that runs for each row. Appending at once uses the row while it is in the CPU's cache.
        self._text += row
        self._rows += 1
        if len(self._text) >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        chunk = _Chunk(self._text, self._rows)
        self._text, self._rows = bytearray(), 0
        self._put(chunk)


def copied_parts(connection: Connection, statement: str, schema: Schema) -> Generator[pa.Table | DeadLetter]:
    """Run `COPY (statement) TO STDOUT` and yield its rows, in order, as tables of `schema.arrow` and dead letters.

    About four chunks of rows are in memory at a time.

    Raises:
        SourceError: the read fails.
    """
    for chunk in _copied_chunks(connection, statement):
        yield from _parts(chunk, schema)


def _parts(chunk: _Chunk, schema: Schema) -> Iterator[pa.Table | DeadLetter]:
    """Yield the rows of the chunk, in order. Parses rows one by one only if some are invalid."""
    table = parse_rows(chunk.text, schema, POSTGRESQL_TEXTS)
    if table is None:
        yield from separate_rejected(chunk.split(), schema, POSTGRESQL_TEXTS)
        return
    if table.num_rows != chunk.rows:
        raise _miscounted(chunk.rows, table.num_rows)
    yield table


def _miscounted(sent: int, parsed: int) -> SourceError:
    return SourceError(f"row count mismatch: PostgreSQL sent {sent} rows, {parsed} were parsed: nothing was loaded")


def _copied_chunks(connection: Connection, statement: str) -> Iterator[_Chunk]:
    """Yield the rows of the COPY as they arrive, some at a time."""

    def receive(put: Callable[[_Chunk], None]) -> None:
        writer = _ChunkWriter(put)
        with translated_errors(), connection.cursor() as cursor:
            cursor.copy_expert(f"COPY (\n{statement}\n) TO STDOUT (FORMAT csv)", writer)
            writer.flush()

    def stop() -> None:
        # Closing alone would wait for the rest of the COPY. Where the server cannot be reached there is none.
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()

    return prefetched(receive, WAITING_CHUNKS, stop)


@dataclass(frozen=True)
class CopyReader(SplitReader):
    """Reads a split by one COPY. One connection serves the splits that a thread reads one after the other.

    Attributes:
        config: where PostgreSQL is.
        schema: the columns the statements of the splits select, in their order.
        max_retries: how often connecting is tried again.
    """

    config: PostgresqlConfig
    schema: Schema
    max_retries: int

    def read(self, split: ReadSplit) -> Generator[pa.Table | DeadLetter]:
        """Yield the rows of the split. Only connecting is retried."""
        with (
            lent(self.config, self.max_retries) as connection,
            contextlib.closing(copied_parts(connection, split.statement, self.schema)) as parts,
        ):
            yield from parts

    def close_idle(self) -> None:
        """Close this thread's connection."""
        close_idle()


class ReadFromPostgresql(ReadRows):
    """Read `ReadSplit`s into `pyarrow.RecordBatch`es."""
