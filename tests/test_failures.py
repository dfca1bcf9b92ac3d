from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from sync_pipeline.errors import (
    ConfigError,
    PublishUnavailableError,
    RecordError,
    SchemaError,
    SourceQueryError,
    SourceUnavailableError,
    SyncError,
)
from sync_pipeline.failures import FAILURES, ByTable, Failure, combined_error, error_line


class Reading(beam.DoFn):
    """Yields the numbers below its element, and raises what it is told to in place of a number."""

    def __init__(self, errors: dict[int, Exception], at_the_end: SyncError | None = None) -> None:
        self.errors, self.at_the_end = errors, at_the_end
        self.read: list[int] = []
        self.closed = 0

    def process(self, element: int) -> Iterator[int]:
        try:
            for number in range(element):
                if number in self.errors:
                    raise self.errors[number]
                self.read.append(number)
                yield number
        finally:
            self.closed += 1

    def finish_bundle(self) -> Iterator[Any]:
        if self.at_the_end is not None:
            raise self.at_the_end
        yield from ()


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


FINAL = [RecordError("a row"), SchemaError("a column"), SourceQueryError("no"), ConfigError(["no"])]
TRANSIENT = [SourceUnavailableError("gone"), PublishUnavailableError("gone")]


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_a_final_error_is_an_element(run_id: str, error: SyncError) -> None:
    reading = Reading({2: error})
    *rows, failure = ByTable({0: reading}, run_id).process((0, 5))
    assert rows == [(0, 0), (0, 1)]
    assert (failure.tag, failure.value) == (FAILURES, (0, Failure(error)))
    assert reading.closed == 1


@pytest.mark.parametrize("error", [*TRANSIENT, ValueError("a bug")], ids=lambda error: type(error).__name__)
def test_what_another_attempt_may_mend_is_raised(run_id: str, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        list(ByTable({0: Reading({2: error})}, run_id).process((0, 5)))


def test_without_a_run_all_errors_are_raised() -> None:
    with pytest.raises(RecordError):
        list(ByTable({0: Reading({2: FINAL[0]})}, "").process((0, 5)))


def test_steps_of_a_failed_run_stop_and_say_so(run_id: str) -> None:
    writing = ByTable({0: Reading({0: FINAL[0]})}, run_id)
    reading = Reading({})
    outputs = ByTable({0: reading}, run_id).process((0, 100))
    assert next(outputs) == (0, 0)
    # The step that takes the rows fails.
    (failure,) = writing.process((0, 1))
    assert [each.value for each in outputs] == [failure.value]
    assert reading.read == [0]
    assert reading.closed == 1
    # A bundle that begins afterwards must not be taken for one without rows.
    assert [each.value for each in ByTable({0: Reading({})}, run_id).process((0, 3))] == [failure.value]


def test_other_runs_go_on(run_id: str) -> None:
    list(ByTable({0: Reading({0: FINAL[0]})}, run_id).process((0, 1)))
    assert list(ByTable({0: Reading({})}, f"{run_id}-other").process((0, 2))) == [(0, 0), (0, 1)]


def test_a_final_error_at_the_end_of_a_bundle(run_id: str) -> None:
    by_table = ByTable({0: Reading({}, FINAL[0])}, run_id)
    assert list(by_table.process((0, 1))) == [(0, 0)]
    (failure,) = by_table.finish_bundle()
    assert failure.tag == FAILURES
    assert isinstance(failure.value, WindowedValue)
    assert failure.value.value == (0, Failure(FINAL[0]))


def test_tables_take_turns_and_fail_alone(run_id: str) -> None:
    """A table's bundle ends when another table's value comes, and its failure is not the other table's."""

    class Writing(beam.DoFn):
        """Holds what comes until the bundle ends."""

        def __init__(self, error: SyncError | None = None) -> None:
            self.error, self.waiting = error, []

        def start_bundle(self) -> None:
            self.waiting = []

        def process(self, element: str) -> None:
            self.waiting.append(element)

        def finish_bundle(self) -> Iterator[Any]:
            if self.error is not None:
                raise self.error
            window = GlobalWindow()
            yield WindowedValue("".join(self.waiting), window.max_timestamp(), [window])

    by_table = ByTable({0: Writing(FINAL[0]), 1: Writing(), 2: Writing()}, run_id)
    by_table.start_bundle()
    elements = [(1, "a"), (1, "b"), (0, "c"), (2, "d"), (0, "e"), (1, "f")]
    outputs = [output for element in elements for output in by_table.process(element)]
    ended = [output.value for output in by_table.finish_bundle()]
    failures = [output.value for output in outputs if isinstance(output, beam.pvalue.TaggedOutput)]
    assert [output for output in outputs if isinstance(output, tuple)] == [(1, "ab"), (2, "d")]
    assert set(failures) == {(0, Failure(FINAL[0]))}
    assert ended == [(1, "f")]


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_a_failure_crosses_processes(error: SyncError) -> None:
    again = pickle.loads(pickle.dumps(Failure(error)))
    assert (type(again.error), str(again.error)) == (type(error), str(error))


def test_failures_of_many_parts_are_one_error() -> None:
    failures = [Failure(RecordError(text)) for text in ("a", "b", "a")]
    error = combined_error([*failures, Failure(SchemaError("other"))])
    assert (type(error), str(error)) == (RecordError, "a\nb")
    assert combined_error([Failure(ConfigError(["a", "b"]))]).exit_code == 2


def test_an_error_of_several_lines_is_shown_on_one() -> None:
    error = SchemaError("the table does not match the source:\n  column a is missing\n  column b is STRING")
    assert error_line(error) == "the table does not match the source: column a is missing; column b is STRING"
