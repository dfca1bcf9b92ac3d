from __future__ import annotations

import logging

import pytest

from sync_pipeline.errors import SchemaError, SourceQueryError, SourceUnavailableError
from sync_pipeline.source_access import MAX_BACKOFF_SECONDS, check_names, connect_with_retries, single_statement


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.source_access.time.sleep", waits.append)
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
    ("dialect", "query", "kept"),
    [
        pytest.param("bigquery", "SELECT 1", "SELECT 1", id="plain"),
        pytest.param("bigquery", " SELECT 1 ; -- done\n", "SELECT 1", id="semicolon and comment"),
        pytest.param("bigquery", "SELECT ';' AS `a;b` # no end\n", "SELECT ';' AS `a;b`", id="quoted semicolons"),
        pytest.param(
            "bigquery", "WITH x AS (SELECT 1) SELECT * FROM x;;", "WITH x AS (SELECT 1) SELECT * FROM x", id="WITH"
        ),
        pytest.param("bigquery", 'SELECT r"\\d;", """a\n;"""', 'SELECT r"\\d;", """a\n;"""', id="strings of GoogleSQL"),
        pytest.param("bigquery", "SELECT 'open", "SELECT 'open", id="left to BigQuery"),
        pytest.param("postgres", " SELECT 1 ; ", "SELECT 1", id="semicolon"),
        pytest.param("postgres", "SELECT 'a;b' -- c", "SELECT 'a;b'", id="comment"),
        pytest.param("postgres", "SELECT $$;$$; /* ; */", "SELECT $$;$$", id="dollar quotes"),
        pytest.param("postgres", "SELECT '🎉' /* 🎉 */;", "SELECT '🎉'", id="emoji"),
        pytest.param("postgres", "SELECT 'never ends;", "SELECT 'never ends;", id="left to PostgreSQL"),
    ],
)
def test_single_statement(dialect: str, query: str, kept: str) -> None:
    assert single_statement(query, "a_query", dialect) == kept


@pytest.mark.parametrize("dialect", ["bigquery", "postgres"])
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        pytest.param("SELECT 1; SELECT 2", "more than one statement", id="two"),
        pytest.param("-- SELECT 1", "no statement", id="a comment"),
        pytest.param(";", "no statement", id="a semicolon"),
    ],
)
def test_queries_that_are_not_one(query: str, problem: str, dialect: str) -> None:
    with pytest.raises(SourceQueryError, match=f"^a_query holds {problem}: give one SELECT$"):
        single_statement(query, "a_query", dialect)


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
