"""Smart Sync by a column of dates, where rows are merged and those of the latest day are read again."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from tests.integration.bigquery_syncing import WAYS, BigquerySyncing
from tests.integration.syncing import Syncing

DAILY = {"primary_key": "id", "smart_sync_lookback_seconds": "86400"}
ROWS = "SELECT id, name, CAST(updated_at AS STRING) FROM items ORDER BY id"


@pytest.fixture
def items(syncing: Syncing) -> Syncing:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text, updated_at date)")
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02'), (3, 'c', '2024-01-02')")
    return syncing


def sync(syncing: Syncing, **parameters: str | None) -> int:
    """Return how many rows the run read."""
    return syncing.publish(syncing.plan(**DAILY, **parameters)).rows_read


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="query"),
        pytest.param(
            {
                "postgresql_query": None,
                "postgresql_base_query": "SELECT * FROM items WHERE updated_at > '{start_timestamp}' "
                "AND updated_at <= '{end_timestamp}'",
            },
            id="placeholders",
        ),
        pytest.param({"enable_auto_schema": "true", "source_table_for_schema": "items"}, id="partitions"),
    ],
)
def test_postgresql(items: Syncing, parameters: dict[str, str | None]) -> None:
    assert sync(items, **parameters) == 3
    assert [field.field_type for field in items.table().schema][2] == "DATE"
    # A row of the latest day is changed, one is added to it, and one to a day before, which no run reads again.
    items.execute("UPDATE items SET name = 'changed' WHERE id = 2")
    items.execute("INSERT INTO items VALUES (4, 'late', '2024-01-02'), (5, 'too late', '2024-01-01')")
    items.execute("INSERT INTO items VALUES (6, 'new', '2024-01-03')")
    assert sync(items, **parameters) == 4
    expected = [(1, "a", "2024-01-01"), (2, "changed", "2024-01-02"), (3, "c", "2024-01-02")]
    expected += [(4, "late", "2024-01-02"), (6, "new", "2024-01-03")]
    assert items.query(ROWS) == expected
    assert sync(items, **parameters) == 1
    assert items.query(ROWS) == expected


def test_a_longer_lookback_reads_more_days(items: Syncing) -> None:
    sync(items)
    items.execute("INSERT INTO items VALUES (5, 'late', '2024-01-01')")
    items.publish(items.plan(**DAILY | {"smart_sync_lookback_seconds": "172800"}))
    assert items.query("SELECT COUNT(*) FROM items") == [(4,)]


def test_today_and_rows_that_are_committed_late(items: Syncing) -> None:
    items.execute("TRUNCATE items; INSERT INTO items VALUES (1, 'today', current_date), (2, 'x', current_date + 1)")
    late = psycopg2.connect(make_dsn(items.endpoints.postgresql_dsn, dbname=items.database))
    with contextlib.closing(late), late.cursor() as cursor:
        cursor.execute("INSERT INTO items VALUES (3, 'late', current_date)")
        assert sync(items) == 1
        late.commit()
    assert sync(items) == 2
    assert items.column("SELECT id FROM items ORDER BY id") == [1, 3]


def test_the_plan_shows_days_and_the_wall_clock(items: Syncing) -> None:
    page = items.smart(**DAILY, dry_run="true", smart_sync_time_zone="Asia/Tokyo").printed
    assert "updated_at in (1900-01-01, 20" in page
    assert "by the wall clock of Asia/Tokyo, from smart_sync_time_zone" in page


def test_many_tables_and_steps(items: Syncing, tmp_path: Any) -> None:
    items.execute("INSERT INTO items VALUES (7, 'later', '2024-03-01')")
    file = tmp_path / "tables.yaml"
    file.write_text(
        "tables: [{postgresql_table: items, enable_smart_sync: true, smart_sync_lookback_seconds: 86400, "
        "smart_sync_max_interval_hours: 24}]"
    )
    many = {"postgresql_query": None, "destination_bigquery_table": None, "tables_file": str(file)}
    items.run("--until-current", **many).succeeded()
    assert items.column("SELECT id FROM items ORDER BY id") == [1, 2, 3, 7]


def test_deleted_rows_are_removed(items: Syncing) -> None:
    sync(items)
    items.execute("DELETE FROM items WHERE id IN (1, 3); INSERT INTO items VALUES (4, 'new', '2024-01-02')")
    deletes = {"deletes": "remove", "max_deleted_percent": "100"}
    assert items.publish(items.plan(**DAILY, **deletes)).rows_deleted == 2
    assert items.column("SELECT id FROM items ORDER BY id") == [2, 4]


def test_a_comparison_finds_what_is_missing(items: Syncing) -> None:
    sync(items)
    items.query("DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (9, 'x', '2024-01-01')")
    items.execute("INSERT INTO items VALUES (4, 'not synced yet', '2024-01-02')")
    run = items.smart(**DAILY, smart_sync_max_interval_hours="24", reconcile="report")
    assert run.exit_code == 3
    assert "1 missing" in run.everything
    assert items.smart(**DAILY, reconcile="repair").exit_code == 0
    assert items.smart(**DAILY, reconcile="report").exit_code == 0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        pytest.param({}, "give primary_key and smart_sync_lookback_seconds=86400 or more", id="append"),
        pytest.param({"primary_key": "id"}, "give primary_key and smart_sync_lookback_seconds=86400", id="no lookback"),
        pytest.param(DAILY | {"smart_sync_lookback_seconds": "86399"}, "=86400 or more", id="short lookback"),
        pytest.param(
            {"primary_key": "id", "interval_start": "2024-01-01T00:00:00", "interval_end": "2024-01-02T00:00:00"},
            "interval_start and interval_end need timestamps, and updated_at has dates",
            id="backfill",
        ),
        pytest.param(
            DAILY | {"transformation_config": '{"type_overrides": {"updated_at": "STRING"}}'},
            "updated_at has dates: load it as DATE",
            id="loaded as timestamps",
        ),
        pytest.param(
            DAILY | {"smart_sync_timestamp_column": "id", "smart_sync_lookback_seconds": "0"},
            "it has no sequence of its own",
            id="numbers",
        ),
    ],
)
def test_what_could_lose_rows_is_refused(items: Syncing, parameters: dict[str, str | None], words: str) -> None:
    items.smart(**parameters, dry_run="true").refused(words)


def test_a_destination_with_timestamps_is_refused(items: Syncing) -> None:
    items.query("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP)")
    items.smart(**DAILY, dry_run="true").refused("Smart Sync needs it as DATE, to find the latest timestamp")


@pytest.mark.parametrize("way", WAYS)
def test_bigquery(bigquery_syncing: BigquerySyncing, way: str) -> None:
    syncing = bigquery_syncing.by(way)
    syncing.at_source("CREATE TABLE items (id INT64, name STRING, updated_at DATE)")
    syncing.at_source("INSERT INTO items VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02'), (3, 'c', '2024-01-02')")
    sync(syncing)
    syncing.at_source("UPDATE items SET name = 'changed' WHERE id = 2")
    syncing.at_source("INSERT INTO items VALUES (4, 'late', '2024-01-02'), (5, 'too late', '2024-01-01')")
    sync(syncing, smart_sync_max_interval_hours="24")
    expected = [(1, "a", "2024-01-01"), (2, "changed", "2024-01-02"), (3, "c", "2024-01-02"), (4, "late", "2024-01-02")]
    assert syncing.query(ROWS) == expected
    syncing.smart(primary_key="id", dry_run="true").refused("smart_sync_lookback_seconds=86400 or more")
