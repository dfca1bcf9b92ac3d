"""What is in a collection is in the table: every type, every document, once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS

from tests.integration.mongodb_syncing import MongodbSyncing


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


def test_types(syncing: MongodbSyncing) -> None:
    moment = datetime(2024, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    one, two = ObjectId("65f0c0ffee65f0c0ffee65f0"), ObjectId("65f0c0ffee65f0c0ffee65f1")
    syncing.insert(
        {
            "_id": one,
            "name": "é",
            "count": 1,
            "big": Int64(2**62),
            "ratio": 0.1,
            "price": Decimal128("1.10"),
            "is_new": True,
            "at": moment,
            "data": b"\x00\xff",
            "address": {"city": "Bern", "at": moment, "price": Decimal128("1.10"), "id": one},
            "tags": ["a", 1, None, float("nan")],
            "nothing": None,
            "mixed": "text",
        },
        {"_id": two, "mixed": 5, "count": None, "ratio": 2},
    )
    run = syncing.run().succeeded()
    assert (run.rows_read, run.rows_loaded) == (2, 2)
    fields = [(field.name, field.field_type) for field in syncing.table().schema]
    assert fields == [
        ("_id", "STRING"),
        ("address", "JSON"),
        ("at", "TIMESTAMP"),
        ("big", "INTEGER"),
        ("count", "INTEGER"),
        ("data", "BYTES"),
        ("is_new", "BOOLEAN"),
        ("mixed", "JSON"),
        ("name", "STRING"),
        ("nothing", "STRING"),
        ("price", "BIGNUMERIC"),
        ("ratio", "FLOAT"),
        ("tags", "JSON"),
    ]
    first, second = syncing.rows()
    assert first[0] == str(one)
    assert first[1] == {"city": "Bern", "at": "2024-02-03T04:05:06.789000Z", "price": "1.10", "id": str(one)}
    assert second == (str(two), None, None, None, None, None, None, 5, None, None, None, 2.0, None)


IDS: list[Any] = [
    *(1, 2.5, Int64(7), Decimal128("3.5"), "a", "b", {"a": 1}, {"a": 1, "b": 2}, None, True, False),
    *(Binary(b"x"), Binary(bytes(16), 4), ObjectId(), datetime(2024, 1, 1, tzinfo=UTC), DatetimeMS(2**60)),
    *(MinKey(), MaxKey(), Timestamp(1, 2), float("inf"), Regex("^z")),
]


@pytest.mark.parametrize("partitions", ["1", "4", "21"])
def test_ids_of_all_types_are_read_once(syncing: MongodbSyncing, partitions: str) -> None:
    # The server takes no regular expression for an _id.
    ids = [value for value in IDS if not isinstance(value, Regex)]
    syncing.insert(*({"_id": value, "n": place} for place, value in enumerate(ids)))
    run = syncing.run(num_partitions=partitions, primary_key="_id").succeeded()
    assert run.rows_loaded == len(ids)
    assert sorted(syncing.column("SELECT n FROM items")) == list(range(len(ids)))
    assert len(set(syncing.column("SELECT _id FROM items"))) == len(ids)


def test_many_documents_in_many_partitions(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": f"x{number:05d}" if number % 3 else number, "n": number} for number in range(20_000)))
    run = syncing.run(num_partitions="5", mongodb_query='{"n": {"$gte": 1000}}').succeeded()
    assert run.rows_loaded == 19_000
    assert "plan: 2 columns, 5 read splits, rows: " in run.everything
    assert syncing.query("SELECT COUNT(DISTINCT n), MIN(n), MAX(n) FROM items") == [(19_000, 1000, 19_999)]


def test_ids_that_would_be_one_row_are_refused(syncing: MongodbSyncing) -> None:
    one = ObjectId()
    syncing.insert({"_id": one}, {"_id": str(one)})
    syncing.run().refused("_id has several types, and some strings look like a value of another type")


@pytest.mark.parametrize(
    ("value", "type_name", "expected"),
    [
        pytest.param("abc", "STRING", "abc", id="string"),
        pytest.param(5, "INTEGER", 5, id="int"),
        pytest.param(2.5, "STRING", "2.5", id="double"),
        pytest.param(uuid.UUID(int=5), "STRING", "00000000-0000-0000-0000-000000000005", id="uuid"),
        pytest.param(b"x", "BYTES", b"x", id="binData"),
        pytest.param({"b": 1, "a": 2}, "STRING", '{"b": {"$numberInt": "1"}, "a": {"$numberInt": "2"}}', id="object"),
        pytest.param(datetime(2024, 1, 1, tzinfo=UTC), "TIMESTAMP", datetime(2024, 1, 1, tzinfo=UTC), id="date"),
        pytest.param(None, "STRING", "null", id="null"),
    ],
)
def test_ids(syncing: MongodbSyncing, value: Any, type_name: str, expected: Any) -> None:
    collection = syncing.collection.with_options(codec_options=CodecOptions(uuid_representation=4))
    collection.insert_one({"_id": value})
    syncing.run(primary_key="_id").succeeded()
    assert [field.field_type for field in syncing.table().schema] == [type_name]
    assert syncing.column("SELECT _id FROM items") == [expected]


def test_names_that_bigquery_does_not_allow(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "a b": 1, "größe": 2, "日本": 3, "2nd": 4, "_PARTITIONTIME": 5})
    syncing.run().succeeded()
    names = [field.name for field in syncing.table().schema]
    assert names == ["_id", "c_2nd", "PARTITIONTIME", "a_b", "grosse", "field_e697a5e69cac"]


def test_names_that_would_be_one_column(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "a b": 1, "a_b": 2})
    syncing.run().refused("fields 'a b' and 'a_b' would both be column 'a_b'", "mongodb_projection")
    run = syncing.run(mongodb_projection='{"a b": 0}').succeeded()
    assert run.rows_loaded == 1


def test_names_that_differ_in_case_only(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "Name": "x", "name": "y"})
    syncing.run().refused("duplicate column names, as BigQuery ignores case: Name and name", "field_mappings")
    syncing.run(transformation_config='{"field_mappings": {"Name": "upper_name"}}').succeeded()
    assert syncing.query("SELECT _id, upper_name, name FROM items") == [(1, "x", "y")]


def test_query_and_projection(syncing: MongodbSyncing) -> None:
    one, two = ObjectId(), ObjectId()
    syncing.insert({"_id": one, "a": 1, "b": {"c": 1, "d": 2}}, {"_id": two, "a": 2})
    syncing.run(
        mongodb_query=f'{{"_id": {{"$oid": "{one}"}}}}',
        mongodb_projection='{"b.c": 1, "twice": {"$add": ["$a", "$a"]}}',
    ).succeeded()
    assert syncing.query("SELECT _id, b, twice FROM items") == [(str(one), {"c": 1}, 2)]


def test_document_mode(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "a": [1, {"b": None}]}, {"_id": "x", "document": "mine", "": 1, "a b": 2, "a_b": 3})
    run = syncing.run(mongodb_document_mode="true").succeeded()
    assert run.rows_loaded == 2
    assert syncing.rows() == [
        ("1", {"_id": 1, "a": [1, {"b": None}]}),
        ("x", {"_id": "x", "document": "mine", "": 1, "a b": 2, "a_b": 3}),
    ]


def test_view(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": number, "n": number} for number in range(10)))
    syncing.mongodb.create_collection("even", viewOn="items", pipeline=[{"$match": {"n": {"$mod": [2, 0]}}}])
    run = syncing.run(mongodb_collection="even", num_partitions="3").succeeded()
    assert run.rows_loaded == 5


def test_no_documents(syncing: MongodbSyncing) -> None:
    syncing.mongodb.create_collection("items")
    syncing.run().refused("the source has no rows for this run")
    assert syncing.tables() == []
    syncing.insert({"_id": 1, "a": 1})
    syncing.run().succeeded()
    syncing.collection.delete_many({})
    run = syncing.run().succeeded()
    assert run.report["outcome"].startswith("nothing new")


def test_numbers_that_bigquery_would_round_are_dead_letters(syncing: MongodbSyncing) -> None:
    syncing.query("CREATE TABLE items (_id INT64, n NUMERIC(10, 2))")
    numbers = [Decimal128("1.129"), Decimal128("12345678.100"), 7, 1.5, 123456789, None]
    syncing.insert(*({"_id": place, "n": number} for place, number in enumerate(numbers)))
    run = syncing.run(dead_letter_table=syncing.table_id("letters")).succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (4, "2")
    assert syncing.rows("_id, n") == [(1, Decimal("12345678.1")), (2, Decimal(7)), (3, Decimal("1.5")), (5, None)]
    assert syncing.column("SELECT JSON_VALUE(source_row, '$._id') FROM letters ORDER BY 1") == ["0", "4"]
    (reason,) = set(syncing.column("SELECT SPLIT(reason, ': ')[1] FROM letters"))
    assert reason.startswith("the destination's NUMERIC(10, 2) holds 8 digits before the point and 2 after it. Give")
