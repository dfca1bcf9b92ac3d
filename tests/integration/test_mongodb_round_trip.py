"""What is in a collection is in the table: every type, every document, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from google.cloud import bigquery
from pymongo.database import Database

from sandbox import Endpoints
from tests.integration.mongodb_syncing import MongodbSyncing


@pytest.fixture
def syncing(
    endpoints: Endpoints,
    mongodb_database: Database[dict[str, Any]],
    bigquery_client: bigquery.Client,
    dataset: str,
    gcs_folder: str,
) -> Iterator[MongodbSyncing]:
    return MongodbSyncing(
        endpoints,
        mongodb_database.name,
        None,
        bigquery_client,
        dataset,
        gcs_folder,
        mongodb_database,  # type: ignore[arg-type]
    )


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


def test_smart_sync_merges(syncing: MongodbSyncing) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    syncing.insert(*({"_id": number, "v": number, "updated_at": start} for number in range(5)))
    first = syncing.smart().succeeded()
    assert first.rows_read == 5
    syncing.collection.update_one({"_id": 1}, {"$set": {"v": 100, "updated_at": datetime.now(UTC)}})
    syncing.insert({"_id": 9, "v": 9, "updated_at": datetime.now(UTC)})
    second = syncing.smart().succeeded()
    assert second.rows_read == 2
    assert syncing.rows("_id, v") == [(0, 0), (1, 100), (2, 2), (3, 3), (4, 4), (9, 9)]
    third = syncing.smart().succeeded()
    assert third.rows_read == 0


def test_mixed_ids(syncing: MongodbSyncing) -> None:
    ids: list[Any] = [
        1,
        "a",
        2.5,
        ObjectId(),
        {"a": 1},
        None,
        True,
        Binary(bytes(16), 4),
        datetime(2024, 1, 1),
        Int64(7),
    ]
    syncing.insert(*({"_id": value, "n": place} for place, value in enumerate(ids)))
    run = syncing.run(num_partitions="4").succeeded()
    assert run.rows_loaded == len(ids)
    assert sorted(syncing.column("SELECT n FROM items")) == list(range(len(ids)))
