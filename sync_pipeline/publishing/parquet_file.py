"""A Parquet file of a staging folder, while it is written."""

from __future__ import annotations

import contextlib
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from google.api_core import exceptions
from google.cloud.storage import exceptions as storage_exceptions

from sync_pipeline.auto_schema.partitions import check_partitions
from sync_pipeline.publishing.cloud_storage import translated_storage_errors
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging_target import StagingTarget, check_bounds, partitions_of

# Bytes in memory that become one row group. BigQuery reads row groups of 16 MiB and more best. Larger ones leave the
# CPU's cache and so take longer to encode, and the last one is encoded only after the last row.
# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet
ROW_GROUP_BYTES = 32 * 1024 * 1024


class ParquetFile:
    """A Parquet file being written; batches wait in memory until they make a row group.

    A row group is encoded and sent while the batches of the next one arrive, so that the source never waits. One is
    encoded at a time, so at most two row groups are in memory.
    """

    def __init__(self, target: StagingTarget) -> None:
        self._target = target
        self._uri = f"{target.folder}{uuid.uuid4().hex}.parquet"
        self._handle: Any = FileSystems.create(self._uri, compression_type=CompressionTypes.UNCOMPRESSED)
        self._writer = pyarrow.parquet.ParquetWriter(
            self._handle,
            target.schema.arrow,
            # Half the bytes of snappy at the same CPU cost, once no dictionaries are built.
            compression="zstd",
            use_dictionary=False,
            # Column statistics help a reader to skip rows; a load job reads all of them.
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
        """Bytes of the row groups that are written."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Add `batch` to the file.

        Raises:
            SchemaError, SourceQueryError: rows of this or an earlier batch exceed the target's limits.
            PublishError: rows cannot be written.
        """
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._begin_row_group()

    def close(self) -> StagedFile:
        """Write the waiting batches and return the file, which is complete only now. Raises what `add` raises."""
        self._begin_row_group()
        self._finish_row_group()
        self._encoder.shutdown()
        with translated_storage_errors(self._uri):
            self._writer.close()
            size = int(self._handle.tell())
            self._handle.close()
        target = self._target
        return StagedFile(self._uri, self._rows, size, self._partitions, target.is_dead_letters, target.is_keys)

    def abandon(self) -> None:
        """Drop the file so that nothing of it appears in the folder: Python would otherwise finish it."""
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
        """Wait for the row group that is being written. Raises its error."""
        encoding, self._encoding = self._encoding, None
        if encoding is None:
            return
        try:
            self.size = encoding.result()
        finally:
            # Its error knows this frame: together they would keep the file open.
            del encoding

    def _write_row_group(self, rows: pa.Table) -> int:
        """Write `rows`, in the encoder's thread, and return the file's size in bytes."""
        target = self._target
        if target.bounds is not None:
            check_bounds(rows, target.bounds)
        self._partitions |= partitions_of(rows, target.layout)
        check_partitions(self._partitions, target.schema, target.layout, target.max_partitions)
        with translated_storage_errors(self._uri):
            self._writer.write_table(rows, row_group_size=rows.num_rows)
            return int(self._handle.tell())
