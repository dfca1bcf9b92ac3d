from __future__ import annotations

import pytest

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.postgresql.query_text import single_statement


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        pytest.param("SELECT 1", "SELECT 1", id="plain"),
        pytest.param(" SELECT 1 ; ", "SELECT 1", id="semicolon"),
        pytest.param("SELECT 'a;b' -- c", "SELECT 'a;b'", id="comment"),
        pytest.param("SELECT $$;$$; /* ; */", "SELECT $$;$$", id="dollar quotes"),
        pytest.param("SELECT $t$a $b$;$t$;", "SELECT $t$a $b$;$t$", id="a tag"),
        pytest.param("SELECT '🎉' /* 🎉 */;", "SELECT '🎉'", id="emoji"),
        pytest.param("SELECT 1 /* a /* b; */ c; */", "SELECT 1", id="nested comment"),
        pytest.param("SELECT B'2;', x'1F', n'a;', U&'\\0041;'", None, id="prefixes"),
        pytest.param("SELECT E'it\\'s; fine', e'\\\\', ';'", None, id="escapes"),
        pytest.param("SELECT E'a'\n  'it\\'s; fine'", None, id="escapes over two lines"),
        pytest.param("SELECT '\\', ';'", None, id="a backslash is a character"),
        pytest.param("SELECT 'it''s;' AS \"a;\"\"b\", a$b$c, $1", None, id="doubled quotes and dollars in names"),
        pytest.param("SELECT a @> b, a->>'x;', '{a,b}'::text[], (1 + (2))", None, id="operators and brackets"),
        pytest.param("SELECT ')' AS \"(\" -- (", "SELECT ')' AS \"(\"", id="brackets in texts"),
        pytest.param("SELECT '{start_timestamp}' -- {end_timestamp}\n, $$ {end_timestamp} $$", None, id="placeholders"),
    ],
)
def test_single_statement(query: str, kept: str | None) -> None:
    assert single_statement(query, "a_query") == (query if kept is None else kept)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        pytest.param("SELECT 1; SELECT 2", "has more than one statement: give one SELECT", id="two"),
        pytest.param("SELECT B'2'; CREATE TABLE t ()", "has more than one statement: give one SELECT", id="bits"),
        pytest.param("SELECT '\\'; SELECT 2 --'", "has more than one statement: give one SELECT", id="backslash"),
        pytest.param("SELECT 1 AS €$$; COMMIT; --$$", "has more than one statement: give one SELECT", id="a letter"),
        pytest.param("SELECT 1 AS \xa0$$; COMMIT; --$$", "has more than one statement: give one SELECT", id="a space"),
        pytest.param("-- SELECT 1", "has no statement: give one SELECT", id="a comment"),
        pytest.param(";", "has no statement: give one SELECT", id="a semicolon"),
        pytest.param("SELECT\n  'open;", ": the text that begins at line 2, column 3 does not end", id="open text"),
        pytest.param("SELECT $a$ $b$", ": the text that begins at line 1, column 8 does not end", id="open dollars"),
        pytest.param("SELECT E'\\'", ": the text that begins at line 1, column 8 does not end", id="open escapes"),
        pytest.param('SELECT "a', ": the quoted name that begins at line 1, column 8 does not end", id="open name"),
        pytest.param(
            "SELECT 1 /* /* */", ": the comment that begins at line 1, column 10 does not end", id="open comment"
        ),
        pytest.param(
            "SELECT 1) AS q, (SELECT 2", ": the closing bracket at line 1, column 9 has no opening one", id=")"
        ),
        pytest.param("SELECT (1", ": the opening bracket at line 1, column 8 has no closing one", id="("),
        pytest.param(
            "SELECT * FROM t WHERE a > {start_timestamp} AND a <= '{end_timestamp}'",
            ": {start_timestamp} at line 1, column 27 is not in quotes: write '{start_timestamp}'",
            id="a placeholder without quotes",
        ),
    ],
)
def test_queries_that_are_refused(query: str, problem: str) -> None:
    with pytest.raises(SourceQueryError) as caught:
        single_statement(query, "a_query")
    assert str(caught.value).removeprefix("a_query").removeprefix(" ") == problem.removeprefix(" ")
