"""One run copies the tables of a dataset, and the next what changed in it, by either read method."""

from __future__ import annotations

import pytest

from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.syncing import Run
from tests.integration.table_values import Rows, bigquery_rows


def run(syncing: BigquerySyncing, **parameters: str | None) -> Run:
    selected = {"source_bigquery_table": "*,seen,!audit", "destination_bigquery_table": None}
    return syncing.run(**{**selected, "smart_sync_settle_seconds": "0", **parameters})


def test_a_dataset(bigquery_syncing: BigquerySyncing) -> None:
    syncing = bigquery_syncing.by("query")
    change = syncing.at_source
    change("CREATE TABLE orders (id INT64, updated_at TIMESTAMP) AS SELECT 1, TIMESTAMP '2024-01-01 00:00:00+00'")
    change("CREATE TABLE nested (id INT64, s STRUCT<a INT64>) AS SELECT 1, STRUCT(2 AS a)")
    change("CREATE TABLE empty (id INT64)")
    change("CREATE TABLE audit (id INT64)")
    change(f"CREATE VIEW seen AS SELECT id FROM {syncing.source}.orders")
    first = run(syncing)
    assert (first.exit_code, first.errors) == (0, ()), first.everything
    assert syncing.tables() == ["empty", "nested", "orders", "seen"]
    assert syncing.query("SELECT id, s.a FROM nested") == [(1, 2)]
    change("INSERT INTO orders VALUES (1, TIMESTAMP '2024-01-02 00:00:00+00'), (2, NULL)")
    change("DELETE FROM nested WHERE TRUE")
    change("INSERT INTO audit VALUES (1)")
    change("CREATE TABLE added (id INT64) AS SELECT 1")
    second = run(syncing.by("storage_api"))
    assert (second.exit_code, second.errors) == (0, ()), second.everything
    assert syncing.query("SELECT id, updated_at IS NULL FROM orders ORDER BY 1, 2") == [
        (1, False),
        (1, False),
        (2, True),
    ]
    assert syncing.query("SELECT id FROM seen ORDER BY 1") == [(1,), (1,), (2,)]
    assert syncing.query("SELECT COUNT(*) FROM nested UNION ALL SELECT COUNT(*) FROM empty") == [(0,), (0,)]
    assert syncing.query("SELECT id FROM added") == [(1,)]
    assert syncing.left_over() == []


# Columns and the values that they have in the n-th row.
COLUMNS = {
    "text": "CONCAT('é', CAST(n AS STRING))",
    "number": "n * 9007199254740",
    "ratio": "n / 7",
    "price": "CAST(n AS NUMERIC) / 8",
    "is_new": "IF(MOD(n, 2) = 0, NULL, TRUE)",
    "day": "DATE_ADD(DATE '2024-02-29', INTERVAL n DAY)",
    "at": "TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL n MICROSECOND)",
    "local": "DATETIME '2024-01-01 10:00:00'",
    "data": "CAST('x' AS BYTES)",
    "tags": "IF(MOD(n, 3) = 0, [], [n, -n])",
    "address": "STRUCT(n AS floor, 'Łódź' AS city)",
    "body": "JSON '{\"a\": [1, null]}'",
}


@pytest.mark.timeout(300)
def test_every_value_of_twenty_tables(bigquery_syncing: BigquerySyncing) -> None:
    syncing = bigquery_syncing.by("query")
    names = [f"t{number:02}" for number in range(20)]
    for number, name in enumerate(names):
        columns = list(COLUMNS.items())[number % 6 :: 1 + number % 3]
        selected = ", ".join(f"{expression} AS {column}" for column, expression in columns)
        syncing.at_source(
            f"CREATE TABLE {name} AS SELECT n AS id, {selected} FROM UNNEST(GENERATE_ARRAY(1, {number * 5})) AS n"
        )
    changes = (
        "DELETE FROM t07 WHERE id < 9",
        "INSERT INTO t09 (id) VALUES (1000)",
        "CREATE TABLE added AS SELECT 1 AS id",
    )
    for statements, tables in (((), names), (changes, [*names, "added"])):
        for statement in statements:
            syncing.at_source(statement)
        done = syncing.run(source_bigquery_table="*", destination_bigquery_table=None)
        assert (done.exit_code, done.errors) == (0, ()), done.everything
        for name in tables:
            assert rows(syncing, syncing.source, name) == rows(syncing, syncing.dataset, name), name
    assert syncing.left_over() == []


def rows(syncing: BigquerySyncing, dataset: str, table: str) -> Rows:
    return bigquery_rows(syncing.client.list_rows(syncing.client.get_table(f"{dataset}.{table}")))
