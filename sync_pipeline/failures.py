"""Final errors as elements: a step emits an error that no retry can fix to the publishing step, instead of raising it.

A runner retries a bundle that raises; Dataflow runs it four times. If the read rejects a row late in a large table, it
would read the table and reject the row four times. As an element, the failure occurs once: the publishing step deletes
the staged files and ends the job with the error's message. Transient errors are raised, so that the runner retries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from sync_pipeline.errors import ConfigError, SyncError, message_of

# The tag of the output for failures.
FAILURES = "failures"

# The failures of this process, by run id. Steps of one run share a process: after a failure every other step of the run
# stops and emits the same failure, so that its partial output does not count as complete.
_FAILED: dict[str, Failure] = {}


@dataclass(frozen=True)
class Failure:
    """An error that no retry can fix."""

    error: SyncError


class CatchFinalErrors(beam.DoFn):
    """Runs `fn` and emits a final error as a `Failure` to the output `FAILURES`; raises other errors.

    Without a `run_id`, raises all errors.
    """

    def __init__(self, fn: beam.DoFn, run_id: str) -> None:
        self._fn = fn
        self._run_id = run_id

    def setup(self) -> None:
        self._fn.setup()

    def start_bundle(self) -> None:
        self._fn.start_bundle()

    def process(self, element: Any) -> Iterator[Any]:
        try:
            # closing() makes a read that stops early close its connection at once.
            with contextlib.closing(_generator(self._fn, element)) as outputs:
                while self._run_id not in _FAILED:
                    try:
                        output = next(outputs)
                    except StopIteration:
                        return
                    yield output
            failure = _FAILED[self._run_id]
        except SyncError as error:
            failure = self._failure(error)
        yield beam.pvalue.TaggedOutput(FAILURES, failure)

    def finish_bundle(self) -> Iterator[Any]:
        try:
            yield from self._fn.finish_bundle() or ()
        except SyncError as error:
            window = GlobalWindow()
            value = WindowedValue(self._failure(error), window.max_timestamp(), [window])
            yield beam.pvalue.TaggedOutput(FAILURES, value)

    def teardown(self) -> None:
        self._fn.teardown()

    def _failure(self, error: SyncError) -> Failure:
        if error.is_transient or not self._run_id:
            raise error
        return _FAILED.setdefault(self._run_id, Failure(error))


def _generator(fn: beam.DoFn, element: Any) -> Generator[Any]:
    yield from fn.process(element) or ()


def combined_error(failures: Sequence[Failure]) -> SyncError:
    """Return one error of the first failure's class, with the messages of all failures of that class."""
    kind = type(failures[0].error)
    errors = [failure.error for failure in failures if type(failure.error) is kind]
    messages = list(dict.fromkeys(message_of(error) for error in errors))
    return ConfigError(messages) if kind is ConfigError else kind("\n".join(messages))
