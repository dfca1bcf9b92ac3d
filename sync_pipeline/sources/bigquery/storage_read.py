"""Reading rows through the Storage Read API: Arrow streams, side by side, straight into batches.

A session is opened by the first step on a worker, not at launch: one lasts for six hours, and a job may wait for longer
before it begins. What a query returns is put into a table first, by a job whose id is the read's own, so that a
repeated step finds it; a repeated step also opens another session, and only the streams that it emitted are read.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config
from sync_pipeline.bigquery_api.job_records import job_labels
from sync_pipeline.bigquery_api.jobs import JobRequest, finish_job
from sync_pipeline.failures import FAILURES, ByTable
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
from sync_pipeline.sources.reading import ReadRows, dead_letter
from sync_pipeline.sources.source import DeadLetter, ReadSplit, Selection, SplitReader
from sync_pipeline.transforms.in_sql import Check, misfit_reasons
from sync_pipeline.transforms.rejected_values import null_value

_LOGGER = logging.getLogger(__name__)

# https://cloud.google.com/bigquery/docs/reference/storage#create_a_session
MAX_STREAMS = 1000

# What a query for misfits returns beside the columns, in this order; no column of a table may be called so.
SERVICE_COLUMNS = ("__sync_misfits", "__sync_row")


@dataclass(frozen=True)
class BigqueryRead(ReadSplit):
    """The one partition of a read: its streams are known only when the session is open.

    Attributes:
        statement: the query, for a person.
        project: in which the session is opened, and the query runs.
        table: `projects/…/datasets/…/tables/…` to read; None to read what `statement` returns.
        condition: which rows of the table are read; empty for all.
        streams: at most so many; 0 leaves it to BigQuery.
        read_id: names the job of the query.
        selection: where and how the query runs.
        checks: what the query's first service column counts by.
    """

    project: str
    table: str | None
    condition: str
    streams: int
    read_id: str
    selection: Selection
    max_retries: int
    checks: tuple[Check, ...] = ()


# How long the streams of a session can be read, and what a worker with one core reads and stages at the least.
# https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#readsession
_SESSION_SECONDS, _BYTES_PER_SECOND = 6 * 3600, 25_000_000

# The output of the step that opens the session.
_STREAMS = "streams"


@dataclass(frozen=True)
class Stream:
    """A part of an open session.

    Attributes:
        name: by which the Storage API knows it.
        arrow_schema: of its batches, as the session has told it.
        index, count: which of how many it is, from 1.
        checks: see `BigqueryRead`.
    """

    name: str
    arrow_schema: bytes
    index: int
    count: int
    checks: tuple[Check, ...] = ()


def session_limit(size: int) -> str:
    """Return how many workers must share `size` bytes before their session ends; empty where one is enough."""
    workers = math.ceil(size / (_SESSION_SECONDS * _BYTES_PER_SECOND))
    if workers < 2:
        return ""
    return (
        f"; BigQuery ends the session six hours after it is opened, so {size / 10**12:,.1f} TB need at least "
        f"{workers:,} workers (at {_BYTES_PER_SECOND / 10**6:.0f} MB a second each)"
    )


def stored_result(read: BigqueryRead) -> str:
    """Run the query of `read` and return the table that holds its rows. Raises SourceError.

    That table is the one BigQuery makes for any query: it is nobody else's, costs nothing to keep, and is gone after 24
    hours, whatever becomes of the run. https://cloud.google.com/bigquery/docs/writing-results#temporary_and_permanent_tables
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
    """Open a session and return its streams; there is none where no row is. Raises SourceError."""
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
            parent=f"projects/{read.project}",
            read_session=session,
            max_stream_count=read.streams,
        )
    names = [stream.name for stream in opened.streams]
    _LOGGER.info("the source is read in %d stream(s)", len(names))
    arrow_schema = bytes(opened.arrow_schema.serialized_schema)
    return [Stream(name, arrow_schema, index, len(names), read.checks) for index, name in enumerate(names, 1)]


def stream_batches(client: BigQueryReadClient, stream: Stream) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the batches of a stream as they are sent, each with the bytes it came in. Raises SourceError.

    The client continues a broken stream behind the last row that came.
    """
    arrow_schema = pa.ipc.read_schema(pa.py_buffer(stream.arrow_schema))
    with source_errors(f"read the stream {stream.name}", TABLES_READ):
        for message in client.read_rows(stream.name):
            body = message.arrow_record_batch.serialized_record_batch
            yield pa.ipc.read_record_batch(pa.py_buffer(body), arrow_schema), len(body)


def checked_parts(batch: pa.RecordBatch, schema: Schema, checks: tuple[Check, ...]) -> Iterator[pa.Table | DeadLetter]:
    """Yield a stream's rows as a table of `schema.arrow`, behind a dead letter for each invalid row."""
    if checks:
        numbers, rows = (batch.column(name) for name in SERVICE_COLUMNS)
        rejected = pc.is_valid(numbers)
        for each, row in zip(numbers.filter(rejected).to_pylist(), rows.filter(rejected).to_pylist(), strict=True):
            failed = misfit_reasons(each, checks)
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
    """Return the array with another type of the same shape: names of fields and numbers of digits may differ."""
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
    """Reads a stream of a session into the columns of `schema`."""

    part: ClassVar[str] = "stream"

    schema: Schema

    def read(self, stream: Stream) -> Generator[pa.Table | DeadLetter]:
        """Yield the rows of the stream."""
        bytes_read = Metrics.counter(ReadFromBigquery, "bytes_read")
        with connected_read_client() as client:
            for batch, size in stream_batches(client, stream):
                bytes_read.inc(size)
                yield from checked_parts(batch, self.schema, stream.checks)


class ReadFromBigquery(ReadRows):
    """Read `BigqueryRead`s into `pyarrow.RecordBatch`es; counts `bytes_read` as well."""

    def expand(self, reads: beam.PCollection) -> dict[str, beam.PCollection]:
        """Turn the reads into the streams of a session each, and these into RecordBatches, DeadLetters and Failures."""
        fns = {table: _OpenSessionFn(self._schema(table)) for table in self.reads}
        open_session = beam.ParDo(ByTable(fns, self.run_id))
        opened = reads | "OpenSession" >> open_session.with_outputs(FAILURES, main=_STREAMS)
        # It keeps the streams: from here on no repetition can open another session. And it spreads them.
        outputs = super().expand(opened[_STREAMS] | "SpreadStreams" >> beam.Reshuffle())
        failures = (opened[FAILURES], outputs[FAILURES]) | "Failures" >> beam.Flatten()
        return outputs | {FAILURES: failures}

    def batches(self, reads: Iterable[BigqueryRead], table: int = 0) -> Iterator[pa.RecordBatch | DeadLetter]:
        """Yield a table's rows in this process, without Beam, one stream after the other. Raises all errors."""
        for read in reads:
            with connected_read_client() as client:
                streams = open_streams(client, read, self._schema(table))
            yield from super().batches(streams, table)

    def _schema(self, table: int) -> Schema:
        reader = self.reads[table].reader
        assert isinstance(reader, StreamReader), "the source gives no other"
        return reader.schema


class _OpenSessionFn(beam.DoFn):
    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def process(self, read: BigqueryRead) -> Iterator[Stream]:
        with connected_read_client() as client:
            yield from open_streams(client, read, self._schema)
