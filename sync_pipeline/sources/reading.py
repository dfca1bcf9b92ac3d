"""The read of all sources: batches, dead letters, counters and progress lines."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from sync_pipeline.errors import RecordError
from sync_pipeline.failures import FAILURES, ByTable
from sync_pipeline.output.progress import PROGRESS
from sync_pipeline.output.run_log import fields
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, DeadLetter, TableRead

_LOGGER = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0

# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#input_file_requirements
MAX_ROW_BYTES = 50 * 1024 * 1024

# How long a read continues after the first invalid row, to count further ones; the number of different problems that it
# counts, and the number that it reports.
SURVEY_SECONDS = 30.0
MAX_COUNTED, MAX_TOLD = 1000, 50

# Arrow takes the allocator that this variable names: https://arrow.apache.org/docs/cpp/env_vars.html
_ALLOCATOR_VARIABLE, _ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL", "jemalloc"


@dataclass
class ReadRows(beam.PTransform):
    """Reads splits into `pyarrow.RecordBatch`es, for all sources.

    Elements are pairs of a table's number and a value. The counters are `rows_read` and `dead_letters`; their namespace
    is the source's derived class.

    Attributes:
        reads: the read of each table, by number.
        run_id: see `ByTable`.
        opens_sessions: whether `expand` has a step before the read, so that several workers can read one split.
    """

    opens_sessions: ClassVar[bool] = False

    reads: Mapping[int, TableRead]
    run_id: str = ""

    def expand(self, splits: beam.PCollection) -> dict[str, beam.PCollection]:
        """Read splits, which have an `index` and a `count`, into RecordBatches, DeadLetters and Failures."""
        read = beam.ParDo(ReadByTable(self.fns, self.reads.values(), self.run_id))
        read = read.with_output_types(tuple[int, pa.RecordBatch])
        outputs = splits | "ReadSplit" >> read.with_outputs(DEAD_LETTERS, FAILURES, main=BATCHES)
        return {name: outputs[name] for name in (BATCHES, DEAD_LETTERS, FAILURES)}

    @property
    def fns(self) -> dict[int, ReadSplitFn]:
        """The DoFns that read the splits of each table, by number."""
        return {table: ReadSplitFn(read, type(self)) for table, read in self.reads.items()}

    def batches(self, splits: Iterable[Any], table: int = 0) -> Iterator[pa.RecordBatch | DeadLetter]:
        """Yield a table's rows in this process, without Beam, one split after the other. Raises all errors."""
        read = self.reads[table]
        try:
            for split in splits:
                yield from _read(read, split)
        finally:
            read.reader.close_idle()


class ReadByTable(ByTable):
    """Closes what its thread kept open from one split to the next: at the end of a bundle, or when the bundle fails.

    `reads`: whose readers the DoFns use.
    """

    def __init__(self, fns: Mapping[int, beam.DoFn], reads: Iterable[TableRead], run_id: str) -> None:
        super().__init__(fns, run_id)
        self._readers = [read.reader for read in reads]

    def process(self, element: tuple[int, Any]) -> Iterator[Any]:
        try:
            yield from super().process(element)
        except BaseException:
            # A bundle that fails is not finished, and may be repeated by another thread.
            self._close_idle()
            raise

    def finish_bundle(self) -> Iterator[Any]:
        yield from super().finish_bundle()
        self._close_idle()

    def teardown(self) -> None:
        self._close_idle()
        super().teardown()

    def _close_idle(self) -> None:
        for reader in self._readers:
            reader.close_idle()


class ReadSplitFn(beam.DoFn):
    """Reads the splits of one table into batches, and dead letters to the output `DEAD_LETTERS`.

    `transform`: the namespace of the counters.
    """

    def __init__(self, read: TableRead, transform: type[beam.PTransform]) -> None:
        self._read = read
        self._rows_read = Metrics.counter(transform, f"{read.counted}_read")
        self._dead_letters = Metrics.counter(transform, "dead_letters")

    def process(self, split: Any) -> Generator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        """Read a split. Raises SyncError."""
        of_table = f"{self._read.table}, " if self._read.table else ""
        name = f"{of_table}{self._read.reader.part} {split.index} of {split.count}"
        progress = _Progress(name, self._read.counted)
        with contextlib.closing(_read(self._read, split)) as parts:
            for part in parts:
                letters = 1 if isinstance(part, DeadLetter) else 0
                rows = 1 if isinstance(part, DeadLetter) else part.num_rows
                self.count(rows, letters)
                progress.add(rows)
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, part) if isinstance(part, DeadLetter) else part
        progress.finish()

    def count(self, rows: int, dead_letters: int) -> None:
        """Count rows that were read, `dead_letters` of them invalid."""
        self._rows_read.inc(rows)
        self._dead_letters.inc(dead_letters)


def _choose_allocator() -> None:
    """Let Arrow allocate batches and files by jemalloc, unless the user names another allocator.

    One thread decodes batches, and another encodes and frees them. jemalloc gives their memory to the next ones sooner
    than Arrow's default does: most reads need 20 to 40 MB less.
    """
    if _ALLOCATOR_VARIABLE not in os.environ and _ALLOCATOR in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _read(read: TableRead, split: Any) -> Generator[pa.RecordBatch | DeadLetter]:
    _choose_allocator()
    # closing() makes a reader that is abandoned early close its connection at once.
    with contextlib.closing(read.reader.read(split)) as parts:
        yield from batches_and_dead_letters(
            parts, read.batch_size, read.reader.rows, keeps_dead_letters=read.keeps_dead_letters
        )


