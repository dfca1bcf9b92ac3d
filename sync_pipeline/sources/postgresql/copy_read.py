"""Reading: one COPY per read split, streamed into record batches."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import psycopg2
import pyarrow as pa
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.postgresql.binary_columns import described_copy
from sync_pipeline.sources.postgresql.binary_rows import PADDING, Rows, first_row, is_trailer
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.idle_connections import close_idle, lent
from sync_pipeline.sources.postgresql.snapshot import imported, snapshot_of
from sync_pipeline.sources.postgresql.wal_position import PositionedSplit, WalPosition
from sync_pipeline.sources.prefetch import prefetched
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import DeadLetter, ReadSplit, SplitReader

# Approximate size of a chunk of rows, in bytes: large enough to amortise the fixed cost of parsing, small enough to
# keep a few chunks in a worker's memory.
CHUNK_BYTES = 4 * 1024 * 1024

# Size of the queue between connection and parser: one chunk is parsed while the next arrives.
WAITING_CHUNKS = 2


class RowsWriter:
    """The file object that COPY writes to. libpq passes one complete row per call, so each row's place is known.

    https://www.postgresql.org/docs/current/libpq-copy.html: "Data is always returned one data row at a time". The first
    row comes with the header, and the trailer comes as a row of its own. Where rows were passed otherwise, their fields
    would not end where they do, and the read would fail.
    """

    def __init__(self, put: Callable[[Rows], None]) -> None:
        self._put = put
        self._rows = 0
        self._has_begun = self._has_ended = False
        self._data, self._ends = BytesIO(), array("q", [0])
        # Chunks whose rows are read by now lend their memory to later ones: new memory costs the system time.
        self._lent: list[BytesIO] = []
        received = self._receive()
        next(received)
        # Resuming a generator costs less than calling a method, and its variables stay at hand from row to row.
        self.write = received.send

    def finish(self, sent: int) -> None:
        """Pass the last rows on. Raises SourceError unless `sent` rows and the trailer came."""
        self._flush()
        if not self._has_ended or self._rows != sent:
            raise SourceError(
                f"row count mismatch: PostgreSQL sent {sent:,} rows, {self._rows:,} arrived: nothing was loaded"
            )

    def _receive(self) -> Generator[None, bytes]:
        """Take one row after the other."""
        while True:
            append, append_end, end = self._data.write, self._ends.append, 0
            while end < CHUNK_BYTES:
                # The only Python code that runs for each row. Appending at once uses the row while it is in the CPU's
                # cache.
                end += append((yield))
                append_end(end)
            self._flush()

    def _free(self) -> BytesIO:
        """Return memory that nobody looks at any more."""
        for place, data in enumerate(self._lent):
            # Python refuses this while there is a view of it.
            with contextlib.suppress(BufferError):
                data.truncate(len(data.getbuffer()))
                data.seek(0)
                return self._lent.pop(place)
        return BytesIO()

    def _flush(self) -> None:
        size = self._ends[-1]
        if not size:
            return
        self._data.write(PADDING)
        content, bounds = self._data.getbuffer(), self._ends
        self._lent.append(self._data)
        self._data, self._ends = self._free(), array("q", [0])
        if not self._has_begun:
            bounds[0] = first_row(content[:size])
            self._has_begun = True
            if bounds[0] == bounds[1]:
                bounds.pop(0)
        if len(bounds) > 1 and is_trailer(content[bounds[-2] : size]):
            bounds.pop()
            self._has_ended = True
        if len(bounds) > 1:
            self._rows += len(bounds) - 1
            padded = content[: size + len(PADDING)]
            self._put(Rows(np.frombuffer(padded, np.uint8), np.frombuffer(bounds, np.int64)))


def copied_parts(connection: Connection, statement: str, schema: Schema) -> Generator[pa.Table | DeadLetter]:
    """Run `COPY (statement) TO STDOUT` and yield its rows, in order, as tables of `schema.arrow` and dead letters.

    About four chunks of rows are in memory at a time.

    The transaction must be READ COMMITTED, or have its locks already (`snapshot.imported`). Its first statement
    describes the columns and waits for the locks on the tables, which then stay until the end. Only the COPY, the
    second statement, sees rows: whoever waits for a TRUNCATE or a rewriting ALTER TABLE, and looked at the database
    before that committed, finds the table empty.

    Raises:
        SourceError: the read fails.
    """
    with translated_errors(), connection.cursor() as cursor:
        copy = described_copy(cursor, statement, schema)
    for rows in _copied_rows(connection, copy.statement):
        yield from copy.parts(rows)


def _copied_rows(connection: Connection, statement: str) -> Iterator[Rows]:
    """Yield the rows of the COPY as they arrive, some at a time."""

    def receive(put: Callable[[Rows], None]) -> None:
        writer = RowsWriter(put)
        with translated_errors(), connection.cursor() as cursor:
            cursor.copy_expert(f"COPY (\n{statement}\n) TO STDOUT (FORMAT binary)", writer)
            writer.finish(cursor.rowcount)

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
        in_snapshot = snapshot_of(split)
        with (
            lent(self.config, self.max_retries, _position(split))
            if in_snapshot is None
            else imported(in_snapshot, self.config, self.max_retries) as connection,
            contextlib.closing(copied_parts(connection, split.statement, self.schema)) as parts,
        ):
            yield from parts

    def close_idle(self) -> None:
        """Close this thread's connection."""
        close_idle()


def _position(split: ReadSplit) -> WalPosition | None:
    return split.position if isinstance(split, PositionedSplit) else None


class ReadFromPostgresql(ReadRows):
    """Read `ReadSplit`s into `pyarrow.RecordBatch`es."""
