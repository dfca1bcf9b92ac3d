"""A backfill loads an interval again and replaces exactly its rows; Smart Sync goes on as if nothing had happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.errors import ConcurrentSyncError, ConfigError
from tests.integration.bigquery_syncing import WAYS, BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing

ROWS = "SELECT id, name FROM items ORDER BY id, name"
KEYED = {"primary_key": "id"}
# The rows 2 and 3 of `items`, and 2, 3 and 4, the latest.
MIDDLE = {"interval_start": "2024-01-01T00:00:00Z", "interval_end": "2024-01-03T00:00:00Z"}
TO_THE_LATEST = MIDDLE | {"interval_end": "2024-01-04T00:00:00Z"}


@pytest.fixture
def items(syncing: Syncing) -> Syncing:
    """Four rows, a day apart, in source and destination, and then what no run sees: changes behind the latest row."""
    syncing.execute("CREATE TABLE items (id int, name text, updated_at timestamptz)")
    syncing.execute(
        "INSERT INTO items SELECT n, 'old', timestamptz '2024-01-01Z' + (n - 1) * '1 day'::interval "
        "FROM generate_series(1, 4) n"
    )
    syncing.query(
        "CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP) AS SELECT n AS id, 'old' AS name, "
        "TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL n - 1 DAY) AS updated_at "
        "FROM UNNEST([1, 2, 3, 4]) AS n"
    )
    syncing.query("INSERT INTO items (id, name) VALUES (0, 'timeless')")
    syncing.execute("UPDATE items SET name = 'new'; DELETE FROM items WHERE id = 3")
    syncing.execute("INSERT INTO items VALUES (5, 'late', '2024-01-02 12:00Z')")
    return syncing


def test_a_run_replaces_the_rows_of_the_interval_and_the_next_one_goes_on(items: Syncing) -> None:
    run = items.smart(**MIDDLE).succeeded()
    assert run.report["outcome"] == f"backfill: replaced the rows of the interval in {items.table_id()} by 2 rows"
    assert (run.rows_read, run.rows_loaded, run.report["lag_seconds"]) == (2, 2, "")
    assert run.interval == (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
    assert "interval_start; the run loads the interval again" in run.everything
    assert "backfill: replace the rows of the interval: one load job into a staging table" in run.everything
    replaced = [(0, "timeless"), (1, "old"), (2, "new"), (4, "old"), (5, "late")]
    assert items.query(ROWS) == replaced
    assert items.left_over() == []
    assert items.publish(items.plan()).rows_loaded == 0
    # Once more, it changes nothing.
    items.publish(items.plan(**MIDDLE))
    assert items.query(ROWS) == replaced


def test_a_merge_replaces_rows_by_their_key_and_keeps_those_that_have_moved_on(items: Syncing) -> None:
    # The second row has moved to a later time, and the destination has a version of the fifth that is wrong.
    items.execute("UPDATE items SET name = 'moved', updated_at = '2024-01-05Z' WHERE id = 2")
    items.query("INSERT INTO items VALUES (5, 'wrong', TIMESTAMP '2024-01-03 00:00:00+00')")
    report = items.publish(items.plan(**MIDDLE, **KEYED))
    assert (report.rows_loaded, report.outcome) == (1, f"backfill: merged 1 rows into {items.table_id()}")
    kept = [(0, "timeless"), (1, "old"), (2, "old"), (3, "old"), (4, "old"), (5, "late")]
    assert items.query(ROWS) == kept
    items.publish(items.plan(**KEYED))
    assert items.query(ROWS) == [(2, "moved") if row[0] == 2 else row for row in kept]


def test_what_a_source_has_no_longer_is_deleted_and_the_next_run_starts_earlier(items: Syncing) -> None:
    items.execute("UPDATE items SET name = 'moved', updated_at = '2024-01-05Z' WHERE id IN (2, 4)")
    items.execute("DELETE FROM items WHERE id = 5")
    backfill = items.plan(**TO_THE_LATEST)
    assert items.publish(backfill).rows_loaded == 0
    assert items.query(ROWS) == [(0, "timeless"), (1, "old")]
    following = items.plan()
    assert following.interval is not None
    assert following.interval.latest == datetime(2024, 1, 1, tzinfo=UTC)
    assert items.publish(following).rows_loaded == 2
    assert items.query(ROWS) == [(0, "timeless"), (1, "old"), (2, "moved"), (4, "moved")]


def test_adjoining_intervals_have_each_row_once(items: Syncing) -> None:
    items.query("DELETE FROM items WHERE id IN (2, 3)")
    for end in ("2024-01-02T00:00:00Z", "2024-01-02T12:00:00Z", "2024-01-03T00:00:00Z"):
        start = {"2024-01-02T00:00:00Z": "2024-01-01T00:00:00Z", "2024-01-02T12:00:00Z": "2024-01-02T00:00:00Z"}
        bounds = {"interval_start": start.get(end, "2024-01-02T12:00:00Z"), "interval_end": end}
        items.publish(items.plan(**bounds))
    assert items.query(ROWS) == [(0, "timeless"), (1, "old"), (2, "new"), (4, "old"), (5, "late")]


@pytest.mark.parametrize("first", ["backfill", "sync"])
def test_of_a_backfill_of_the_latest_row_and_a_run_from_there_one_publishes(items: Syncing, first: str) -> None:
    """The backfill may delete the latest row: a run that starts before it could append again what this one appends."""
    items.execute("INSERT INTO items VALUES (6, 'next', '2024-01-06Z')")
    backfill, sync = items.plan(**TO_THE_LATEST), items.plan()
    staged, staged_by_sync = items.stage(backfill), items.stage(sync)
    if first == "backfill":
        items.publish(backfill, staged)
        assert items.publish(sync, staged_by_sync).rows_loaded == 0
        names = [(2, "new"), (4, "new"), (5, "late")]
    else:
        items.publish(sync, staged_by_sync)
        with pytest.raises(ConcurrentSyncError, match=r"another run has changed .* since this backfill was planned"):
            items.publish(backfill, staged)
        names = [(2, "old"), (3, "old"), (4, "old"), (6, "next")]
    assert items.query(ROWS) == [(0, "timeless"), (1, "old"), *names]
    assert items.left_over() == []


def test_a_backfill_before_the_latest_row_and_a_run_do_not_compete(items: Syncing) -> None:
    items.execute("INSERT INTO items VALUES (6, 'next', '2024-01-06Z')")
    backfill, sync = items.plan(**MIDDLE), items.plan()
    staged, staged_by_sync = items.stage(backfill), items.stage(sync)
    assert items.publish(sync, staged_by_sync).rows_loaded == 1
    assert items.publish(backfill, staged).rows_loaded == 2
    expected = [(0, "timeless"), (1, "old"), (2, "new"), (4, "old"), (5, "late"), (6, "next")]
    assert items.query(ROWS) == expected
    assert items.left_over() == []


def test_of_two_backfills_of_one_interval_one_publishes(items: Syncing) -> None:
    first, second = items.plan(**MIDDLE), items.plan(**MIDDLE)
    items.publish(first)
    with pytest.raises(ConcurrentSyncError, match="its interval was not replaced"):
        items.publish(second)


def test_a_backfill_fails_when_the_later_rows_are_gone(items: Syncing) -> None:
    backfill = items.plan(**MIDDLE)
    items.publish(items.plan(**{**TO_THE_LATEST, "interval_start": "2024-01-03T00:00:00Z"}))
    items.query("DELETE FROM items WHERE id = 4")
    with pytest.raises(ConcurrentSyncError, match="another run has changed"):
        items.publish(backfill)
    assert items.query(ROWS) == [(0, "timeless"), (1, "old"), (2, "old"), (3, "old")]


def test_into_partitions_that_need_a_filter(items: Syncing) -> None:
    items.query("DROP TABLE items")
    items.query(
        "CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP, document JSON) "
        "PARTITION BY TIMESTAMP_TRUNC(updated_at, DAY) OPTIONS (require_partition_filter = TRUE)"
    )
    items.query("INSERT INTO items (id, name, updated_at) VALUES (3, 'old', '2024-01-03'), (4, 'old', '2024-01-04')")
    items.publish(items.plan(**MIDDLE, postgresql_query="SELECT *, '{\"a\": 1}'::json AS document FROM items"))
    rows = items.query("SELECT id, INT64(document.a) FROM items WHERE updated_at IS NOT NULL ORDER BY id")
    assert rows == [(2, 1), (4, None), (5, 1)]


def test_readings_of_a_wall_clock(items: Syncing) -> None:
    items.execute("ALTER TABLE items ALTER updated_at TYPE timestamp USING updated_at AT TIME ZONE 'UTC'")
    items.query("DROP TABLE items")
    items.query("CREATE TABLE items AS SELECT 4 AS id, 'old' AS name, DATETIME '2024-01-04 00:00:00' AS updated_at")
    zone = {"smart_sync_time_zone": "Europe/Berlin"}
    items.publish(items.plan(interval_start="2024-01-01T00:00:00", interval_end="2024-01-03T00:00:00", **zone))
    assert items.query(ROWS) == [(2, "new"), (4, "old"), (5, "late")]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        pytest.param(
            {"interval_end": "2999-01-01T00:00:00Z"}, "the source may still get rows up to then", id="in the future"
        ),
        pytest.param(
            {"interval_start": "2024-01-04T00:00:00.000001Z", "interval_end": "2024-01-05T00:00:00Z"},
            "but the latest updated_at in .*items is 2024-01-04 00:00:00.000000.00: no run would load the rows",
            id="after the latest row",
        ),
        pytest.param({"destination_bigquery_table": "others"}, "others has no timestamp in updated_at", id="no table"),
    ],
)
def test_what_would_lose_rows_is_refused(items: Syncing, bounds: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        items.plan(**{**MIDDLE, **bounds})


@pytest.mark.parametrize("way", WAYS)
def test_from_bigquery(bigquery_syncing: BigquerySyncing, way: str) -> None:
    syncing = bigquery_syncing.by(way)
    rows = "(1, 'old', TIMESTAMP '2024-01-01 00:00:00+00'), (2, '{0}', TIMESTAMP '2024-01-02 00:00:00+00')"
    later = ", (4, 'old', TIMESTAMP '2024-01-04 00:00:00+00')"
    syncing.query("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP)")
    syncing.query(f"INSERT INTO items VALUES {rows.format('old')}, (3, 'gone', '2024-01-03'){later}")
    syncing.at_source("CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP)")
    syncing.at_source(f"INSERT INTO items VALUES {rows.format('new')}{later}")
    assert syncing.smart(**MIDDLE).succeeded().rows_loaded == 1
    assert syncing.query(ROWS) == [(1, "old"), (2, "new"), (4, "old")]
    syncing.at_source("UPDATE items SET name = 'newer' WHERE id = 2")
    assert syncing.smart(**MIDDLE, **KEYED).succeeded().rows_loaded == 1
    assert syncing.query(ROWS) == [(1, "old"), (2, "newer"), (4, "old")]


def test_from_mongodb(mongodb_syncing: MongodbSyncing) -> None:
    def document(number: int, name: str) -> dict[str, Any]:
        return {"_id": number, "name": name, "updated_at": datetime(2024, 1, number, tzinfo=UTC)}

    mongodb_syncing.insert(*(document(number, "old") for number in (1, 2, 3, 4)))
    mongodb_syncing.publish(mongodb_syncing.plan())
    mongodb_syncing.collection.update_many({}, {"$set": {"name": "new"}})
    assert mongodb_syncing.publish(mongodb_syncing.plan(**MIDDLE)).rows_loaded == 2
    assert mongodb_syncing.rows("_id, name") == [(1, "old"), (2, "new"), (3, "new"), (4, "old")]
