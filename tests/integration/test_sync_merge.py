"""With a primary key a row replaces its older version, whatever the order in which versions come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.schema import KEY_TYPES
from sync_pipeline.sources.postgresql import unread
from tests.integration.syncing import Syncing

ITEMS = "CREATE TABLE items (id int, name text, updated_at timestamptz)"
ROWS = "SELECT id, name FROM items ORDER BY id, name"


def write(syncing: Syncing, *rows: tuple[int | None, str, str | None]) -> None:
    for row in rows:
        syncing.execute("INSERT INTO items VALUES (%s, %s, %s)", row)


def test_a_changed_row_replaces_its_older_version_and_the_others_stay(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (2, "b", "2024-01-02Z"))
    first = syncing.smart(primary_key="id").succeeded()
    assert first.report["outcome"] == f"merged 2 rows into {syncing.table_id()}"
    syncing.query("INSERT INTO items VALUES (9, 'by hand', TIMESTAMP '2024-01-01 00:00:00')")
    syncing.execute("UPDATE items SET name = 'a2', updated_at = '2024-01-03Z' WHERE id = 1")
    write(syncing, (3, "c", "2024-01-04Z"))
    second = syncing.smart(primary_key="id").succeeded()
    assert (second.rows_read, second.rows_loaded) == (2, 2)
    assert syncing.query(ROWS) == [(1, "a2"), (2, "b"), (3, "c"), (9, "by hand")]
    assert syncing.left_over() == []


def test_without_smart_sync_the_whole_query_is_merged(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, name text)")
    syncing.execute("INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    syncing.run(primary_key="id").succeeded()
    syncing.execute("UPDATE items SET name = 'a2' WHERE id = 1; DELETE FROM items WHERE id = 2")
    syncing.run(primary_key="id").succeeded()
    assert syncing.query(ROWS) == [(1, "a2"), (2, "b")]


def test_of_the_versions_in_one_interval_the_newest_stays(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "new", "2024-01-03Z"), (1, "old", "2024-01-01Z"), (1, "newer than old", "2024-01-02Z"))
    run = syncing.smart(primary_key="id").succeeded()
    assert (run.rows_read, run.rows_loaded) == (3, 1)
    assert syncing.query(ROWS) == [(1, "new")]


def test_equally_new_versions_end_in_the_same_one_whatever_their_order(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    rows = [(1, name, "2024-01-01Z") for name in ("m", "z", "a")]
    results = []
    for table, ordered in (("items", rows), ("again", rows[::-1])):
        syncing.execute("TRUNCATE items")
        write(syncing, *ordered)
        syncing.smart(primary_key="id", destination_bigquery_table=table).succeeded()
        results.append(syncing.query(f"SELECT id, name FROM {table}"))
    assert len(results[0]) == 1
    assert results[0] == results[1]


def test_a_null_in_the_key_is_refused_with_the_number_of_such_rows(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (None, "b", "2024-01-02Z"), (None, "c", "2024-01-03Z"))
    syncing.smart(primary_key="id").refused("column 'id' has NULL", "primary_key", "(in 2 of 3 rows)")
    assert syncing.tables() == []
    assert syncing.left_over() == []


@pytest.mark.parametrize(
    ("declared", "type_name"),
    [
        pytest.param("double precision", "FLOAT64", id="float"),
        pytest.param("jsonb", "JSON", id="json"),
        pytest.param("int[]", "ARRAY<INT64>", id="array"),
    ],
)
def test_a_key_that_cannot_be_compared_is_refused(syncing: Syncing, declared: str, type_name: str) -> None:
    syncing.execute(f"CREATE TABLE items (id {declared}, updated_at timestamptz)")
    syncing.smart(primary_key="id").refused(f"primary_key: id is {type_name}, which cannot be compared")
    assert syncing.tables() == []


KEYS = {
    "BIGNUMERIC": ("numeric", "1.5"),
    "BOOL": ("boolean", "true"),
    "BYTES": ("bytea", "\\x00ff"),
    "DATE": ("date", "2024-01-01"),
    "DATETIME": ("timestamp", "2024-01-01 12:00"),
    "INT64": ("bigint", "9223372036854775807"),
    "NUMERIC": ("numeric(10,2)", "1.50"),
    "STRING": ("uuid", "a81bc81b-dead-4e5d-abff-90865d1e13b1"),
    "TIME": ("time", "12:00:00.000001"),
    "TIMESTAMP": ("timestamptz", "2024-01-01 12:00:00.000001Z"),
}


def test_a_key_of_every_type_that_can_be_one_and_all_together(syncing: Syncing) -> None:
    assert set(KEYS) == set(KEY_TYPES)
    columns = ", ".join(f"k{number} {declared}" for number, (declared, _) in enumerate(KEYS.values()))
    syncing.execute(f"CREATE TABLE items ({columns}, name text, updated_at timestamptz)")
    values = [value for _, value in KEYS.values()]
    marks = ", ".join(["%s"] * len(KEYS))
    key = ",".join(f"k{number}" for number in range(len(KEYS)))
    for moment in ("2024-01-01Z", "2024-01-02Z"):
        syncing.execute(f"INSERT INTO items VALUES ({marks}, %s, %s)", [*values, moment, moment])
        assert syncing.smart(primary_key=key).succeeded().rows_loaded == 1
    assert syncing.query("SELECT name FROM items") == [("2024-01-02Z",)]


def test_a_key_of_two_columns(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (shop text, number int, name text, updated_at timestamptz)")
    syncing.execute("INSERT INTO items VALUES ('a', 1, 'x', '2024-01-01Z'), ('a', 2, 'y', '2024-01-01Z')")
    syncing.smart(primary_key="shop, number").succeeded()
    syncing.execute("INSERT INTO items VALUES ('b', 1, 'z', '2024-01-02Z'), ('a', 2, 'new', '2024-01-02Z')")
    syncing.smart(primary_key="shop, number").succeeded()
    assert syncing.query("SELECT shop, number, name FROM items ORDER BY 1, 2") == [
        ("a", 1, "x"),
        ("a", 2, "new"),
        ("b", 1, "z"),
    ]


@pytest.mark.parametrize("given", ["id", "order"], ids=["by its source name", "by its destination name"])
def test_a_renamed_key(syncing: Syncing, given: str) -> None:
    syncing.execute(ITEMS)
    # A reserved word, so that every statement has to quote it.
    parameters = {
        "transformation_config": '{"field_mappings": {"id": "order", "updated_at": "from"}}',
        "primary_key": given,
    }
    write(syncing, (1, "a", "2024-01-01Z"))
    syncing.smart(**parameters).succeeded()
    write(syncing, (1, "b", "2024-01-02Z"))
    syncing.smart(**parameters).succeeded()
    assert syncing.query("SELECT `order`, name FROM items") == [(1, "b")]


def test_an_unknown_key_is_refused_with_the_nearest_name(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (order_id int, updated_at timestamptz)")
    syncing.smart(primary_key="orderid").refused("primary_key: there is no column orderid; did you mean order_id?")


def test_a_key_that_is_left_out_is_refused(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    leaving_out = '{"exclude_fields": ["id"]}'
    syncing.smart(primary_key="id", transformation_config=leaving_out).refused("primary_key: there is no column id")


def test_a_lookback_picks_up_a_late_row_and_adds_nothing_twice(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    parameters = {"primary_key": "id", "smart_sync_lookback_seconds": "3600"}
    write(syncing, (1, "a", "2024-01-01 11:30Z"), (2, "b", "2024-01-01 12:00Z"))
    syncing.smart(**parameters).succeeded()
    write(syncing, (3, "late", "2024-01-01 11:00:00.000001Z"), (4, "too late", "2024-01-01 11:00Z"))
    run = syncing.smart(**parameters).succeeded()
    assert run.interval[0] == datetime(2024, 1, 1, 11, tzinfo=UTC)
    assert run.rows_read == 3
    assert syncing.query(ROWS) == [(1, "a"), (2, "b"), (3, "late")]


def test_a_lookback_without_a_key_is_refused(syncing: Syncing) -> None:
    syncing.smart(smart_sync_lookback_seconds="60").refused("smart_sync_lookback_seconds", "primary_key")


def test_rows_without_a_timestamp_are_left_out_and_counted(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (2, "b", None), (3, "c", None))
    described = {"enable_auto_schema": "true", "source_table_for_schema": "items"}
    run = syncing.smart(primary_key="id", **described).succeeded()
    assert syncing.query(ROWS) == [(1, "a")]
    assert [risk for risk in run.risks if '2 rows of "items" have NULL in updated_at and are not read' in risk]


def test_rows_without_a_timestamp_are_not_counted_where_that_reads_a_large_table(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "_MAX_COUNT_COST", 1)
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (2, "b", None), (3, "c", None))
    syncing.execute("ANALYZE items")
    run = syncing.smart(enable_auto_schema="true", source_table_for_schema="items").succeeded()
    assert (
        "updated_at may be NULL, or beyond what BigQuery holds, and such rows are not read. Counting them would take "
        "too long; the server estimates 2"
    ) in run.risks


def test_rows_without_a_timestamp_are_merged_by_every_run_when_included(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    parameters = {"primary_key": "id", "smart_sync_null_timestamps": "include"}
    write(syncing, (1, "a", "2024-01-01Z"), (2, "b", None))
    syncing.smart(**parameters).succeeded()
    syncing.execute("UPDATE items SET name = 'b2' WHERE id = 2")
    assert syncing.smart(**parameters).succeeded().rows_read == 1
    assert syncing.query(ROWS) == [(1, "a"), (2, "b2")]


def test_a_row_that_gets_its_timestamp_later_is_not_doubled(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    parameters = {"primary_key": "id", "smart_sync_null_timestamps": "include"}
    write(syncing, (1, "a", None))
    syncing.smart(**parameters).succeeded()
    syncing.execute("UPDATE items SET name = 'a2', updated_at = '2024-01-02Z'")
    syncing.smart(**parameters).succeeded()
    assert syncing.query(ROWS) == [(1, "a2")]


def test_an_older_row_does_not_overwrite_a_newer_one(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "first", "2024-01-01Z"))
    syncing.smart(primary_key="id").succeeded()
    syncing.execute("UPDATE items SET name = 'second', updated_at = '2024-01-02Z'")
    write(syncing, (2, "unchanged", "2024-01-02Z"))
    slow = syncing.plan(primary_key="id", smart_sync_lookback_seconds="864000")
    read_early = syncing.stage(slow)
    # Another run from an earlier timestamp overtakes it: it reads later, and publishes first.
    syncing.query("UPDATE items SET updated_at = TIMESTAMP '2023-01-01 00:00:00' WHERE TRUE")
    syncing.execute("UPDATE items SET name = 'third', updated_at = '2024-01-03Z' WHERE id = 1")
    fast = syncing.plan(primary_key="id")
    syncing.publish(fast)
    assert syncing.query("SELECT name FROM items WHERE id = 1") == [("third",)]
    report = syncing.publish(slow, read_early)
    assert syncing.query(ROWS) == [(1, "third"), (2, "unchanged")]
    # The second is as new as the one that is there, and replaces it by itself.
    assert (report.rows_staged, report.rows_loaded) == (2, 1)


def test_a_first_load_into_a_missing_table_is_merged_already(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (1, "b", "2024-01-02Z"))
    assert syncing.smart(primary_key="id").succeeded().rows_loaded == 1
    assert [(field.name, field.mode) for field in syncing.table().schema] == [
        ("id", "REQUIRED"),
        ("name", "NULLABLE"),
        ("updated_at", "NULLABLE"),
    ]


def test_all_columns_are_the_key(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, tag text)")
    syncing.execute("INSERT INTO items VALUES (1, 'a'), (1, 'b'), (1, 'a')")
    syncing.run(primary_key="id,tag").succeeded()
    syncing.execute("INSERT INTO items VALUES (2, 'a')")
    syncing.run(primary_key="id,tag").succeeded()
    assert syncing.query("SELECT id, tag FROM items ORDER BY 1, 2") == [(1, "a"), (1, "b"), (2, "a")]


def test_json_and_arrays_are_replaced_as_well(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, document jsonb, tags text[], updated_at timestamptz)")
    parameters = {"primary_key": "id"}
    syncing.execute("""INSERT INTO items VALUES (1, '{"a": 1}', '{x,y}', '2024-01-01Z')""")
    syncing.smart(**parameters).succeeded()
    syncing.execute("""UPDATE items SET document = '{"a": [2, null]}', tags = '{z}', updated_at = '2024-01-02Z'""")
    syncing.smart(**parameters).succeeded()
    assert syncing.query("SELECT id, document, tags FROM items") == [(1, {"a": [2, None]}, ["z"])]


def test_a_replaced_table_holds_each_key_once(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    write(syncing, (1, "a", "2024-01-01Z"), (1, "b", "2024-01-02Z"))
    syncing.smart().succeeded()
    assert len(syncing.query(ROWS)) == 2
    syncing.smart(primary_key="id", delete_existing_table="true").succeeded()
    assert syncing.query(ROWS) == [(1, "b")]


def test_write_truncate_with_a_key_is_refused(syncing: Syncing) -> None:
    syncing.run(primary_key="id", write_disposition="WRITE_TRUNCATE").refused("primary_key", "WRITE_TRUNCATE")
