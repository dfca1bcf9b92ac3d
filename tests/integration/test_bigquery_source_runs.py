"""Runs from BigQuery to BigQuery: what is there afterwards is the same by both ways."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.bigquery_syncing import WAYS, BigquerySyncing

KEYED = {"primary_key": "id"}
PLACEHOLDERS = "SELECT * FROM items WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"


@pytest.fixture(params=WAYS)
def syncing(request: pytest.FixtureRequest, bigquery_syncing: BigquerySyncing) -> BigquerySyncing:
    return bigquery_syncing.by(request.param)


@pytest.fixture
def items(syncing: BigquerySyncing) -> BigquerySyncing:
    syncing.at_source("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP)")
    add(syncing, (1, "a", "2024-01-01"), (2, "b", "2024-01-02"))
    return syncing


def add(syncing: BigquerySyncing, *rows: tuple[int | None, str, str]) -> None:
    values = ", ".join(
        f"({'NULL' if number is None else number}, '{name}', TIMESTAMP '{day} 00:00:00+00')"
        for number, name, day in rows
    )
    syncing.at_source(f"INSERT INTO items VALUES {values}")


def names(syncing: BigquerySyncing) -> list[tuple[Any, ...]]:
    return syncing.query("SELECT id, name FROM items ORDER BY id, name")


def test_only_new_rows_are_appended(items: BigquerySyncing) -> None:
    assert items.smart().succeeded().rows_loaded == 2
    assert items.smart().succeeded().report["outcome"].startswith("nothing new")
    add(items, (3, "c", "2024-01-03"), (1, "a2", "2024-01-04"))
    run = items.smart().succeeded()
    assert (run.rows_loaded, run.interval[0]) == (2, datetime(2024, 1, 2, tzinfo=UTC))
    assert names(items) == [(1, "a"), (1, "a2"), (2, "b"), (3, "c")]
    assert items.left_over() == []


def test_everything_is_also_what_lies_before_1900(items: BigquerySyncing) -> None:
    add(items, (3, "c", "1850-01-01"), (4, "d", "0001-01-01"))
    items.at_source("INSERT INTO items (id, name) VALUES (9, 'timeless')")
    assert items.smart().succeeded().rows_loaded == 4
    assert names(items) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    query = items.smart(source_bigquery_query=PLACEHOLDERS, destination_bigquery_table="others").succeeded()
    assert query.rows_loaded == 3
    assert [
        risk for risk in query.risks if "rows with the timestamp 0001-01-01 00:00:00.000000+00 are not read" in risk
    ]


def test_rows_are_merged_by_their_key(items: BigquerySyncing) -> None:
    items.smart(**KEYED).succeeded()
    add(items, (3, "c", "2024-01-03"), (1, "old", "2024-01-03"), (1, "new", "2024-01-04"))
    assert items.smart(**KEYED).succeeded().rows_loaded == 2
    assert names(items) == [(1, "new"), (2, "b"), (3, "c")]


def test_null_in_the_key_is_refused(items: BigquerySyncing) -> None:
    add(items, (None, "nobody", "2024-01-03"))
    items.smart(**KEYED).refused("column 'id' has NULL, which is not allowed")
    assert "items" not in items.tables() or names(items) == []


def test_rows_without_a_timestamp_are_merged_when_asked_for(items: BigquerySyncing) -> None:
    items.at_source("INSERT INTO items (id, name) VALUES (9, 'timeless')")
    assert items.smart(**KEYED).succeeded().rows_loaded == 2
    items.smart(**KEYED, smart_sync_null_timestamps="include").succeeded()
    assert names(items)[-1] == (9, "timeless")


def test_all_rows_are_replaced(items: BigquerySyncing) -> None:
    items.query("CREATE TABLE items (id INT64 NOT NULL, name STRING, updated_at TIMESTAMP, more STRING)")
    items.query("INSERT INTO items (id) VALUES (7)")
    run = items.run(write_disposition="WRITE_TRUNCATE", source_bigquery_query="SELECT * FROM items WHERE id = 1")
    run.succeeded()
    assert items.query("SELECT * FROM items") == [(1, "a", datetime(2024, 1, 1, tzinfo=UTC), None)]
    assert [field.mode for field in items.table().schema][:2] == ["REQUIRED", "NULLABLE"]
    none = "SELECT * FROM items WHERE FALSE"
    items.run(write_disposition="WRITE_TRUNCATE", source_bigquery_query=none).succeeded()
    assert names(items) == []


def test_all_rows_are_appended_once_by_default(items: BigquerySyncing) -> None:
    items.run(write_disposition=None).succeeded()
    items.run(write_disposition=None).refused("write_disposition is not given", "WRITE_APPEND", "primary_key")
    assert len(names(items)) == len(items.at_source("SELECT id FROM items"))


def test_the_table_is_replaced(items: BigquerySyncing) -> None:
    items.query("CREATE TABLE items (other STRING)")
    parameters = {"enable_auto_schema": "true", "clustering_fields": "id", "delete_existing_table": "true"}
    assert items.smart(**parameters).succeeded().rows_loaded == 2
    assert names(items) == [(1, "a"), (2, "b")]
    table = items.table()
    assert (table.time_partitioning.field, table.clustering_fields) == ("updated_at", ["id"])


def test_placeholders_in_the_query(items: BigquerySyncing) -> None:
    assert items.smart(source_bigquery_query=PLACEHOLDERS).succeeded().rows_loaded == 2
    add(items, (3, "c", "2024-01-03"), (4, "future", "2999-01-01"))
    assert items.smart(source_bigquery_query=f"{PLACEHOLDERS};  -- the end").succeeded().rows_loaded == 1
    assert names(items) == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param("updated_at > '{start_timestamp}' OR updated_at <= '{end_timestamp}'", id="too old"),
        pytest.param("updated_at > '{start_timestamp}' OR '{end_timestamp}' = ''", id="too new"),
    ],
)
def test_a_query_that_leaves_the_interval_is_refused(items: BigquerySyncing, condition: str) -> None:
    items.smart().succeeded()
    add(items, (3, "c", "2999-01-03"))
    items.smart(source_bigquery_query=f"SELECT * FROM items WHERE {condition}").refused(
        "the query returns rows whose updated_at is NULL or outside the interval"
    )
    assert len(names(items)) == 2


def test_the_timestamp_may_be_a_datetime(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE items (id INT64, updated_at DATETIME)")
    syncing.at_source("INSERT INTO items VALUES (1, DATETIME '2024-01-01 00:00:00')")
    syncing.smart().succeeded()
    syncing.at_source("INSERT INTO items VALUES (2, DATETIME '2024-01-01 00:00:00.000001')")
    assert syncing.smart().succeeded().rows_loaded == 1
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2]


def test_a_date_is_refused_without_a_lookback(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE items (id INT64, updated_at DATE)")
    syncing.smart().refused(
        "smart_sync_timestamp_column: updated_at has dates", "smart_sync_lookback_seconds=86400 or more"
    )


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param("PARTITION BY day", id="by a column"),
        pytest.param("PARTITION BY TIMESTAMP_TRUNC(updated_at, DAY)", id="by the timestamp"),
    ],
)
def test_a_source_that_demands_a_partition_filter(syncing: BigquerySyncing, layout: str) -> None:
    syncing.at_source(
        f"CREATE TABLE items (id INT64, day DATE, updated_at TIMESTAMP) {layout} OPTIONS(require_partition_filter=true)"
    )
    syncing.at_source("INSERT INTO items VALUES (1, NULL, TIMESTAMP '2024-01-01 00:00:00+00')")
    assert syncing.smart().succeeded().rows_loaded == 1
    assert syncing.run(destination_bigquery_table="all").succeeded().rows_loaded == 1


def test_the_seeds_check_of_a_deployment(syncing: BigquerySyncing) -> None:
    query = "SELECT 1 as test_column"
    run = syncing.run(source_bigquery_query=query, source_bigquery_dataset=None, source_bigquery_table=None)
    assert run.succeeded().rows_loaded == 1
    assert syncing.query("SELECT test_column FROM items") == [(1,)]


def test_views(items: BigquerySyncing) -> None:
    items.at_source("CREATE VIEW seen AS SELECT id, UPPER(name) AS name FROM items")
    items.run(source_bigquery_table="seen").succeeded()
    assert names(items) == [(1, "A"), (2, "B")]


def test_wildcard_tables(items: BigquerySyncing) -> None:
    items.at_source("CREATE TABLE events_1 AS SELECT 1 AS id, 'x' AS name")
    items.at_source("CREATE TABLE events_2 AS SELECT 2 AS id, 'y' AS name")
    query = f"SELECT * FROM `{items.endpoints.project}.{items.source}.events_*`"
    items.run(source_bigquery_query=query).succeeded()
    assert names(items) == [(1, "x"), (2, "y")]


def test_an_empty_table(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE items (id INT64, updated_at TIMESTAMP)")
    syncing.smart().succeeded()
    assert syncing.query("SELECT * FROM items") == []
    assert syncing.left_over() == []


def test_columns_called_like_our_own_names(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE items AS SELECT 1 AS q, 2 AS s, 3 AS t, 4 AS `select`, 'x' AS element")
    syncing.run(primary_key="q", transformation_config='{"type_overrides": {"s": "STRING"}}').succeeded()
    assert syncing.query("SELECT * FROM items") == [(1, "2", 3, 4, "x")]


def test_many_streams(syncing: BigquerySyncing) -> None:
    syncing.at_source(
        "CREATE TABLE items AS SELECT id, CAST(id AS STRING) AS name FROM UNNEST(GENERATE_ARRAY(1, 250000)) AS id"
    )
    run = syncing.run(num_partitions="3", batch_size="7000").succeeded()
    assert run.rows_loaded == 250_000
    assert syncing.query("SELECT COUNT(DISTINCT id), SUM(id) FROM items") == [(250_000, 31_250_125_000)]
