"""Staging: record batches to Parquet files in Cloud Storage.

A file counts only when its `StagedFile` has been emitted. What a worker wrote before it died, or before the
runner repeated its bundle, is in the folder but in nobody's list, and is never loaded.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import exceptions as storage_exceptions

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_TABLE, check_partitions
from sync_pipeline.errors import ConfigError, PublishError, PublishUnavailableError, SourceQueryError
from sync_pipeline.failures import FAILURES, CatchFinalErrors
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds

_LOGGER = logging.getLogger(__name__)

# Bytes in memory that become one row group. BigQuery reads row groups of 16 MiB and more best; larger ones than these
# take longer to encode, as they do not stay in the CPU's cache, and all of the last one is encoded after the last row.
# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet
ROW_GROUP_BYTES = 32 * 1024 * 1024

# Bytes on disk after which a file is closed and another begun; one more row group may be on its way then.
FILE_BYTES = 256 * 1024 * 1024


# The output of the step that writes files.
_FILES = "files"


def partitions_of(rows: pa.Table, layout: TableLayout) -> frozenset[str | None]:
    """Return the partitions that `rows` belong to; none when the table has no partition column."""
    if layout.partition_field is None:
        return frozenset()
    # An existing table may spell it otherwise, or be partitioned by a column that is not loaded, and so NULL.
    names = {name.lower(): name for name in rows.column_names}
    name = names.get(layout.partition_field.lower())
    if name is None:
        return frozenset({None})
    column = rows.column(name)
    floors = pc.floor_temporal(column, unit=layout.partition_granularity.lower())
    return frozenset(None if floor is None else floor.isoformat() for floor in pc.unique(floors).to_pylist())


def check_bounds(rows: pa.Table, bounds: TimestampBounds) -> None:
    """Raise SourceQueryError when a row's timestamp is where the query should not have looked.

    A row before the interval was loaded by an earlier run; one after it would hide rows that are still to come.
    """
    column = rows.column(bounds.column)
    # DATETIME has no time zone: its wall clock counts as UTC.
    after, until = (
        moment if moment is None or column.type.tz else moment.replace(tzinfo=None)
        for moment in (bounds.after, bounds.until)
    )
    extremes = pc.min_max(column)
    first, last = extremes["min"].as_py(), extremes["max"].as_py()
    has_null = (after is not None or bounds.refuses_null) and column.null_count > 0
    is_before = after is not None and first is not None and first <= after
    if has_null or is_before or (last is not None and last > until):
        raise SourceQueryError(bounds.problem)


@dataclass(frozen=True)
class StagingTarget:
    """What is staged, and where.

    Attributes:
        folder: `gs://…/`.
        schema: the columns of the batches and of the files.
        layout: of the table they are for; its partitions are counted, as BigQuery limits them.
        bounds: what the rows' timestamps must keep to, None where anything goes.
        max_partitions: the most partitions of that table the rows may belong to.
        is_dead_letters: the rows are for the dead letter table.
    """

    folder: str
    schema: Schema
    layout: TableLayout
    bounds: TimestampBounds | None = None
    max_partitions: int = MAX_PARTITIONS_PER_TABLE
    is_dead_letters: bool = False


@contextlib.contextmanager
def _translated_storage_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, exceptions.GoogleAPIError, GoogleAuthError, storage_exceptions.InvalidResponse) as error:
        cause = _cause(error)
        refused = isinstance(cause, exceptions.ClientError) and not isinstance(cause, exceptions.TooManyRequests)
        raise (PublishError if refused else PublishUnavailableError)(
            f"Cloud Storage: cannot write {uri} ({type(cause).__name__}): check temp_location, and that the job's "
            "service account has roles/storage.objectAdmin on the bucket; nothing was published"
        ) from None


def rows_target(plan: TableSync) -> StagingTarget:
    """Return where the rows of the run are staged."""
    return StagingTarget(plan.staging_folder, plan.schema, plan.layout, plan.bounds, plan.max_partitions)


def check_staging(root: str) -> None:
    """Raise ConfigError when the folder cannot be listed: better now than when all rows have been read."""
    try:
        FileSystems.match([f"{root}*"], limits=[1])
    except OSError as error:
        problem = f"temp_location: {root} cannot be listed ({type(_cause(error)).__name__})"
        remedy = "the bucket must exist, and the job's service account needs roles/storage.objectAdmin on it"
        raise ConfigError([f"{problem}: {remedy}"]) from None


def _cause(error: Exception) -> Exception:
    """Return the innermost error that Beam has packed, which is all that is worth reading of it."""
    details = getattr(error, "exception_details", None) or {}
    inner = next((detail for detail in details.values() if isinstance(detail, Exception)), None)
    return error if inner is None else _cause(inner)


def write_batches(batches: Iterable[pa.RecordBatch], target: StagingTarget) -> list[StagedFile]:
    """Write batches with the target's columns to as few Parquet files as their size allows, and return the files.

    It writes what one bundle of `WriteStagedFiles` writes. Raises SchemaError or SourceQueryError when rows are not
    what the target allows, PublishError when they cannot be written; then no file is complete.
    """
    write = _WriteParquetFn(target)
    write.start_bundle()
    try:
        files = [file for batch in batches for file in write.process(batch)]
        return [*files, *(windowed.value for windowed in write.finish_bundle())]
    finally:
        write.teardown()


@dataclass
class WriteStagedFiles(beam.PTransform):
    """Write batches with the target's columns to Parquet files, and emit a `StagedFile` for each file.

    Rows that are not what the target allows are a `Failure`; without a run their error is raised.
    """

    target: StagingTarget
    run_id: str = ""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Turn RecordBatches into StagedFiles and Failures."""
        write = beam.ParDo(CatchFinalErrors(_WriteParquetFn(self.target), self.run_id))
        written = batches | "WriteParquet" >> write.with_outputs(FAILURES, main=_FILES)
        return (written[_FILES], written[FAILURES]) | "FilesAndFailures" >> beam.Flatten()


