from __future__ import annotations

import logging

import pytest

from sync_pipeline.errors import SchemaError, SourceQueryError, SourceUnavailableError
from sync_pipeline.sources.access import MAX_BACKOFF_SECONDS, check_names, connect_with_retries, place_of


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", waits.append)
    return waits


class Server:
    """Cannot be reached for a while."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def connect(self) -> str:
        if self.failures:
            self.failures -= 1
            raise SourceUnavailableError("the server cannot be reached")
        return "connected"


def test_retries_wait_twice_as_long_each_time(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(SourceUnavailableError):
        connect_with_retries(Server(8).connect, 7)
    assert waits == [1, 2, 4, 8, 16, MAX_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS]
    assert caplog.messages[-1] == "the server cannot be reached; trying again in 30 s (7 of 7)"


def test_the_last_attempt_may_succeed(waits: list[float]) -> None:
    assert connect_with_retries(Server(2).connect, 2) == "connected"
    assert waits == [1, 2]


def test_a_refusal_is_not_tried_again(waits: list[float]) -> None:
    def refuse() -> None:
        raise SourceQueryError("no such database")

    with pytest.raises(SourceQueryError):
        connect_with_retries(refuse, 7)
    assert waits == []


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        pytest.param([], "the query returns no columns: select at least one", id="none"),
        pytest.param(
            ["a", "b", "a", "b", "c"],
            "the query returns more than one column called a, b: name each differently with AS",
            id="repeated",
        ),
    ],
)
def test_names_that_cannot_be_columns(names: list[str], problem: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_names(names)
    assert str(caught.value) == problem


def test_names_that_can() -> None:
    check_names(["a", "A", "b"])


@pytest.mark.parametrize(
    ("position", "place"),
    [
        pytest.param(0, " at line 1, column 1", id="the first"),
        pytest.param(4, " at line 1, column 5", id="a line break"),
        pytest.param(5, " at line 2, column 1", id="the first of a line"),
        pytest.param(8, " at line 2, column 4", id="the last"),
    ],
)
def test_place_of(position: int, place: str) -> None:
    assert place_of("SELE\nCT x", position) == place
