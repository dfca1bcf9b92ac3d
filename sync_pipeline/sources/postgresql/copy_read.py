"""Reading: one COPY per partition, streamed into record batches."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from psycopg2.extensions import connection as Connection

from sync_pipeline.config import PostgresqlConfig
from sync_pipeline.errors import SourceError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.postgresql.connection import connected, translated_errors
from sync_pipeline.sources.postgresql.csv_batches import parse_rows
from sync_pipeline.sources.source import Partition

_LOGGER = logging.getLogger(__name__)

# Rows are parsed in chunks of about this many bytes: large enough that a chunk's fixed cost vanishes, small
# enough that a worker holds only a few of them.
CHUNK_BYTES = 4 * 1024 * 1024

# Chunks that wait between the connection and the parser: one is parsed while the next arrives.
WAITING_CHUNKS = 2

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class _Chunk:
    text: bytes
    rows: int


class _ChunkWriter:
    """The file COPY writes to. libpq hands over one whole row a call, so chunks are cut between rows.

    https://www.postgresql.org/docs/current/libpq-copy.html: "Data is always returned one data row at a time".
    """

    def __init__(self, chunks: queue.Queue[_Chunk | BaseException | None], abandoned: threading.Event) -> None:
        self._chunks = chunks
        self._abandoned = abandoned
        self._rows: list[bytes] = []
        self._bytes = 0

    def write(self, row: bytes) -> None:
        self._rows.append(row)
        self._bytes += len(row)
        if self._bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        chunk = _Chunk(b"".join(self._rows), len(self._rows))
        self._rows, self._bytes = [], 0
        _put(self._chunks, chunk, self._abandoned)


class _AbandonedError(Exception):
    """The reader went away, so the rest of the COPY is not wanted."""


def _put(chunks: queue.Queue[Any], item: Any, abandoned: threading.Event) -> None:
    while not abandoned.is_set():
        try:
            return chunks.put(item, timeout=0.5)
        except queue.Full:
            continue
    raise _AbandonedError


def copy_batches(connection: Connection, statement: str, schema: Schema, batch_size: int) -> Iterator[pa.RecordBatch]:
    """Run `COPY (statement) TO STDOUT` and yield its rows, in order, as batches of `schema.arrow`.

    At most `batch_size` rows are in a batch, and about four chunks of rows are in memory at a time.
    Raises SourceError when the read fails, RecordError when a value does not fit.
    """
    chunks: queue.Queue[_Chunk | BaseException | None] = queue.Queue(WAITING_CHUNKS)
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
        except BaseException as error:
            with contextlib.suppress(_AbandonedError):
                _put(chunks, error, abandoned)

    receiver = threading.Thread(target=receive, name="copy", daemon=True)
    receiver.start()
    try:
        while (chunk := chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            table = parse_rows(chunk.text, schema)
            if table.num_rows != chunk.rows:
                raise SourceError(f"PostgreSQL sent {chunk.rows} rows, {table.num_rows} were parsed: nothing is loaded")
            yield from table.to_batches(max_chunksize=batch_size)
    finally:
        abandoned.set()
        if receiver.is_alive():
            # Closing alone would wait for the rest of the COPY.
            connection.cancel()
        receiver.join()


@dataclass
class ReadFromPostgresql(beam.PTransform):  # type: ignore[misc]
    """Read `Partition`s into `pyarrow.RecordBatch`es with `schema.arrow`, one connection for each.

    Attributes:
        config: where PostgreSQL is.
        schema: the columns the statements of the partitions select, in their order.
        batch_size: the largest number of rows in one batch.
        max_retries: how often connecting is tried again.
    """

    config: PostgresqlConfig
    schema: Schema
    batch_size: int
    max_retries: int

    def expand(self, partitions: beam.PCollection[Partition]) -> beam.PCollection[pa.RecordBatch]:
        return partitions | "ReadPartition" >> beam.ParDo(
            _ReadPartitionFn(self.config, self.schema, self.batch_size, self.max_retries)
        )


class _ReadPartitionFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: PostgresqlConfig, schema: Schema, batch_size: int, max_retries: int) -> None:
        self._config = config
        self._schema = schema
        self._batch_size = batch_size
        self._max_retries = max_retries
        self._rows_read = Metrics.counter(ReadFromPostgresql, "rows_read")

    def process(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        progress = _Progress(partition)
        # Only connecting is retried: once rows have left, the runner has to repeat the whole bundle.
        with connected(self._config, self._max_retries) as connection:
            for batch in copy_batches(connection, partition.statement, self._schema, self._batch_size):
                self._rows_read.inc(batch.num_rows)
                progress.add(batch.num_rows)
                yield batch
        progress.finish()


class _Progress:
    """Logs one line every few seconds, so that a person sees the read move."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._rows = 0
        self._began = self._logged = time.monotonic()

    def add(self, rows: int) -> None:
        self._rows += rows
        if time.monotonic() - self._logged >= PROGRESS_SECONDS:
            self._log("reading")

    def finish(self) -> None:
        self._log("read")

    def _log(self, verb: str) -> None:
        self._logged = time.monotonic()
        rate = self._rows / max(self._logged - self._began, 1e-3)
        _LOGGER.info(
            "%s partition %d of %d: %s rows, %s rows/s",
            verb,
            self._partition.index,
            self._partition.count,
            f"{self._rows:,}",
            f"{rate:,.0f}",
        )