class _WriteParquetFn(beam.DoFn):
    """Writes the batches of one bundle to as few files as their size allows."""

    def __init__(self, target: StagingTarget) -> None:
        self._target = target
        kind = "dead_letters" if target.is_dead_letters else "rows"
        self._rows_staged = Metrics.counter(WriteStagedFiles, f"{kind}_staged")
        self._bytes_staged = Metrics.counter(WriteStagedFiles, "bytes_staged")
        self._file: _OpenFile | None = None

    def start_bundle(self) -> None:
        # A file left over from a bundle that failed on this instance is not ours to finish.
        self.teardown()

    def process(self, batch: pa.RecordBatch) -> Iterator[StagedFile]:
        if self._file is None:
            self._file = _OpenFile(self._target)
        self._file.add(batch)
        if self._file.size >= FILE_BYTES:
            yield self._finished()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._file is not None:
            window = GlobalWindow()
            yield WindowedValue(self._finished(), window.max_timestamp(), [window])

    def teardown(self) -> None:
        if self._file is not None:
            self._file.abandon()
            self._file = None

    def _finished(self) -> StagedFile:
        assert self._file is not None
        staged = self._file.close()
        self._file = None
        self._rows_staged.inc(staged.rows)
        self._bytes_staged.inc(staged.size)
        _LOGGER.info("staged %s rows, %.1f MiB: %s", f"{staged.rows:,}", staged.size / 2**20, staged.uri)
        return staged


class _OpenFile:
    """A Parquet file being written; batches wait in memory until they make a row group.

    A row group is encoded and sent while the batches of the next arrive: the source is not kept waiting. One at a time,
    so that no more than two row groups are in memory.
    """

    def __init__(self, target: StagingTarget) -> None:
        self._target = target
        self._uri = f"{target.folder}{uuid.uuid4().hex}.parquet"
        self._handle: Any = FileSystems.create(self._uri, compression_type=CompressionTypes.UNCOMPRESSED)
        self._writer = pyarrow.parquet.ParquetWriter(
            self._handle,
            target.schema.arrow,
            # Half the bytes of snappy on the way to Cloud Storage for the same work, once no dictionaries are built.
            compression="zstd",
            use_dictionary=False,
            # Extremes of each column help who looks for some rows; a load job takes all.
            write_statistics=False,
            coerce_timestamps="us",
            # BigQuery reads lists only in the form the format's specification gives them.
            use_compliant_nested_type=True,
        )
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._encoding: Future[int] | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._rows = 0
        self._partitions: frozenset[str | None] = frozenset()
        self.size = 0
        """Bytes of the row groups before the one that is being written."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Take `batch` in.

        Raises SchemaError or SourceQueryError when rows are not what the target allows, PublishError when they cannot
        be written: of this batch, or of one before it.
        """
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._begin_row_group()

    def close(self) -> StagedFile:
        """Write what waits, and return the file; only then is it complete. Raises what `add` raises."""
        self._begin_row_group()
        self._finish_row_group()
        self._encoder.shutdown()
        with _translated_storage_errors(self._uri):
            self._writer.close()
            size = int(self._handle.tell())
            self._handle.close()
        return StagedFile(self._uri, self._rows, size, self._partitions, self._target.is_dead_letters)

    def abandon(self) -> None:
        """Give the file up, so that nothing of it comes to the folder: Python would finish it when it forgets it."""
        self._encoder.shutdown()
        refusals = contextlib.suppress(OSError, exceptions.GoogleAPICallError, storage_exceptions.InvalidResponse)
        with refusals:
            self._writer.close()
        with refusals:
            # Only Cloud Storage takes a file back that was begun.
            getattr(self._handle, "terminate", self._handle.close)()

    def _begin_row_group(self) -> None:
        self._finish_row_group()
        if self._waiting:
            rows = pa.Table.from_batches(self._waiting, schema=self._target.schema.arrow)
            self._encoding = self._encoder.submit(self._write_row_group, rows)
            self._waiting, self._waiting_bytes = [], 0

    def _finish_row_group(self) -> None:
        """Wait for the row group that is being written, and raise what it met."""
        encoding, self._encoding = self._encoding, None
        if encoding is None:
            return
        try:
            self.size = encoding.result()
        finally:
            # Its error knows this frame: together they would keep the file open.
            del encoding

    def _write_row_group(self, rows: pa.Table) -> int:
        """Write `rows`, in the encoder's thread, and return the bytes of the file."""
        target = self._target
        if target.bounds is not None:
            check_bounds(rows, target.bounds)
        self._partitions |= partitions_of(rows, target.layout)
        check_partitions(self._partitions, target.schema, target.layout, target.max_partitions)
        with _translated_storage_errors(self._uri):
            self._writer.write_table(rows, row_group_size=rows.num_rows)
            return int(self._handle.tell())
