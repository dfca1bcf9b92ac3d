"""Smart Sync from MongoDB: intervals of a date, merged by _id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import DatetimeMS, Int64, ObjectId

from tests.integration.mongodb_syncing import MongodbSyncing

HOUR = timedelta(hours=1)
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
OBJECT_ID = ObjectId("65f0c0ffee65f0c0ffee65f0")


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


def now() -> datetime:
    return datetime.now(UTC)


def test_documents_are_merged_by_id(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": number, "v": number, "updated_at": LONG_AGO} for number in range(5)))
    first = syncing.smart().succeeded()
    assert first.rows_read == 5
    assert "merged by _id, because the source updates rows in place and no primary_key is given" in first.notes
    syncing.collection.update_one({"_id": 1}, {"$set": {"v": 100, "updated_at": now()}})
    syncing.insert({"_id": 9, "v": 9, "updated_at": now()})
    second = syncing.smart().succeeded()
    assert second.rows_read == 2
    assert syncing.rows("_id, v") == [(0, 0), (1, 100), (2, 2), (3, 3), (4, 4), (9, 9)]
    third = syncing.smart().succeeded()
    assert (third.rows_read, third.report["outcome"].split(":")[0]) == (0, "nothing new")


def test_key_that_is_renamed(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "v": 1, "updated_at": LONG_AGO})
    renamed = {"transformation_config": '{"field_mappings": {"_id": "id", "updated_at": "changed_at"}}'}
    syncing.smart(**renamed).succeeded()
    syncing.collection.update_one({"_id": 1}, {"$set": {"v": 2, "updated_at": now()}})
    syncing.smart(**renamed).succeeded()
    assert syncing.rows("id, v", "id") == [(1, 2)]


@pytest.mark.parametrize(
    ("loaded", "newer"),
    [
        pytest.param(OBJECT_ID, str(OBJECT_ID), id="digits of an ObjectId that is loaded"),
        pytest.param(str(OBJECT_ID), OBJECT_ID, id="ObjectId of digits that are loaded"),
        pytest.param("5", 5, id="number of a text that is loaded"),
    ],
)
def test_ids_of_two_intervals_that_would_be_one_row(syncing: MongodbSyncing, loaded: Any, newer: Any) -> None:
    syncing.insert({"_id": loaded, "v": 1, "updated_at": LONG_AGO})
    syncing.smart().succeeded()
    syncing.insert({"_id": newer, "v": 2, "updated_at": now() - HOUR})
    syncing.smart().refused("_id has several types, and some strings look like a value of another type")
    assert syncing.rows("_id, v") == [(str(loaded), 1)]


@pytest.mark.parametrize("mode", [pytest.param("false", id="columns"), pytest.param("true", id="document")])
def test_ids_of_one_type_at_a_time(syncing: MongodbSyncing, mode: str) -> None:
    stamps = {"updated_at": LONG_AGO}
    syncing.insert({"_id": OBJECT_ID, **stamps}, {"_id": str(OBJECT_ID), **stamps}, {"_id": "x", **stamps})
    query = '{"_id": {"$type": "string"}}'
    run = syncing.smart(mongodb_query=query, mongodb_document_mode=mode).succeeded()
    assert run.rows_loaded == 2
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [str(OBJECT_ID), "x"]


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"mongodb_projection": '{"_id": 0}'}, id="projection"),
        pytest.param({"transformation_config": '{"exclude_fields": ["_id"]}'}, id="exclude_fields"),
    ],
)
def test_documents_without_their_id_are_appended(syncing: MongodbSyncing, parameters: dict[str, str]) -> None:
    syncing.insert({"_id": 1, "v": 1, "updated_at": LONG_AGO})
    run = syncing.smart(**parameters).succeeded()
    assert "appended, because _id is excluded: a changed row is added as a new version" in run.notes
    syncing.collection.update_one({"_id": 1}, {"$set": {"v": 2, "updated_at": now()}})
    syncing.smart(**parameters).succeeded()
    assert syncing.rows("v", "v") == [(1,), (2,)]
    syncing.smart(smart_sync_lookback_seconds="5", **parameters).refused("smart_sync_lookback_seconds reads rows again")


def test_lookback_needs_no_primary_key(syncing: MongodbSyncing) -> None:
    stamp = now() - HOUR
    syncing.insert({"_id": 1, "updated_at": stamp})
    syncing.smart().succeeded()
    syncing.insert({"_id": 2, "updated_at": stamp - timedelta(minutes=1)})
    assert syncing.smart().succeeded().rows_read == 0
    assert syncing.smart(smart_sync_lookback_seconds="120").succeeded().rows_read == 2
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [1, 2]


def test_milliseconds_at_the_ends(syncing: MongodbSyncing) -> None:
    stamps = [LONG_AGO + timedelta(milliseconds=number) for number in range(3)]
    syncing.insert(*({"_id": place, "updated_at": stamp} for place, stamp in enumerate(stamps)))
    run = syncing.smart(mongodb_projection='{"_id": 0}').succeeded()
    assert run.rows_read == 3
    # Equally old as the latest: it was loaded before. One millisecond later: it was not.
    syncing.insert({"_id": 5, "updated_at": stamps[2] + timedelta(milliseconds=1)})
    run = syncing.smart(mongodb_projection='{"_id": 0}').succeeded()
    assert run.rows_read == 1
    assert run.interval[0] == stamps[2]
    assert run.interval[1].microsecond % 1000 == 0


def test_documents_without_a_date_are_counted(syncing: MongodbSyncing) -> None:
    syncing.insert(
        {"_id": 1, "updated_at": LONG_AGO},
        {"_id": 2},
        {"_id": 3, "updated_at": None},
        {"_id": 4, "updated_at": "2024-01-01"},
        {"_id": 5, "updated_at": [LONG_AGO]},
        {"_id": 6, "updated_at": Int64(5)},
        {"_id": 7, "updated_at": datetime.min},  # noqa: DTZ901
        {"_id": 8, "updated_at": DatetimeMS(-62135596800001)},
        {"_id": 9, "updated_at": DatetimeMS(253402300800000)},
    )
    run = syncing.smart().succeeded()
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [1, 7]
    assert run.risks[1] == (
        "7 documents are not read: their updated_at is not a date (1 array, 2 date of a year that is not from 1 to "
        "9999, "
        "1 long, 1 missing, 1 null, 1 string)"
    )


def test_null_timestamps_can_be_included(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO}, {"_id": 2, "v": 1}, {"_id": 3, "updated_at": None})
    for _ in range(2):
        syncing.smart(smart_sync_null_timestamps="include", num_partitions="3").succeeded()
        assert syncing.rows("_id, updated_at") == [(1, LONG_AGO), (2, None), (3, None)]


@pytest.mark.parametrize("indexed", [pytest.param(True, id="index"), pytest.param(False, id="no index")])
def test_intervals_are_cut_into_parts(syncing: MongodbSyncing, indexed: bool) -> None:
    if indexed:
        syncing.collection.create_index("updated_at")
    # Many with one timestamp, and arrays of dates, which would match several parts.
    documents = [{"_id": number, "updated_at": LONG_AGO + HOUR * (number // 40)} for number in range(2000)]
    arrays = [{"_id": -1 - number, "updated_at": [LONG_AGO, LONG_AGO + 40 * HOUR]} for number in range(10)]
    syncing.insert(*documents, *arrays, {"_id": -100})
    run = syncing.smart(num_partitions="7", smart_sync_null_timestamps="include").succeeded()
    assert run.rows_read == 2001
    assert syncing.query("SELECT COUNT(DISTINCT _id) FROM items") == [(2001,)]
    assert f"2 columns, {8 if indexed else 7} read splits" in run.everything
    assert any("updated_at has no index" in risk for risk in run.risks) is not indexed


def test_placeholders_in_the_query(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO, "on": True}, {"_id": 2, "updated_at": LONG_AGO, "on": False})
    query = '{"on": true, "updated_at": {"$gt": {"$date": "{start_timestamp}"}, "$lte": {"$date": "{end_timestamp}"}}}'
    assert syncing.smart(mongodb_query=query).succeeded().rows_read == 1
    assert syncing.smart(mongodb_query=query).succeeded().rows_read == 0


def test_query_beside_the_interval(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO, "on": True}, {"_id": 2, "updated_at": LONG_AGO, "on": False})
    run = syncing.smart(mongodb_query='{"$or": [{"on": true}, {"_id": 77}]}').succeeded()
    assert run.rows_read == 1


def test_document_mode(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": "a", "updated_at": LONG_AGO, "x": 1})
    syncing.smart(mongodb_document_mode="true").succeeded()
    syncing.collection.update_one({"_id": "a"}, {"$set": {"x": [], "updated_at": LONG_AGO + HOUR}})
    syncing.smart(mongodb_document_mode="true").succeeded()
    document = {"_id": "a", "updated_at": "2024-01-01T01:00:00Z", "x": []}
    assert syncing.rows() == [("a", LONG_AGO + HOUR, document)]


def test_columns_of_the_destination_stay_readable(syncing: MongodbSyncing) -> None:
    """A later interval need not have all fields, nor values of all their types."""
    syncing.insert({"_id": 1, "updated_at": LONG_AGO, "ratio": 0.5, "note": "x", "count": 1, "some": 1})
    syncing.insert({"_id": 2, "updated_at": LONG_AGO, "some": "mixed"})
    syncing.smart().succeeded()
    syncing.insert({"_id": 3, "updated_at": now() - HOUR, "ratio": 2, "note": None, "count": None, "some": 3})
    run = syncing.smart().succeeded()
    assert syncing.rows("_id, ratio, note, count, some")[2] == (3, 2.0, None, None, 3)
    assert "ratio is read as FLOAT64, its type in the destination" in run.notes


def test_new_type_that_does_not_fit(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO, "count": 1})
    syncing.smart().succeeded()
    syncing.insert({"_id": 2, "updated_at": now() - HOUR, "count": "secret"}, {"_id": 3, "updated_at": now() - HOUR})
    message = syncing.smart().refused("column 'count' (string to INT64) has an invalid value", "in 1 of 2")
    assert "secret" not in message
    letters = syncing.table_id("letters")
    syncing.smart(dead_letter_table=letters).succeeded()
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [1, 3]
    assert syncing.query("SELECT column_name FROM letters") == [("count",)]


@pytest.mark.parametrize("mode", ["false", "true"], ids=["columns", "document"])
@pytest.mark.parametrize(
    ("path", "column"),
    [
        pytest.param("stop time", "stop_time", id="name that BigQuery refuses"),
        pytest.param("meta.updatedAt", "meta_updatedAt", id="nested"),
        pytest.param("meta.a b.at", "meta_a_b_at", id="deep"),
    ],
)
def test_timestamp_field_that_is_no_column(syncing: MongodbSyncing, path: str, column: str, mode: str) -> None:
    def document(number: int, value: Any) -> dict[str, Any]:
        for name in reversed(path.split(".")):
            value = {name: value}
        return {"_id": number, "n": number, **value}

    syncing.insert(*(document(number, LONG_AGO + HOUR * number) for number in range(60)))
    # No interval has these.
    syncing.insert(document(100, "x"), document(101, [LONG_AGO]), {"_id": 102}, {"_id": 103, "meta": [1]})
    if "." in path:
        syncing.insert({"_id": 104, "meta": [document(1, LONG_AGO)["meta"]]})
    syncing.collection.create_index(path)
    parameters = {"smart_sync_timestamp_column": path, "mongodb_document_mode": mode}
    run = syncing.smart(num_partitions="2", **parameters).succeeded()
    assert (run.rows_loaded, len([risk for risk in run.risks if "documents are not read" in risk])) == (60, 1)
    syncing.collection.replace_one({"_id": 1}, document(1, now() - HOUR))
    assert syncing.smart(**parameters).succeeded().rows_loaded == 1
    assert syncing.column(f"SELECT COUNT(DISTINCT `{column}`) FROM items") == [60]


def test_nested_timestamp_that_is_none(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "meta": {"at": "2024"}, "made": LONG_AGO})
    for name, problem in (("meta.at", "meta.at is string"), ("meta.to", "no document has a value in meta.to")):
        syncing.smart(smart_sync_timestamp_column=name).refused(problem, "(fields with dates: made)")


def test_view_that_repeats_ids(syncing: MongodbSyncing) -> None:
    lines = [{"line": number} for number in range(3)]
    syncing.insert(*({"_id": number, "updated_at": LONG_AGO, "lines": lines[: number % 2 * 3]} for number in range(10)))
    syncing.mongodb.create_collection("lines", viewOn="items", pipeline=[{"$unwind": "$lines"}])
    message = (
        "lines is a view that repeats _ids: 15 documents have only 5 distinct ones, and a merge by _id would keep one "
        "of each. Give primary_key"
    )
    syncing.smart(mongodb_collection="lines").refused(message)
    run = syncing.smart(mongodb_collection="lines", mongodb_projection='{"_id": 0}').succeeded()
    assert run.rows_loaded == 15
    assert syncing.column("SELECT COUNT(*) FROM items") == [15]
    syncing.mongodb.create_collection("some", viewOn="items", pipeline=[{"$match": {"_id": {"$lt": 3}}}])
    run = syncing.smart(mongodb_collection="some", destination_bigquery_table="some").succeeded()
    assert run.rows_loaded == 3


def test_time_series_that_repeats_ids(syncing: MongodbSyncing) -> None:
    """A time series has no unique index on _id."""
    syncing.mongodb.create_collection("series", timeseries={"timeField": "updated_at"})
    syncing.mongodb["series"].insert_many([{"_id": number // 2, "updated_at": LONG_AGO} for number in range(3)])
    syncing.smart(mongodb_collection="series").refused(
        "series is a time series that repeats _ids: 2 documents have only 1 distinct ones, and a merge by _id would "
        "keep one of each. Give primary_key"
    )


def test_whole_number_that_becomes_a_double(syncing: MongodbSyncing) -> None:
    """The way out that the message names works."""
    syncing.insert({"_id": 1, "updated_at": LONG_AGO, "n": 1}, {"_id": 2, "updated_at": LONG_AGO, "n": 3.0})
    syncing.client.query_and_wait(
        f"CREATE TABLE `{syncing.table_id()}` (_id INT64 NOT NULL, n INT64, updated_at TIMESTAMP)"
    )
    syncing.smart().succeeded()
    assert syncing.rows("_id, n") == [(1, 1), (2, 3)]
    syncing.insert({"_id": 3, "updated_at": now() - HOUR, "n": 2.5})
    message = syncing.smart(schema_evolution="add").refused(
        "column 'n' (double to INT64)", "delete_existing_table=true"
    )
    assert "type_overrides" not in message
    assert "ALTER COLUMN `n` SET DATA TYPE FLOAT64" in message
    syncing.client.query_and_wait(f"ALTER TABLE `{syncing.table_id()}` ALTER COLUMN `n` SET DATA TYPE FLOAT64")
    syncing.smart().succeeded()
    assert syncing.rows("_id, n") == [(1, 1.0), (2, 3.0), (3, 2.5)]


def test_new_field(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO})
    syncing.smart().succeeded()
    syncing.insert({"_id": 2, "updated_at": now() - HOUR, "new": "x"})
    syncing.smart().refused("column new (STRING) is not in the destination table", "schema_evolution=add")
    syncing.smart(schema_evolution="add").succeeded()
    assert syncing.rows("_id, new") == [(1, None), (2, "x")]
    syncing.insert({"_id": 3, "updated_at": now() - HOUR / 2, "newer": "x"})
    syncing.smart(schema_evolution="ignore").succeeded()
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [1, 2, 3]


def test_transformations_of_fields_that_an_interval_lacks(syncing: MongodbSyncing) -> None:
    config = (
        '{"exclude_fields": ["secret"], "type_overrides": {"price": "NUMERIC"}, "hash_fields": ["mail"], '
        '"field_mappings": {"note": "remark"}}'
    )
    first = {"_id": 1, "updated_at": LONG_AGO, "secret": 1, "price": 1.5, "mail": "a@example.com", "note": "x"}
    syncing.insert(first)
    syncing.smart(transformation_config=config).succeeded()
    syncing.insert({"_id": 2, "updated_at": now() - HOUR})
    syncing.smart(transformation_config=config).succeeded()
    # Double and long together would be JSON.
    stamp = now() - HOUR / 2
    syncing.insert({"_id": 3, "updated_at": stamp, "price": Int64(7)}, {"_id": 4, "updated_at": stamp, "price": 0.25})
    syncing.smart(transformation_config=config).succeeded()
    assert syncing.rows("_id, price, remark, LENGTH(mail)") == [
        (1, Decimal("1.5"), "x", 64),
        (2, None, None, None),
        (3, Decimal(7), None, None),
        (4, Decimal("0.25"), None, None),
    ]


def test_key_that_is_left_out_later(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "updated_at": LONG_AGO})
    syncing.smart().succeeded()
    syncing.insert({"_id": 2, "updated_at": now() - HOUR})
    syncing.smart(mongodb_projection='{"_id": 0}').refused(
        "column _id is REQUIRED in the destination table, and no longer selected"
    )
