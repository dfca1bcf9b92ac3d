"""Reads rows through the Storage Read API: parallel Arrow streams, converted to batches.

BigQuery often opens a single stream for a session that does not ask for more. The launch asks for one for each part of
`BYTES_PER_STREAM`, and a session that has fewer gets its streams split.

The first step on a worker opens the session, because a session lasts six hours and a job may wait longer before it
starts. The result of a query is first stored in a table, by a job with the read's own id, so that a retry of the step
finds it. A retry opens another session, and only the streams that it emits are read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from google.api_core.exceptions import GoogleAPIError
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config
from sync_pipeline.bigquery_api.job_records import job_labels
from sync_pipeline.bigquery_api.jobs import JobRequest, finish_job
from sync_pipeline.failures import FAILURES, ByTable
from sync_pipeline.output.run_log import on_screen
from sync_pipeline.schema import REQUIRED, Schema
from sync_pipeline.sources.bigquery.client import (
    JOBS_CREATE,
    SESSIONS_CREATE,
    TABLES_READ,
    connected_read_client,
    meanings,
    open_source_client,
    source_errors,
)
from sync_pipeline.sources.keys import KeyReader
from sync_pipeline.sources.prefetch import prefetched
from sync_pipeline.sources.reading import ReadRows, dead_letter
from sync_pipeline.sources.source import DeadLetter, ReadSplit, Selection, SplitReader
from sync_pipeline.transforms.rejected_values import null_value
from sync_pipeline.transforms.sql_conversions import Check, failed_checks

_LOGGER = logging.getLogger(__name__)

# https://cloud.google.com/bigquery/docs/reference/storage#create_a_session
MAX_STREAMS = 1000

# How much a stream reads before another is worth its connection, and how many are asked for unless the user says so.
BYTES_PER_STREAM, MAX_UNASKED_STREAMS = 256 * 2**20, 100

# Responses that threads receive while another converts and writes rows, and streams that one process receives at once.
_WAITING_RESPONSES, _STREAMS_AT_ONCE = 4, 8

# Additional columns of a query with checks, in this order. No column of a table can have these names.
SERVICE_COLUMNS = ("__sync_rejected", "__sync_row")


@dataclass(frozen=True)
class BigqueryRead(ReadSplit):
    """The only split of a read. Its streams are known only when the session is open.

    Attributes:
        statement: the query, for the plan.
        project: the project of the session and of the query's job.
        table: the table to read, `projects/…/datasets/…/tables/…`; None to read the result of `statement`.
        condition: the condition on the table's rows; empty for all.
        streams: maximum number of streams; 0 lets BigQuery decide.
        preferred_streams: the number that BigQuery should provide if it can.
        read_id: part of the id of the query's job.
        selection: the query and its settings.
        checks: the checks that the query's first service column refers to.
    """

    project: str
    table: str | None
    condition: str
    streams: int
    preferred_streams: int
    read_id: str
    selection: Selection
    max_retries: int
    checks: tuple[Check, ...] = ()


# The lifetime of a session, and the minimum throughput of a worker with one core.
# https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#readsession
_SESSION_SECONDS, _BYTES_PER_SECOND = 6 * 3600, 25_000_000

# The output of the step that opens the session.
_STREAMS = "streams"


@dataclass(frozen=True)
class Stream:
    """A stream of an open session, or all of them, if one process reads them.

    Attributes:
        names: the streams' names in the Storage API; several are received at once.
        arrow_schema: the serialized Arrow schema of the batches, from the session.
        index, count: number of the stream, from 1, and number of streams.
        checks: see `BigqueryRead`.
    """

    names: tuple[str, ...]
    arrow_schema: bytes
    index: int
    count: int
    checks: tuple[Check, ...] = ()


def session_limit(size: int) -> str:
    """Return how many workers must read `size` bytes within the session's lifetime; empty if one is sufficient."""
    workers = math.ceil(size / (_SESSION_SECONDS * _BYTES_PER_SECOND))
    if workers < 2:
        return ""
    return (
        f"; BigQuery ends the session after six hours, so {size / 10**12:,.1f} TB need at least {workers:,} workers "
        f"(at {_BYTES_PER_SECOND / 10**6:.0f} MB per second each)"
    )


def streams_for(size: int, most: int) -> int:
    """Return how many streams should read so many bytes; `most` is the user's maximum, 0 for none."""
    return max(1, min(math.ceil(size / BYTES_PER_STREAM), most or MAX_UNASKED_STREAMS))


