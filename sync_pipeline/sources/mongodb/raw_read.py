"""Reading: one find per partition, streamed as raw BSON and turned into record batches."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from pymongo.collection import Collection

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.failures import FAILURES, CatchFinalErrors
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_scan import Documents, MalformedBsonError
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import Document, connected, translated_errors
from sync_pipeline.sources.mongodb.splits import Find
from sync_pipeline.sources.reading import RowRouter, batches_and_dead_letters
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, DeadLetter, ReadSplit

# The server's batches (16 MB) that wait between the connection and the conversion: one is converted while the next
# arrives.
WAITING_BATCHES = 1

# Documents are converted in parts of about this many bytes: so many that a part's fixed cost vanishes, so few that they
# stay in the processor's cache.
PART_BYTES = 4 * 1024 * 1024

# Raw documents, or how the read ended: None, or the error that ended it.
_Message = bytes | BaseException | None


def find_batches(
    collection: Collection[Document],
    config: MongodbConfig,
    find: Find,
    columns: DocumentColumns,
    batch_size: int,
    *,
    keeps_dead_letters: bool = False,
) -> Iterator[pa.RecordBatch | DeadLetter]:
    """Run the find and yield its documents as batches of `columns.schema.arrow`, at most `batch_size` rows in each.

    A document with a value that does not fit is yielded as a `DeadLetter` where these are kept; else RecordError is
    raised, after a look at how many there are. Raises SourceError when the read fails.
    """
    parts = _parts(_raw_batches(collection, config, find), columns)
    yield from batches_and_dead_letters(parts, batch_size, "documents", keeps_dead_letters=keeps_dead_letters)


def _parts(raw_batches: Iterator[bytes], columns: DocumentColumns) -> Iterator[pa.Table | DeadLetter]:
    """Yield the documents as tables, each behind those that do not fit."""
    try:
        for raw in raw_batches:
            for documents in Documents.of(raw).parts(PART_BYTES):
                table, letters = read_documents(documents, columns)
                yield from letters
                yield table
    except MalformedBsonError:
        raise SourceUnavailableError("MongoDB sent bytes that are no BSON: run the job again") from None


class _AbandonedError(Exception):
    """The reader went away, so the rest is not wanted."""


def _raw_batches(collection: Collection[Document], config: MongodbConfig, find: Find) -> Iterator[bytes]:
    """Yield the documents as they arrive, many at a time, one behind another."""
    batches: queue.Queue[_Message] = queue.Queue(WAITING_BATCHES)
    abandoned = threading.Event()

    def put(item: _Message) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                return batches.put(item, timeout=0.5)
        raise _AbandonedError

    def receive() -> None:
        try:
            with translated_errors(config, is_reading=True), collection.find_raw_batches(**find.arguments) as cursor:
                # Raw, whatever the driver's signature says.
                raw: Any
                for raw in cursor:
                    put(raw)
            put(None)
        except _AbandonedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads
            with contextlib.suppress(_AbandonedError):
                put(error)

    receiver = threading.Thread(target=receive, name="find", daemon=True)
    receiver.start()
    try:
        while isinstance(batch := batches.get(), bytes):
            yield batch
        if batch is not None:
            raise batch
    finally:
        abandoned.set()
        receiver.join()


@dataclass
class ReadFromMongodb(beam.PTransform):
    """Read `Partition`s into `pyarrow.RecordBatch`es with `columns.schema.arrow`, one connection for each.

    Attributes:
        config: where the collection is.
        columns: what the documents are read into.
        batch_size: the largest number of rows in one batch.
        max_retries: how often connecting is tried again.
        keeps_dead_letters: a document that does not fit is an element of `DEAD_LETTERS`, instead of an error.
        run_id: see `CatchFinalErrors`.
    """

    config: MongodbConfig
    columns: DocumentColumns
    batch_size: int
    max_retries: int
    keeps_dead_letters: bool = False
    run_id: str = ""

    def expand(self, splits: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        """Turn ReadSplits into RecordBatches, DeadLetters and Failures."""
        read = beam.ParDo(CatchFinalErrors(_ReadSplitFn(self), self.run_id)).with_output_types(pa.RecordBatch)
        return splits | "ReadSplit" >> read.with_outputs(DEAD_LETTERS, FAILURES, main=BATCHES)


class _ReadSplitFn(beam.DoFn):
    def __init__(self, read: ReadFromMongodb) -> None:
        self._config = read.config
        self._columns = read.columns
        self._batch_size = read.batch_size
        self._max_retries = read.max_retries
        self._keeps_dead_letters = read.keeps_dead_letters
        self._output = RowRouter(ReadFromMongodb)

    def process(self, split: ReadSplit) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        # Only connecting is retried: once rows have left, the runner has to repeat the whole bundle.
        with connected(self._config, self._max_retries) as collection:
            parts = find_batches(
                collection,
                self._config,
                Find.from_statement(split.statement),
                self._columns,
                self._batch_size,
                keeps_dead_letters=self._keeps_dead_letters,
            )
            yield from self._output.of(split, parts)
