"""Reading: one find per partition, streamed as raw BSON and turned into record batches."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from pymongo.collection import Collection

from sync_pipeline.config import MongodbConfig
from sync_pipeline.errors import RecordError, SourceUnavailableError
from sync_pipeline.read_progress import ReadProgress
from sync_pipeline.source import BATCHES, DEAD_LETTERS, DeadLetter, Partition
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_elements import Documents, MalformedBsonError
from sync_pipeline.sources.mongodb.connection import Document, connected, translated_errors
from sync_pipeline.sources.mongodb.partitions import Find

# The server's batches (16 MB) that wait between the connection and the conversion: one is converted while the next
# arrives.
WAITING_BATCHES = 1

# Documents are converted in parts of about this many bytes: so many that a part's fixed cost vanishes, so few that they
# stay in the processor's cache.
PART_BYTES = 4 * 1024 * 1024

# How long a read that will fail goes on, to tell how many documents do not fit.
SURVEY_SECONDS = 30.0

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
    survey = _Survey()
    for table, letters in _tables(_raw_batches(collection, config, find), columns):
        if letters and not keeps_dead_letters:
            survey.begin()
        if survey.has_begun:
            survey.count(letters, table.num_rows)
            continue
        yield from letters
        yield from table.to_batches(max_chunksize=batch_size)
    survey.finish()


def _tables(raw_batches: Iterator[bytes], columns: DocumentColumns) -> Iterator[tuple[pa.Table, list[DeadLetter]]]:
    """Yield the documents as tables, each with those that do not fit."""
    try:
        for raw in raw_batches:
            for documents in Documents.of(raw).parts(PART_BYTES):
                yield read_documents(documents, columns)
    except MalformedBsonError:
        raise SourceUnavailableError("MongoDB sent bytes that are no BSON: run the job again") from None


class _Survey:
    """Counts the documents that do not fit, for a while, so that the error tells of all columns and how many."""

    def __init__(self) -> None:
        self._problems: Counter[str] = Counter()
        self._documents = 0
        self._deadline = 0.0

    @property
    def has_begun(self) -> bool:
        return self._deadline > 0

    def begin(self) -> None:
        self._deadline = self._deadline or time.monotonic() + SURVEY_SECONDS

    def count(self, letters: list[DeadLetter], fitting: int) -> None:
        """Count a batch. Raises RecordError when the time is up."""
        for letter in letters:
            self._problems.update(letter.reason.splitlines())
        self._documents += len(letters) + fitting
        if time.monotonic() > self._deadline:
            self.finish()

    def finish(self) -> None:
        """Raise RecordError when something did not fit."""
        if self._problems:
            raise RecordError(
                "\n".join(
                    f"{problem} (in {count:,} of {self._documents:,} documents)"
                    for problem, count in self._problems.most_common()
                )
            )


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
    """

    config: MongodbConfig
    columns: DocumentColumns
    batch_size: int
    max_retries: int
    keeps_dead_letters: bool = False

    def expand(self, partitions: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        """Turn Partitions into RecordBatches and DeadLetters."""
        return partitions | "ReadPartition" >> beam.ParDo(_ReadPartitionFn(self)).with_outputs(
            DEAD_LETTERS, main=BATCHES
        )


class _ReadPartitionFn(beam.DoFn):
    def __init__(self, read: ReadFromMongodb) -> None:
        self._config = read.config
        self._columns = read.columns
        self._batch_size = read.batch_size
        self._max_retries = read.max_retries
        self._keeps_dead_letters = read.keeps_dead_letters
        self._rows_read = Metrics.counter(ReadFromMongodb, "rows_read")
        self._dead_letters = Metrics.counter(ReadFromMongodb, "dead_letters")

    def process(self, partition: Partition) -> Iterator[Any]:
        progress = ReadProgress(partition)
        # Only connecting is retried: once rows have left, the runner has to repeat the whole bundle.
        with connected(self._config, self._max_retries) as collection:
            for part in find_batches(
                collection,
                self._config,
                Find.from_statement(partition.statement),
                self._columns,
                self._batch_size,
                keeps_dead_letters=self._keeps_dead_letters,
            ):
                rows = 1 if isinstance(part, DeadLetter) else part.num_rows
                self._rows_read.inc(rows)
                progress.add(rows)
                if isinstance(part, DeadLetter):
                    self._dead_letters.inc()
                    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, part)
                else:
                    yield part
        progress.finish()
