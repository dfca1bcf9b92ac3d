from __future__ import annotations

import pytest

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.bigquery.query_text import single_statement


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        pytest.param("SELECT 1", "SELECT 1", id="plain"),
        pytest.param(" SELECT 1 ; -- done\n", "SELECT 1", id="semicolon and comment"),
        pytest.param("SELECT ';' AS `a;b` # no end\n", "SELECT ';' AS `a;b`", id="quoted semicolons"),
        pytest.param("WITH x AS (SELECT 1) SELECT * FROM x;;", "WITH x AS (SELECT 1) SELECT * FROM x", id="WITH"),
        pytest.param('SELECT r"\\d;", """a\n;"""', 'SELECT r"\\d;", """a\n;"""', id="strings of GoogleSQL"),
        pytest.param("SELECT b'x;', TIMESTAMP '{start_timestamp}'", None, id="bytes and a placeholder"),
    ],
)
def test_single_statement(query: str, kept: str | None) -> None:
    assert single_statement(query, "a_query") == (query if kept is None else kept)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        pytest.param("SELECT 1; SELECT 2", " has more than one statement: give one SELECT", id="two"),
        pytest.param("-- SELECT 1", " has no statement: give one SELECT", id="a comment"),
        pytest.param(";", " has no statement: give one SELECT", id="a semicolon"),
        pytest.param(
            "SELECT 'open",
            ": a text, a quoted name or a comment does not end, or is malformed: correct the query",
            id="open text",
        ),
        pytest.param(
            "SELECT * FROM t WHERE a > {start_timestamp}",
            ": {start_timestamp} at line 1, column 27 is not in quotes: write '{start_timestamp}'",
            id="a placeholder without quotes",
        ),
    ],
)
def test_queries_that_are_refused(query: str, problem: str) -> None:
    with pytest.raises(SourceQueryError) as caught:
        single_statement(query, "a_query")
    assert str(caught.value) == f"a_query{problem}"