def stored_result(read: BigqueryRead) -> str:
    """Run the query of `read` and return the table with its rows.

    BigQuery creates this anonymous table for every query. It is private, free, and expires after 24 hours.
    https://cloud.google.com/bigquery/docs/writing-results#temporary_and_permanent_tables

    Raises:
        SourceError: the query fails.
    """
    selection = read.selection
    client = open_source_client(read.project)
    config = query_config(
        read.project, selection.default_project, selection.default_dataset, selection.maximum_bytes_billed
    )
    config.labels = job_labels(read.read_id, "bigquery")
    location = selection.location or "US"

    def begin(job_id: str) -> Any:
        return client.query(
            read.statement, job_config=config, job_id=job_id, location=location, retry=REQUEST_RETRY, job_retry=None
        )

    request = JobRequest(
        job_id=f"sync-read-{read.read_id}",
        run_id=read.read_id,
        location=location,
        action="run the query over the source",
        max_retries=read.max_retries,
        meanings=meanings(JOBS_CREATE.format(project=read.project), TABLES_READ),
    )
    job = finish_job(client, request, begin).job
    table = job.destination
    return f"projects/{table.project}/datasets/{table.dataset_id}/tables/{table.table_id}"


def open_streams(client: BigQueryReadClient, read: BigqueryRead, schema: Schema) -> list[Stream]:
    """Open a session and return its streams; without rows it has none. Raises SourceError when BigQuery rejects it."""
    table = read.table or stored_result(read)
    options = types.ReadSession.TableReadOptions(
        selected_fields=[*schema.names, *(SERVICE_COLUMNS if read.checks else ())],
        row_restriction=read.condition if read.table else "",
        arrow_serialization_options=types.ArrowSerializationOptions(
            buffer_compression=types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
        ),
    )
    session = types.ReadSession(table=table, data_format=types.DataFormat.ARROW, read_options=options)
    with source_errors(
        f"read {table} in the project {read.project}", SESSIONS_CREATE.format(project=read.project), TABLES_READ
    ):
        opened = client.create_read_session(
            request=types.CreateReadSessionRequest(
                parent=f"projects/{read.project}",
                read_session=session,
                max_stream_count=read.streams,
                preferred_min_stream_count=read.preferred_streams,
            )
        )
    names = [stream.name for stream in opened.streams]
    # The result of a query has another size than the launch could know.
    wanted = streams_for(opened.estimated_total_bytes_scanned, read.streams)
    names = split_streams(client, names, wanted)
    _LOGGER.info("the source is read in %d stream(s)", len(names), extra=on_screen(""))
    arrow_schema = bytes(opened.arrow_schema.serialized_schema)
    return [Stream((name,), arrow_schema, index, len(names), read.checks) for index, name in enumerate(names, 1)]


def split_streams(client: BigQueryReadClient, names: list[str], wanted: int) -> list[str]:
    """Return at least `wanted` streams with the rows of the given ones, or as many as BigQuery can make of them.

    A stream that is split can still be read as a whole, so a request that fails costs nothing but speed.
    https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#splitreadstreamrequest
    """
    divisible, whole = deque(names), list[str]()
    try:
        while divisible and len(divisible) + len(whole) < wanted:
            parts = client.split_read_stream(types.SplitReadStreamRequest(name=divisible[0], fraction=0.5))
            halves = [part.name for part in (parts.primary_stream, parts.remainder_stream) if part.name]
            name = divisible.popleft()
            if len(halves) == 2:
                divisible.extend(halves)
            else:
                whole.append(name)
    except GoogleAPIError as error:
        _LOGGER.warning("the source is read in fewer streams than it could be: %s", type(error).__name__)
    return [*whole, *divisible]


def stream_batches(client: BigQueryReadClient, stream: Stream) -> Generator[tuple[pa.RecordBatch, int]]:
    """Yield the batches of a stream, each with its serialized size in bytes.

    The client resumes a broken stream after the last received row. If the caller stops early, it is closed. The batches
    of several streams have no order.

    Raises:
        SourceError: the stream cannot be read.
    """
    arrow_schema = pa.ipc.read_schema(pa.py_buffer(stream.arrow_schema))

    def receive(put: Callable[[bytes], None]) -> None:
        ended = threading.Event()

        def receive_one(name: str) -> None:
            try:
                with source_errors(f"read the stream {name}", TABLES_READ):
                    for message in client.read_rows(name) if not ended.is_set() else ():
                        if ended.is_set():
                            return
                        put(message.arrow_record_batch.serialized_record_batch)
            except BaseException:
                # The others need not be received.
                ended.set()
                raise

        with ThreadPoolExecutor(_STREAMS_AT_ONCE, thread_name_prefix="stream") as pool:
            for _ in pool.map(receive_one, stream.names):
                pass

    with contextlib.closing(prefetched(receive, _WAITING_RESPONSES, client.transport.close)) as bodies:
        for body in bodies:
            yield pa.ipc.read_record_batch(pa.py_buffer(body), arrow_schema), len(body)


