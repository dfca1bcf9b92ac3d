"""What becomes of the rows of a read: they are counted, shown to a person while they come, and go where they belong."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from sync_pipeline.errors import RecordError
from sync_pipeline.sources.source import DEAD_LETTERS, DeadLetter, ReadSplit

_LOGGER = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0

# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#input_file_requirements
MAX_ROW_BYTES = 50 * 1024 * 1024

# How long a read that will fail goes on, to tell how many rows do not fit; how many different problems it counts, and
# how many it tells.
SURVEY_SECONDS = 30.0
MAX_COUNTED, MAX_TOLD = 1000, 50


class RowRouter:
    """The outputs of a read, and its counters `rows_read` and `dead_letters` under the name of `transform`."""

    def __init__(self, transform: type[beam.PTransform]) -> None:
        self._rows_read = Metrics.counter(transform, "rows_read")
        self._dead_letters = Metrics.counter(transform, "dead_letters")

    def of(
        self, split: ReadSplit, parts: Iterable[pa.RecordBatch | DeadLetter]
    ) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        """Yield the batches of a split to the main output, and its dead letters to the output `DEAD_LETTERS`."""
        progress = _Progress(split)
        for part in parts:
            if isinstance(part, DeadLetter):
                self._rows_read.inc()
                self._dead_letters.inc()
                progress.add(1)
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, part)
            else:
                self._rows_read.inc(part.num_rows)
                progress.add(part.num_rows)
                yield part
        progress.finish()


def batches_and_dead_letters(
    parts: Iterable[pa.Table | DeadLetter], batch_size: int, noun: str, *, keeps_dead_letters: bool
) -> Iterator[pa.RecordBatch | DeadLetter]:
    """Yield the rows that fit as batches of at most `batch_size`, and those that do not as they are, if they are kept.

    If not, RecordError is raised, after a look at how many there are: it tells of all columns and how often. `noun` is
    what the source calls its rows.
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
    """Yield the parts, with a `DeadLetter` in place of each row that is larger than BigQuery loads."""
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
        f"the row has {row.nbytes:,} bytes, {sizes[largest]:,} of them in column {largest!r}, and BigQuery loads rows "
        f"of at most {MAX_ROW_BYTES:,}: leave the column out with exclude_fields, or such rows out in the query"
    )
    return DeadLetter((largest,), reason, {name: _text(row.column(name)[0]) for name in row.column_names})


def _text(value: pa.Scalar) -> str | None:
    plain = value.as_py()
    if plain is None:
        return None
    return plain.hex() if isinstance(plain, bytes) else str(plain)


class _ErrorCounter:
    """Counts the rows that do not fit; it ends some time after the first of them."""

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
        """Raise RecordError when the time is up."""
        if time.monotonic() > self._deadline:
            self.finish()

    def finish(self) -> None:
        """Raise RecordError when something did not fit."""
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
    """Logs one line every few seconds, so that a person sees the read move."""

    def __init__(self, split: ReadSplit) -> None:
        self._split = split
        self._rows = 0
        self._began = self._logged = time.monotonic()

    def add(self, rows: int) -> None:
        self._rows += rows
        if time.monotonic() - self._logged >= PROGRESS_SECONDS:
            self._log("reading")

    def finish(self) -> None:
        self._log("read")

    def _log(self, verb: str) -> None:
        self._logged = time.monotonic()
        rate = self._rows / max(self._logged - self._began, 1e-3)
        _LOGGER.info(
            "%s split %d of %d: %s rows%s",
            verb,
            self._split.index,
            self._split.count,
            f"{self._rows:,}",
            f", {rate:,.0f} rows/s" if self._rows else "",
        )
