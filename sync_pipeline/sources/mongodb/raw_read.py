"""Reading: one find per split, streamed as raw BSON and turned into record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_scan import Documents, MalformedBsonError
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import Document, translated_errors
from sync_pipeline.sources.mongodb.idle_clients import close_idle, lent
from sync_pipeline.sources.mongodb.key_read import in_time, key_session
from sync_pipeline.sources.mongodb.reply_batches import ReplyBatches
from sync_pipeline.sources.mongodb.splits import Find
from sync_pipeline.sources.prefetch import prefetched
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import DeadLetter, ReadSplit, SplitReader

# Size of the queue between connection and conversion, in server batches (16 MB): one is converted while the next
# arrives.
WAITING_BATCHES = 1

# Approximate size of a part to convert, in bytes: large enough to amortise the fixed cost, small enough for the
# processor's cache.
PART_BYTES = 4 * 1024 * 1024


def found_parts(
    collection: Collection[Document],
    config: MongodbConfig,
    find: Find,
    columns: DocumentColumns,
    session: ClientSession | None = None,
) -> Generator[pa.Table | DeadLetter]:
    """Run the find and yield its documents as tables of `columns.schema.arrow`, each after its dead letters.

    Raises:
        SourceError: the read fails.
    """
    try:
        for batch in _batches(collection, config, find, session):
            for documents in batch.parts(PART_BYTES):
                table, letters = read_documents(documents, columns)
                yield from letters
                yield table
    except MalformedBsonError:
        raise SourceUnavailableError("MongoDB sent bytes that are not BSON: run the job again") from None


def _batches(
    collection: Collection[Document], config: MongodbConfig, find: Find, session: ClientSession | None
) -> Iterator[Documents]:
    """Yield the documents as they arrive, many at a time."""

    def receive(put: Callable[[Documents], None]) -> None:
        with (
            translated_errors(config, is_reading=True),
            ReplyBatches(collection, **find.arguments, session=session) as cursor,
        ):
            batch: Any
            for batch in cursor:
                put(batch)

    return prefetched(receive, WAITING_BATCHES)


@dataclass(frozen=True)
class FindReader(SplitReader):
    """Reads a split with one find. One client serves the splits that a thread reads one after the other.

    Attributes:
        config: the connection parameters.
        columns: the columns that the documents are read into.
        max_retries: how often to retry connecting.
    """

    rows: ClassVar[str] = "documents"

    config: MongodbConfig
    columns: DocumentColumns
    max_retries: int

    def read(self, split: ReadSplit) -> Generator[pa.Table | DeadLetter]:
        """Yield the documents of the split. Only connecting is retried."""
        find = Find.from_statement(split.statement)
        with lent(self.config, self.max_retries) as collection:
            if find.of_keys or find.sees_all:
                yield from self._all(collection, find)
                return
            with contextlib.closing(found_parts(collection, self.config, find, self.columns)) as parts:
                yield from parts

    def _all(self, collection: Collection[Document], find: Find) -> Iterator[pa.Table | DeadLetter]:
        columns = replace(self.columns, of_keys=find.of_keys)
        read = " and ".join(columns.schema.names) if find.of_keys else "all documents"
        purpose = f"{'deletes' if find.of_keys else 'reconcile'} reads {read}"
        with (
            key_session(collection, self.config, purpose) as (primary, session, seconds),
            contextlib.closing(found_parts(primary, self.config, find, columns, session)) as parts,
        ):
            yield from in_time(parts, seconds, purpose)

    def close_idle(self) -> None:
        """Close this thread's client."""
        close_idle()


class ReadFromMongodb(ReadRows):
    """Read `ReadSplit`s into `pyarrow.RecordBatch`es."""
