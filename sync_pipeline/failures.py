"""Final errors as elements: a step emits an error that no retry can fix to the publishing step, instead of raising it.

A runner retries a bundle that raises; Dataflow runs it four times. If the read rejects a row late in a large table, it
would read the table and reject the row four times. As an element, the failure occurs once: the publishing step deletes
the staged files and ends the job with the error's message. Transient errors are raised, so that the runner retries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from sync_pipeline.errors import ConfigError, SourceBusyError, SourceError, SyncError, message_of

# The tag of the output for failures.
FAILURES = "failures"

# The failures of this process, by run id and table. Steps of one run share a process: after a failure every other step
# stops work on that table and emits the same failure, so that its partial output does not count as complete.
_FAILED: dict[tuple[str, int], Failure] = {}


@dataclass(frozen=True)
class Failure:
    """An error that no retry can fix."""

    error: SyncError


class ByTable(beam.DoFn):
    """Runs one DoFn per table, on elements that are pairs of a table's number and a value.

    Emits the DoFn's outputs as such pairs. A final error ends only its own table: it is emitted as a `Failure` to the
    output `FAILURES`, as is that of a busy table where there are others. Other errors are raised; without a `run_id`,
    all errors are.

    The DoFn of a table finishes its bundle when a value of another table arrives, so that two of them never hold rows
    at once.
    """

    def __init__(self, fns: Mapping[int, beam.DoFn], run_id: str = "") -> None:
        self._fns = dict(fns)
        self._run_id = run_id
        self._table: int | None = None

    def setup(self) -> None:
        for fn in self._fns.values():
            fn.setup()

    def start_bundle(self) -> None:
        self._table = None

    def process(self, element: tuple[int, Any]) -> Iterator[Any]:
        table, value = element
        if table != self._table:
            yield from self._finish_table()
            self._fns[table].start_bundle()
            self._table = table
        try:
            # Closed, so that a read that stops early gives up its connection now.
            with contextlib.closing(_generator(self._fns[table], value)) as outputs:
                while (self._run_id, table) not in _FAILED:
                    try:
                        output = next(outputs)
                    except StopIteration:
                        return
                    yield _of_table(table, output)
            failure = _FAILED[self._run_id, table]
        except SyncError as error:
            failure = self._failure(error, table)
        yield beam.pvalue.TaggedOutput(FAILURES, (table, failure))

    def finish_bundle(self) -> Iterator[Any]:
        for output in self._finish_table():
            if isinstance(output, beam.pvalue.TaggedOutput):
                yield beam.pvalue.TaggedOutput(output.tag, _in_window(output.value))
            else:
                yield _in_window(output)

    def teardown(self) -> None:
        for fn in self._fns.values():
            fn.teardown()

    def _finish_table(self) -> Iterator[Any]:
        """End the bundle of the table that was last; yield what it emits, without windows."""
        table, self._table = self._table, None
        if table is None:
            return
        try:
            for output in self._fns[table].finish_bundle() or ():
                yield _of_table(table, output.value)
        except SyncError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, (table, self._failure(error, table)))

    def _failure(self, error: SyncError, table: int) -> Failure:
        if isinstance(error, SourceBusyError) and self._run_id and len(self._fns) > 1:
            # Another attempt might have to wait as long, and would end the run of all tables.
            error = SourceError(message_of(error))
        if error.is_transient or not self._run_id:
            raise error
        return _FAILED.setdefault((self._run_id, table), Failure(error))


def raise_if_failed(run_id: str, table: int) -> None:
    """Raise the final error of a table that failed in this process; a step that goes on for long asks in between."""
    failure = _FAILED.get((run_id, table))
    if failure is not None:
        raise failure.error


def _generator(fn: beam.DoFn, element: Any) -> Generator[Any]:
    yield from fn.process(element) or ()


def _of_table(table: int, output: Any) -> Any:
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, (table, output.value))
    return table, output


def _in_window(value: Any) -> WindowedValue:
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


def combined_error(failures: Sequence[Failure]) -> SyncError:
    """Return one error that says what all failures of its kind say."""
    kind = type(failures[0].error)
    errors = [failure.error for failure in failures if type(failure.error) is kind]
    return error_of(kind, list(dict.fromkeys(message_of(error) for error in errors)))


def error_of(kind: type[SyncError], messages: Sequence[str]) -> SyncError:
    """Return an error with several messages."""
    return ConfigError(messages) if kind is ConfigError else kind("\n".join(messages))


def error_of_tables(errors: Mapping[str, SyncError], count: int) -> SyncError:
    """Return the error of a run of `count` tables some of which failed: their number, and a line for each.

    It is transient if one of them is.
    """
    first = next((error for error in errors.values() if error.is_transient), next(iter(errors.values())))
    lines = [f"{name}: {error_line(error)}" for name, error in errors.items()]
    return error_of(type(first), [f"{len(errors):,} of {count:,} tables failed", *lines])


def error_line(error: SyncError) -> str:
    """Return the error's message on one line."""
    return "; ".join(line.strip() for line in message_of(error).split("\n")).replace(":; ", ": ")
