"""Staging: record batches to Parquet files in Cloud Storage.

Only a file whose `StagedFile` was emitted is loaded. A worker that dies, or a bundle that the runner repeats, leaves
files in the folder that are in no list.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from sync_pipeline.failures import FAILURES, ByTable
from sync_pipeline.output.run_log import on_screen
from sync_pipeline.publishing.parquet_file import ParquetFile
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging_target import StagingTarget

_LOGGER = logging.getLogger(__name__)

# Bytes on disk after which a file is closed and another begun; one more row group may be on its way then.
FILE_BYTES = 256 * 1024 * 1024

# The output of the step that writes files.
_FILES = "files"


def write_batches(batches: Iterable[pa.RecordBatch], target: StagingTarget) -> list[StagedFile]:
    """Write batches with the target's columns to as few Parquet files as their size allows, and return the files.

    One call writes the same files as one bundle of `WriteStagedFiles`. After an error no file is complete.

    Raises:
        SchemaError, SourceQueryError: rows exceed the target's limits.
        PublishError: rows cannot be written.
    """
    write = WriteParquetFn(target)
    write.start_bundle()
    try:
        files = [file for batch in batches for file in write.process(batch)]
        return [*files, *write.finished()]
    finally:
        write.teardown()


@dataclass
class WriteStagedFiles(beam.PTransform):
    """Write batches with their target's columns to Parquet files, and emit a `StagedFile` for each file.

    Elements are pairs of a table's number and a value. Rows that exceed the target's limits become a `Failure`; without
    a run their error is raised.

    Attributes:
        targets: by the number of the table.
        run_id: see `ByTable`.
    """

    targets: Mapping[int, StagingTarget]
    run_id: str = ""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Turn RecordBatches into StagedFiles and Failures."""
        fns = {table: WriteParquetFn(target) for table, target in self.targets.items()}
        write = beam.ParDo(ByTable(fns, self.run_id))
        written = batches | "WriteParquet" >> write.with_outputs(FAILURES, main=_FILES)
        return (written[_FILES], written[FAILURES]) | "FilesAndFailures" >> beam.Flatten()


class WriteParquetFn(beam.DoFn):
    """Writes the batches of one bundle to as few files as their size allows, and counts the files."""

    def __init__(self, target: StagingTarget) -> None:
        self._target = target
        kind = "dead_letters" if target.is_dead_letters else "keys" if target.is_keys else "rows"
        self._rows_staged = Metrics.counter(WriteStagedFiles, f"{kind}_staged")
        self._bytes_staged = Metrics.counter(WriteStagedFiles, "bytes_staged")
        self._file: ParquetFile | None = None

    def start_bundle(self) -> None:
        # A file left over from a bundle that failed on this instance is not ours to finish.
        self.teardown()

    def process(self, batch: pa.RecordBatch) -> Iterator[StagedFile]:
        if self._file is None:
            self._file = ParquetFile(self._target)
        self._file.add(batch)
        if self._file.size >= FILE_BYTES:
            yield self._finished()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for staged in self.finished():
            yield WindowedValue(staged, window.max_timestamp(), [window])

    def finished(self) -> Iterator[StagedFile]:
        """Close the file that is being written, if there is one, and yield it. Raises what `ParquetFile.close` does."""
        if self._file is not None:
            yield self._finished()

    def teardown(self) -> None:
        if self._file is not None:
            self._file.abandon()
            self._file = None

    def count(self, staged: StagedFile) -> None:
        """Count a file of this step."""
        self._rows_staged.inc(staged.rows)
        self._bytes_staged.inc(staged.size)

    def _finished(self) -> StagedFile:
        assert self._file is not None
        staged = self._file.close()
        self._file = None
        self.count(staged)
        kind = "keys" if staged.is_keys else "rows"
        told = (f"{staged.rows:,}", kind, staged.size / 2**20, staged.uri)
        _LOGGER.info("staged %s %s, %.1f MiB: %s", *told, extra=on_screen(""))
        return staged
