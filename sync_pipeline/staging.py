"""Staging: record batches to Parquet files in Cloud Storage.

A file counts only when its `StagedFile` has been emitted. What a worker wrote before it died, or before the
runner repeated its bundle, is in the folder but in nobody's list, and is never loaded.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
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

from sync_pipeline.errors import SchemaError
from sync_pipeline.layout import MAX_PARTITIONS_PER_JOB, TableLayout, wider_granularity
from sync_pipeline.schema import Schema

_LOGGER = logging.getLogger(__name__)

# Bytes in memory that become one row group; BigQuery reads row groups of 16 MiB and more best, and these
# shrink to about a third on disk. https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet
ROW_GROUP_BYTES = 64 * 1024 * 1024

# Bytes on disk after which a file is closed and another begun.
FILE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that is complete.

    Attributes:
        uri: where it is.
        rows: how many rows it holds.
        size: in bytes.
        partitions: the partitions of the destination its rows belong to, each by its first moment; one is None
            when there are rows without one.
    """

    uri: str
    rows: int
    size: int
    partitions: frozenset[str | None] = frozenset()


def partitions_of(rows: pa.Table, layout: TableLayout) -> frozenset[str | None]:
    """Return the partitions that `rows` belong to; none when the table has no partition column."""
    if layout.partition_field is None:
        return frozenset()
    column = rows.column(layout.partition_field)
    floors = pc.floor_temporal(column, unit=layout.partition_granularity.lower())
    return frozenset(None if floor is None else floor.isoformat() for floor in pc.unique(floors).to_pylist())


def check_partitions(partitions: frozenset[str | None], schema: Schema, layout: TableLayout) -> None:
    """Raise SchemaError when one job cannot write to so many partitions."""
    if len(partitions) <= MAX_PARTITIONS_PER_JOB:
        return
    field = schema.find(layout.partition_field or "")
    assert field is not None
    wider = wider_granularity(field.type, layout.partition_granularity)
    remedy = f"set partition_granularity={wider} for a new table, or " if wider else ""
    raise SchemaError(
        f"the rows belong to more than {MAX_PARTITIONS_PER_JOB:,} partitions of {field.name} by "
        f"{layout.partition_granularity}, the most that BigQuery changes in one job: {remedy}load a shorter interval a run"
    )


@dataclass
class WriteStagedFiles(beam.PTransform):  # type: ignore[misc]
    """Write batches with `schema.arrow` to Parquet files under `folder` and emit a `StagedFile` for each.

    Attributes:
        folder: ends in a slash.
        schema: the destination's columns.
        layout: of the destination; its partitions are counted, as BigQuery limits them.
    """

    folder: str
    schema: Schema
    layout: TableLayout

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[StagedFile]:
        return batches | "WriteParquet" >> beam.ParDo(_WriteParquetFn(self.folder, self.schema, self.layout))


class _WriteParquetFn(beam.DoFn):  # type: ignore[misc]
    """Writes the batches of one bundle to as few files as their size allows."""

    def __init__(self, folder: str, schema: Schema, layout: TableLayout) -> None:
        self._folder = folder
        self._schema = schema
        self._layout = layout
        self._rows_staged = Metrics.counter(WriteStagedFiles, "rows_staged")
        self._bytes_staged = Metrics.counter(WriteStagedFiles, "bytes_staged")
        self._file: _OpenFile | None = None

    def start_bundle(self) -> None:
        # A file left over from a bundle that failed on this instance is not ours to finish.
        self._file = None

    def process(self, batch: pa.RecordBatch) -> Iterator[StagedFile]:
        if self._file is None:
            self._file = _OpenFile(f"{self._folder}{uuid.uuid4().hex}.parquet", self._schema, self._layout)
        self._file.add(batch)
        if self._file.size >= FILE_BYTES:
            yield self._finished()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._file is not None:
            window = GlobalWindow()
            yield WindowedValue(self._finished(), window.max_timestamp(), [window])

    def _finished(self) -> StagedFile:
        assert self._file is not None
        staged = self._file.close()
        self._file = None
        self._rows_staged.inc(staged.rows)
        self._bytes_staged.inc(staged.size)
        _LOGGER.info("staged %s rows, %.1f MiB: %s", f"{staged.rows:,}", staged.size / 2**20, staged.uri)
        return staged


class _OpenFile:
    """A Parquet file being written; batches wait in memory until they make a row group."""

    def __init__(self, uri: str, schema: Schema, layout: TableLayout) -> None:
        self._uri = uri
        self._schema = schema
        self._layout = layout
        self._handle: Any = FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
        self._writer = pyarrow.parquet.ParquetWriter(
            self._handle,
            schema.arrow,
            compression="snappy",
            coerce_timestamps="us",
            # BigQuery reads lists only in the form the format's specification gives them.
            use_compliant_nested_type=True,
        )
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._rows = 0
        self._partitions: frozenset[str | None] = frozenset()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return int(self._handle.tell())

    def add(self, batch: pa.RecordBatch) -> None:
        """Take `batch` in. Raises SchemaError when the file's rows belong to too many partitions."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> StagedFile:
        self._write_row_group()
        self._writer.close()
        size = self.size
        self._handle.close()
        return StagedFile(self._uri, self._rows, size, self._partitions)

    def _write_row_group(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, schema=self._schema.arrow)
            self._partitions |= partitions_of(table, self._layout)
            check_partitions(self._partitions, self._schema, self._layout)
            self._writer.write_table(table, row_group_size=table.num_rows)
            self._waiting, self._waiting_bytes = [], 0


def delete_staged_files(folder: str) -> None:
    """Delete all that was staged under `folder`, also what no list names. Nothing there is no error."""
    found = FileSystems.match([f"{folder}*"])[0].metadata_list
    if found:
        FileSystems.delete([entry.path for entry in found])
