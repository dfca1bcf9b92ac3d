"""A merge finds the older version of a row in whichever partition it lies, and reads no others."""

from __future__ import annotations

import pytest

from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.syncing import Syncing

ROWS = "SELECT id, name FROM items ORDER BY id, name"
AUTO = {"enable_auto_schema": "true", "primary_key": "id"}


@pytest.mark.parametrize(
    ("declared", "granularity"),
    [
        pytest.param("date", "DAY", id="DATE by DAY"),
        pytest.param("date", "MONTH", id="DATE by MONTH"),
        pytest.param("date", "YEAR", id="DATE by YEAR"),
        pytest.param("timestamp", "HOUR", id="DATETIME by HOUR"),
        pytest.param("timestamp", "MONTH", id="DATETIME by MONTH"),
        pytest.param("timestamptz", "HOUR", id="TIMESTAMP by HOUR"),
        pytest.param("timestamptz", "DAY", id="TIMESTAMP by DAY"),
        pytest.param("timestamptz", "YEAR", id="TIMESTAMP by YEAR"),
    ],
)
def test_a_row_is_found_in_the_partition_it_came_from(syncing: Syncing, declared: str, granularity: str) -> None:
    syncing.execute(f"CREATE TABLE items (id int, name text, day {declared}, updated_at timestamptz)")
    parameters = {**AUTO, "partition_field": "day", "partition_granularity": granularity}
    write(syncing, (1, "stays", "2024-01-01"), (2, "moves", "2024-01-01"), (3, "to NULL", "2024-01-01"))
    write(syncing, (4, "from NULL", None), (5, "stays NULL", None), (6, "not changed", "2021-05-05"))
    syncing.smart(**parameters).succeeded()
    syncing.execute("TRUNCATE items")
    write(
        syncing, (1, "stays 2", "2024-01-01"), (2, "moves 2", "2030-12-31"), (3, "to NULL 2", None), stamp="2024-02-02Z"
    )
    write(
        syncing,
        (4, "from NULL 2", "2024-01-01"),
        (5, "stays NULL 2", None),
        (7, "new", "2022-02-02"),
        stamp="2024-02-02Z",
    )
    run = syncing.smart(**parameters).succeeded()
    assert (run.rows_read, run.rows_loaded) == (6, 6)
    assert syncing.query(ROWS) == [
        (1, "stays 2"),
        (2, "moves 2"),
        (3, "to NULL 2"),
        (4, "from NULL 2"),
        (5, "stays NULL 2"),
        (6, "not changed"),
        (7, "new"),
    ]


def write(syncing: Syncing, *rows: tuple[int, str, str | None], stamp: str = "2024-01-01Z") -> None:
    for row in rows:
        syncing.execute("INSERT INTO items VALUES (%s, %s, %s, %s)", (*row, stamp))


def test_a_table_that_demands_a_partition_filter(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, name text, updated_at timestamptz)")
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z'), (2, 'b', '2024-01-02Z')")
    syncing.smart(**AUTO).succeeded()
    table = syncing.table()
    table.require_partition_filter = True
    syncing.client.update_table(table, ["require_partition_filter"])
    syncing.execute("UPDATE items SET name = 'a2', updated_at = '2024-03-03Z' WHERE id = 1")
    assert syncing.smart(**AUTO).succeeded().rows_loaded == 1
    assert syncing.query(f"{ROWS.replace('ORDER', 'WHERE updated_at IS NOT NULL ORDER')}") == [(1, "a2"), (2, "b")]


def test_a_table_partitioned_by_a_column_that_is_not_loaded(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, name text, updated_at timestamptz)")
    syncing.query("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP, day DATE) PARTITION BY day")
    syncing.query("INSERT INTO items VALUES (1, 'a', TIMESTAMP '2024-01-01', DATE '2023-01-01'), (2, 'b', NULL, NULL)")
    syncing.execute("INSERT INTO items VALUES (1, 'a2', '2024-01-02Z'), (3, 'c', '2024-01-02Z')")
    assert syncing.smart(primary_key="id").succeeded().rows_loaded == 2
    assert syncing.query(ROWS) == [(1, "a2"), (2, "b"), (3, "c")]


def test_a_source_in_bigquery_is_merged_without_workers(bigquery_syncing: BigquerySyncing) -> None:
    syncing = bigquery_syncing
    syncing.at_source("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP)")
    syncing.at_source("INSERT INTO items VALUES (1, 'a', TIMESTAMP '2024-01-01'), (2, 'b', TIMESTAMP '2024-01-02')")
    syncing.smart(**AUTO).succeeded()
    syncing.at_source("UPDATE items SET name = 'a2', updated_at = TIMESTAMP '2024-03-03' WHERE id = 1")
    syncing.at_source("INSERT INTO items VALUES (3, 'c', TIMESTAMP '2024-03-04')")
    run = syncing.smart(**AUTO).succeeded()
    assert run.rows_loaded == 2
    assert syncing.query(ROWS) == [(1, "a2"), (2, "b"), (3, "c")]
    assert syncing.tables() == ["items"]


def test_older_versions_in_too_many_partitions_are_refused_before_anything_changes(syncing: Syncing) -> None:
    """4,000 partitions is what one job may change: https://cloud.google.com/bigquery/quotas#partitioned_tables."""
    syncing.query("CREATE TABLE items (id INT64, day DATE) PARTITION BY day")
    for first, last in ((0, 2499), (2500, 4000)):
        syncing.query(
            f"INSERT INTO items SELECT n, DATE_ADD(DATE '2000-01-01', INTERVAL n DAY) "
            f"FROM UNNEST(GENERATE_ARRAY({first}, {last})) AS n"
        )
    syncing.execute("CREATE TABLE items AS SELECT n AS id, date '2024-01-01' AS day FROM generate_series(0, 4000) AS n")
    message = syncing.run(primary_key="id").refused("changes rows in more than 4,000 partitions of day by DAY")
    assert "older row versions included" in message
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT day) FROM items") == [(4001, 4001)]