def batches_and_dead_letters(
    parts: Iterable[pa.Table | DeadLetter], batch_size: int | None, noun: str, *, keeps_dead_letters: bool
) -> Iterator[pa.RecordBatch | DeadLetter]:
    """Yield valid rows as batches of at most `batch_size` rows, and dead letters with `keeps_dead_letters`.

    Args:
        batch_size: see `TableRead`.
        noun: the source's word for rows, for messages.

    Raises:
        RecordError: rows are invalid, without `keeps_dead_letters`. First counts further invalid rows, and reports all
            columns with numbers of rows.
    """
    survey = _ErrorCounter(noun)
    for part in within_row_limit(parts):
        survey.rows += 1 if isinstance(part, DeadLetter) else part.num_rows
        if isinstance(part, DeadLetter) and keeps_dead_letters:
            yield part
        elif isinstance(part, DeadLetter):
            survey.note(part)
        elif not survey.problems:
            yield from part.to_batches(max_chunksize=batch_size)
        survey.check_time()
    survey.finish()


def within_row_limit(parts: Iterable[pa.Table | DeadLetter]) -> Iterator[pa.Table | DeadLetter]:
    """Yield the parts, with a `DeadLetter` in place of each row above BigQuery's size limit."""
    for part in parts:
        if isinstance(part, DeadLetter) or part.nbytes <= MAX_ROW_BYTES:
            yield part
        else:
            yield from _halved(part)


def _halved(table: pa.Table) -> Iterator[pa.Table | DeadLetter]:
    if table.nbytes <= MAX_ROW_BYTES:
        yield table
    elif table.num_rows == 1:
        yield _too_large(table)
    else:
        half = table.num_rows // 2
        yield from _halved(table.slice(0, half))
        yield from _halved(table.slice(half))


def _too_large(row: pa.Table) -> DeadLetter:
    sizes = {name: column.nbytes for name, column in zip(row.column_names, row.columns, strict=True)}
    largest = max(sizes, key=lambda name: sizes[name])
    reason = (
        f"the row has {row.nbytes:,} bytes, {sizes[largest]:,} of them in column {largest!r}, but BigQuery's limit is "
        f"{MAX_ROW_BYTES:,}: exclude the column with exclude_fields, or such rows with a query"
    )
    return dead_letter(row, largest, reason)


def dead_letter(row: pa.Table | pa.RecordBatch, column: str, reason: str) -> DeadLetter:
    """Return the only row of a table as a dead letter, with values as texts and bytes as hexadecimal digits."""
    return DeadLetter((column,), reason, {name: _text(row.column(name)[0]) for name in row.schema.names})


def _text(value: pa.Scalar) -> str | None:
    plain = value.as_py()
    if plain is None:
        return None
    return plain.hex() if isinstance(plain, bytes) else str(plain)


class _ErrorCounter:
    """Counts invalid rows, for a limited time after the first one."""

    def __init__(self, noun: str) -> None:
        self.rows = 0
        self.problems: Counter[str] = Counter()
        self._noun = noun
        self._uncounted = False
        self._deadline = math.inf

    def note(self, rejected: DeadLetter) -> None:
        if not self.problems:
            self._deadline = time.monotonic() + SURVEY_SECONDS
        for problem in rejected.reason.split("\n"):
            if problem in self.problems or len(self.problems) < MAX_COUNTED:
                self.problems[problem] += 1
            else:
                self._uncounted = True

    def check_time(self) -> None:
        """Check the time limit. Raises RecordError when it is over."""
        if time.monotonic() > self._deadline:
            self.finish()

    def finish(self) -> None:
        """End the count. Raises RecordError when rows were invalid."""
        if self.problems:
            told = [
                f"{problem} (in {count:,} of {self.rows:,} {self._noun})"
                for problem, count in self.problems.most_common(MAX_TOLD)
            ]
            if len(self.problems) > MAX_TOLD:
                more = f"{len(self.problems) - MAX_TOLD:,}"
                told.append(f"and {'more than ' if self._uncounted else ''}{more} other problems")
            raise RecordError("\n".join(told))


class _Progress:
    """Logs the progress of a read every few seconds."""

    def __init__(self, part: str, noun: str = "rows") -> None:
        self._part, self._noun = part, noun
        self._rows = 0
        self._began = self._logged = time.monotonic()

    def add(self, rows: int) -> None:
        self._rows += rows
        PROGRESS.add(rows, self._noun)
        if time.monotonic() - self._logged >= PROGRESS_SECONDS:
            self._log("reading")

    def finish(self) -> None:
        self._log("read")

    def _log(self, verb: str) -> None:
        self._logged = time.monotonic()
        rate = self._rows / max(self._logged - self._began, 1e-3)
        _LOGGER.info(
            "%s %s: %s rows%s",
            verb,
            self._part,
            f"{self._rows:,}",
            f", {rate:,.0f} rows/s" if self._rows else "",
            # A terminal shows the sum of all splits.
            extra=fields({"phase": "read", "rows": self._rows, "seconds": round(self._logged - self._began, 1)}, ""),
        )
