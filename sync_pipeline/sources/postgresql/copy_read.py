"""Reading: one COPY per read split, streamed into record batches."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import psycopg2
import pyarrow as pa
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import RecordError, SourceError
from sync_pipeline.failures import FAILURES, CatchFinalErrors
from sync_pipeline.schema import Schema
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import connected, translated_errors
from sync_pipeline.sources.postgresql.csv_batches import parse_rows, separate_misfits, split_rows
from sync_pipeline.sources.reading import RowRouter, batches_and_dead_letters
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, DeadLetter, ReadSplit

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


# A chunk, or the end of the COPY: None, or the error that ended it.
_Message = _Chunk | BaseException | None


class _ChunkWriter:
    """The file object that COPY writes to. libpq passes one complete row per call, so chunks end between rows.

    https://www.postgresql.org/docs/current/libpq-copy.html: "Data is always returned one data row at a time".
    """

    def __init__(self, chunks: queue.Queue[_Message], abandoned: threading.Event) -> None:
        self._chunks = chunks
        self._abandoned = abandoned
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
        _put(self._chunks, chunk, self._abandoned)


class _AbandonedError(Exception):
    """The consumer stopped reading, so the COPY can end."""


def _put(chunks: queue.Queue[Any], item: Any, abandoned: threading.Event) -> None:
    while not abandoned.is_set():
        try:
            return chunks.put(item, timeout=0.5)
        except queue.Full:
            continue
    raise _AbandonedError


def copy_batches(
    connection: Connection, statement: str, schema: Schema, batch_size: int, *, keeps_dead_letters: bool = False
) -> Iterator[pa.RecordBatch | DeadLetter]:
    """Run `COPY (statement) TO STDOUT` and yield its rows, in order, as batches of `schema.arrow`.

    A batch has at most `batch_size` rows. About four chunks of rows are in memory at a time. With
    `keeps_dead_letters`, a row with an invalid value is yielded as a `DeadLetter`.

    Raises:
        RecordError: rows have invalid values, without `keeps_dead_letters`. Counts further such rows first.
        SourceError: the read fails.
    """
    parts = (part for chunk in _copied_chunks(connection, statement) for part in _parts(chunk, schema))
    yield from batches_and_dead_letters(parts, batch_size, "rows", keeps_dead_letters=keeps_dead_letters)


def _parts(chunk: _Chunk, schema: Schema) -> Iterator[pa.Table | DeadLetter]:
    """Yield the rows of the chunk, in order. Parses rows one by one only if some are invalid."""
    try:
        table = parse_rows(chunk.text, schema)
    except RecordError:
        yield from separate_misfits(chunk.split(), schema)
        return
    if table.num_rows != chunk.rows:
        raise _miscounted(chunk.rows, table.num_rows)
    yield table


def _miscounted(sent: int, parsed: int) -> SourceError:
    return SourceError(f"row count mismatch: PostgreSQL sent {sent} rows, {parsed} were parsed: nothing was loaded")


def _copied_chunks(connection: Connection, statement: str) -> Iterator[_Chunk]:
    """Yield the rows of the COPY in chunks, as they arrive."""
    chunks: queue.Queue[_Message] = queue.Queue(WAITING_CHUNKS)
    abandoned = threading.Event()

    def receive() -> None:
        try:
            writer = _ChunkWriter(chunks, abandoned)
            with translated_errors(), connection.cursor() as cursor:
                cursor.copy_expert(f"COPY (\n{statement}\n) TO STDOUT (FORMAT csv)", writer)
                writer.flush()
            _put(chunks, None, abandoned)
        except _AbandonedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads
            with contextlib.suppress(_AbandonedError):
                _put(chunks, error, abandoned)

    receiver = threading.Thread(target=receive, name="copy", daemon=True)
    receiver.start()
    is_copying = True
    try:
        while isinstance(chunk := chunks.get(), _Chunk):
            yield chunk
        is_copying = False
        if chunk is not None:
            raise chunk
    finally:
        abandoned.set()
        if is_copying:
            # close() alone would wait for the rest of the COPY. cancel() fails only if the server is unreachable.
            with contextlib.suppress(psycopg2.Error):
                connection.cancel()
        receiver.join()


@dataclass
class ReadFromPostgresql(beam.PTransform):
    """Reads `ReadSplit`s into `pyarrow.RecordBatch`es with `schema.arrow`, over one connection each.

    Attributes:
        config: the connection parameters.
        schema: the columns that the statements of the splits select, in order.
        batch_size: maximum number of rows in a batch.
        max_retries: how often to retry connecting.
        keeps_dead_letters: emit an invalid row to the output `DEAD_LETTERS` instead of raising an error.
        run_id: see `CatchFinalErrors`.
    """

    config: PostgresqlConfig
    schema: Schema
    batch_size: int
    max_retries: int
    keeps_dead_letters: bool = False
    run_id: str = ""

    def expand(self, splits: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        """Read the splits into RecordBatches, DeadLetters and Failures."""
        read = beam.ParDo(CatchFinalErrors(_ReadSplitFn(self), self.run_id)).with_output_types(pa.RecordBatch)
        return splits | "ReadSplit" >> read.with_outputs(DEAD_LETTERS, FAILURES, main=BATCHES)


class _ReadSplitFn(beam.DoFn):
    def __init__(self, read: ReadFromPostgresql) -> None:
        self._config = read.config
        self._schema = read.schema
        self._batch_size = read.batch_size
        self._max_retries = read.max_retries
        self._keeps_dead_letters = read.keeps_dead_letters
        self._output = RowRouter(ReadFromPostgresql)

    def process(self, split: ReadSplit) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        # Retries only connecting: after the first rows are emitted, the runner has to repeat the whole bundle.
        with connected(self._config, self._max_retries) as connection:
            parts = copy_batches(
                connection,
                split.statement,
                self._schema,
                self._batch_size,
                keeps_dead_letters=self._keeps_dead_letters,
            )
            yield from self._output.of(split, parts)