def checked_parts(batch: pa.RecordBatch, schema: Schema, checks: tuple[Check, ...]) -> Iterator[pa.Table | DeadLetter]:
    """Yield a stream's rows as a table of `schema.arrow`, after a dead letter for each invalid row."""
    if checks:
        numbers, rows = (batch.column(name) for name in SERVICE_COLUMNS)
        rejected = pc.is_valid(numbers)
        for each, row in zip(numbers.filter(rejected).to_pylist(), rows.filter(rejected).to_pylist(), strict=True):
            failed = failed_checks(each, checks)
            columns = tuple(dict.fromkeys(check.column for check in failed))
            yield DeadLetter(columns, "\n".join(check.reason for check in failed), json.loads(row))
        batch = batch.filter(pc.invert(rejected))
    batch = batch.select(list(schema.names))
    for field in schema:
        if field.mode == REQUIRED and batch.column(field.name).null_count:
            is_null = pc.is_null(batch.column(field.name))
            invalid = batch.filter(is_null)
            for index in range(invalid.num_rows):
                yield dead_letter(invalid.slice(index, 1), field.name, null_value(field))
            batch = batch.filter(pc.invert(is_null))
    if batch.num_rows:
        arrays = [as_arrow_type(batch.column(field.name), field.arrow_type) for field in schema]
        yield pa.Table.from_arrays(arrays, schema=schema.arrow)


def as_arrow_type(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Return the array with another type of the same shape: only names of fields and decimal digits may differ."""
    if array.type.equals(wanted):
        return array
    if pa.types.is_struct(wanted):
        parts = [as_arrow_type(array.field(index), field.type) for index, field in enumerate(wanted)]
        return pa.StructArray.from_arrays(parts, fields=list(wanted), mask=array.is_null())
    if pa.types.is_list(wanted):
        values = as_arrow_type(array.values, wanted.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, type=wanted, mask=array.is_null())
    return array.cast(wanted)


@dataclass(frozen=True)
class StreamReader(SplitReader):
    """Reads a stream of a session into the columns of `schema`, or all streams of a session that it opens."""

    part: ClassVar[str] = "stream"

    schema: Schema

    def read(self, split: BigqueryRead | Stream) -> Generator[pa.Table | DeadLetter]:
        """Yield the rows of the split."""
        bytes_read = Metrics.counter(ReadFromBigquery, "bytes_read")
        with connected_read_client() as client:
            streams = [split] if isinstance(split, Stream) else open_streams(client, split, self.schema)
            if not streams:
                return
            names = tuple(name for stream in streams for name in stream.names)
            with contextlib.closing(stream_batches(client, replace(streams[0], names=names))) as batches:
                for batch, size in batches:
                    bytes_read.inc(size)
                    yield from checked_parts(batch, self.schema, streams[0].checks)


class ReadFromBigquery(ReadRows):
    """Reads `BigqueryRead`s into `pyarrow.RecordBatch`es. Also counts `bytes_read`.

    A service needs the additional step, so that several workers read the streams of a session. A process that reads all
    of them needs none.
    """

    opens_sessions: ClassVar[bool] = True

    def expand(self, reads: beam.PCollection) -> dict[str, beam.PCollection]:
        """Open a session for each read, and read its streams into RecordBatches, DeadLetters and Failures."""
        fns = {table: _OpenSessionFn(self._schema(table)) for table in self.reads}
        open_session = beam.ParDo(ByTable(fns, self.run_id))
        opened = reads | "OpenSession" >> open_session.with_outputs(FAILURES, main=_STREAMS)
        # The reshuffle stores the streams, so that later retries open no other session, and distributes them.
        outputs = super().expand(opened[_STREAMS] | "SpreadStreams" >> beam.Reshuffle())
        failures = (opened[FAILURES], outputs[FAILURES]) | "Failures" >> beam.Flatten()
        return outputs | {FAILURES: failures}

    def _schema(self, table: int) -> Schema:
        reader = self.reads[table].reader
        if isinstance(reader, KeyReader):
            reader = reader.reader
        assert isinstance(reader, StreamReader), "the source returns no other reader"
        return reader.schema


class _OpenSessionFn(beam.DoFn):
    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def process(self, read: BigqueryRead) -> Iterator[Stream]:
        with connected_read_client() as client:
            yield from open_streams(client, read, self._schema)
