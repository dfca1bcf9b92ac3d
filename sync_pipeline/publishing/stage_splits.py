"""Staging of lanes: a split is read, transformed and staged by one step, so that its end is known.

When a lane of many splits is attempted again, those that an earlier attempt finished are not read again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from sync_pipeline.failures import FAILURES, raise_if_failed
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.dead_letters import dead_letter_batch, dead_letter_target
from sync_pipeline.publishing.finished_splits import FinishedSplits
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import WriteParquetFn
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.sources.reading import ReadByTable, ReadRows, ReadSplitFn
from sync_pipeline.sources.source import ReadSplit, TableRead
from sync_pipeline.transforms.batches import transform_batch

_LOGGER = logging.getLogger(__name__)

# The output of the step.
_FILES = "files"


@dataclass
class StageSplits(beam.PTransform):
    """Read, transform and stage splits, and emit the `StagedFile`s of each when the split is complete.

    Elements are pairs of a table's number and a value. A final error becomes a `Failure` of its table.

    Attributes:
        read: reads the splits of each table.
        tables: by number.
        finished: where attempts tell each other which splits are complete; None if nothing is attempted again.
    """

    read: ReadRows
    tables: Mapping[int, TableSync]
    finished: FinishedSplits | None

    def expand(self, splits: beam.PCollection) -> beam.PCollection:
        """Turn ReadSplits into StagedFiles and Failures."""
        # A batch costs much more than its rows, and only a batch that goes from step to step must be small.
        reads = {number: replace(read, batch_size=None) for number, read in self.read.reads.items()}
        reading = replace(self.read, reads=reads).fns
        fns = {number: StageSplitFn(reading[number], table, self.finished) for number, table in self.tables.items()}
        stage = beam.ParDo(StageByTable(fns, self.read.reads.values(), self.read.run_id, self.finished))
        staged = splits | "StageSplit" >> stage.with_outputs(FAILURES, main=_FILES)
        return (staged[_FILES], staged[FAILURES]) | "FilesAndFailures" >> beam.Flatten()


class StageByTable(ReadByTable):
    """Asks once in each bundle, which may be a repeated one, for the splits that are finished."""

    def __init__(
        self,
        fns: Mapping[int, StageSplitFn],
        reads: Iterable[TableRead],
        run_id: str,
        finished: FinishedSplits | None,
    ) -> None:
        super().__init__(fns, reads, run_id)
        self._finished = finished

    def start_bundle(self) -> None:
        super().start_bundle()
        if self._finished is not None:
            self._finished.forget()


class StageSplitFn(beam.DoFn):
    """Reads, transforms and stages the splits of one table."""

    def __init__(self, read: ReadSplitFn, table: TableSync, finished: FinishedSplits | None) -> None:
        self._read = read
        self._table = table
        self._finished = finished
        self._rows = WriteParquetFn(rows_target(table))
        self._letters = WriteParquetFn(dead_letter_target(table)) if table.dead_letters else None

    def process(self, split: ReadSplit) -> Iterator[StagedFile]:
        """Yield the split's files when all of them are complete. Raises SyncError."""
        files = self._finished.find(self._table, split) if self._finished is not None else None
        if files is None:
            files = self._staged(split)
            if self._finished is not None:
                self._finished.keep(self._table, split, files)
        else:
            _LOGGER.info("%s, split %d of %d is staged already", self._table.table_id, split.index, split.count)
            self._count(files)
        yield from files

    def teardown(self) -> None:
        for write in self._writes:
            write.teardown()

    @property
    def _writes(self) -> list[WriteParquetFn]:
        return [self._rows] if self._letters is None else [self._rows, self._letters]

    def _staged(self, split: ReadSplit) -> list[StagedFile]:
        files: list[StagedFile] = []
        try:
            with contextlib.closing(self._read.process(split)) as parts:
                for part in parts:
                    raise_if_failed(self._table.run_id, self._table.number)
                    files += self._write(part)
            for write in self._writes:
                files += write.finished()
        finally:
            # What is not complete does not appear.
            self.teardown()
        return files

    def _write(self, part: Any) -> Iterator[StagedFile]:
        table = self._table
        if not isinstance(part, beam.pvalue.TaggedOutput):
            return self._rows.process(transform_batch(part, table.transformation, table.schema, table.config.hash_key))
        assert self._letters is not None, "only a table with a dead letter table keeps them"
        return self._letters.process(dead_letter_batch(part.value, table))

    def _count(self, files: Iterable[StagedFile]) -> None:
        """Count what an earlier attempt did: a runner forgets its counters."""
        for file in files:
            write = self._letters if file.is_dead_letters else self._rows
            assert write is not None, "the plan of the attempts is the same"
            write.count(file)
            self._read.count(file.rows, file.rows if file.is_dead_letters else 0)
