from __future__ import annotations

import pytest

from sync_pipeline.smart_sync.placeholder_columns import in_sql, is_readable, mismatch

POSTGRESQL, BIGQUERY = in_sql("postgres"), in_sql("bigquery")
START, END = "'{start_timestamp}'", "'{end_timestamp}'"


def interval(column: str) -> str:
    return f"{column} > {START} AND {column} <= {END}"


MATCHING = {
    "plain": f"SELECT * FROM t WHERE {interval('updated_at')}",
    "qualified": f"SELECT t.* FROM s.t AS t WHERE {interval('t."updated_at"')} ORDER BY 1",
    "upper case": f"SELECT * FROM t WHERE {interval('UPDATED_AT')}",
    "the other way round": f"SELECT * FROM t WHERE {START} < updated_at AND {END} >= updated_at",
    "BETWEEN": f"SELECT * FROM t WHERE updated_at BETWEEN {START} AND {END}",
    "casts": f"SELECT * FROM t WHERE updated_at > {START}::timestamptz AND (updated_at) <= CAST({END} AS timestamptz)",
    "renamed": f"SELECT id, changed AS updated_at FROM t WHERE {interval('t.changed')}",
    "renamed twice": (
        f"WITH c AS (SELECT id, m AS changed FROM t WHERE {interval('m')}) SELECT id, changed AS updated_at FROM c"
    ),
    "an expression": (
        f"SELECT id, greatest(a, b) AS updated_at FROM t WHERE greatest(a,b) > {START} AND GREATEST(a, b) <= {END}"
    ),
    "one column more": f"SELECT * FROM t WHERE d >= {START}::date AND d <= {END}::date AND {interval('updated_at')}",
    "UNION": f"SELECT updated_at FROM a WHERE {interval('updated_at')} UNION ALL SELECT m FROM b WHERE {interval('m')}",
}


@pytest.mark.parametrize("query", MATCHING.values(), ids=MATCHING.keys())
def test_queries_that_compare_the_column_itself(query: str) -> None:
    assert (mismatch(POSTGRESQL, query, "updated_at"), is_readable(POSTGRESQL, query, "updated_at")) == (None, True)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        pytest.param(f"SELECT * FROM t WHERE {interval('x.other')}", "{start_timestamp} with other", id="another"),
        pytest.param(
            f"SELECT * FROM t WHERE updated_at > {START} AND other <= {END}", "{end_timestamp} with other", id="one end"
        ),
        pytest.param(
            f"SELECT other, m AS updated_at FROM t WHERE {interval('other')}",
            "{start_timestamp} with other",
            id="renamed",
        ),
    ],
)
def test_queries_that_compare_another(query: str, told: str) -> None:
    assert mismatch(POSTGRESQL, query, "updated_at") == told


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(f"SELECT * FROM changes({START}, {END})", id="arguments"),
        pytest.param(f"SELECT * FROM t WHERE {interval('coalesce(a, b)')}", id="an expression"),
        pytest.param(f"SELECT * FROM t WHERE tstzrange({START}, {END}, '(]') @> updated_at", id="a range"),
        pytest.param(f"SELECT * FROM t WHERE (updated_at, id) > ({START}, 0) AND updated_at <= {END}", id="a row"),
        pytest.param(f"SELECT * FROM (SELECT i, m FROM t WHERE {interval('m')}) AS q(id, updated_at)", id="alias"),
        pytest.param(f"SELECT FROM WHERE ( {interval('other')}", id="no SQL"),
        pytest.param("SELECT 1 -- '{start_timestamp}' '{end_timestamp}'", id="comments"),
    ],
)
def test_queries_that_cannot_be_read(query: str) -> None:
    assert mismatch(POSTGRESQL, query, "updated_at") is None
    assert not is_readable(POSTGRESQL, query, "updated_at")


def test_a_query_of_bigquery() -> None:
    query = (
        "SELECT * FROM `p.d.t` WHERE {0} > DATETIME(TIMESTAMP '{{start_timestamp}}') "
        'AND {0} <= TIMESTAMP("{{end_timestamp}}")'
    )
    assert mismatch(BIGQUERY, query.format("updated_at"), "updated_at") is None
    assert is_readable(BIGQUERY, query.format("updated_at"), "updated_at")
    assert mismatch(BIGQUERY, query.format("`other`"), "updated_at") == "{start_timestamp} with other"
