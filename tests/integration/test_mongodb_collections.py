"""Collections of the shapes that well-known sample databases have: loaded whole, and kept equal by Smart Sync."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from tests.integration.mongodb_syncing import MongodbSyncing

DAY = timedelta(days=1)
LONG_AGO = datetime(2019, 2, 16, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Shape:
    """Documents of a kind, and what some columns of the first hold.

    Attributes:
        timestamp: the field or path that Smart Sync reads by.
    """

    documents: list[dict[str, Any]]
    timestamp: str
    types: dict[str, str]
    first: dict[str, Any]


def oid(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


SHAPES = {
    "films": Shape(
        [
            {
                "_id": oid(number),
                "title": f"Film {number}",
                "year": 1893 + number if number % 7 else "1995è",
                "released": datetime(1893, 5, 9, tzinfo=UTC) + number * 900 * DAY,
                "runtime": number,
                "imdb": {"rating": 6.2 if number % 3 else "", "votes": number if number % 3 else "", "id": number},
                "tomatoes": {"viewer": {"rating": 3.0, "numReviews": number}, "lastUpdated": LONG_AGO},
                "cast": ["A", "B"] if number % 2 else [],
                "lastupdated": "2015-08-26 00:03:50.133000000",
            }
            for number in range(40)
        ],
        "released",
        {"_id": "STRING", "year": "JSON", "released": "TIMESTAMP", "imdb": "JSON", "runtime": "INTEGER"},
        {"year": "1995è", "imdb": {"rating": "", "votes": "", "id": 0}, "runtime": 0},
    ),
    "listings": Shape(
        [
            {
                "_id": str(10_006_546 + number),
                "price": Decimal128(f"{80 + number}.00"),
                "bathrooms": Decimal128("1.0"),
                "bedrooms": number % 4,
                "weekly_price": Decimal128("500.00") if number % 5 == 0 else None,
                "last_scraped": LONG_AGO + number * DAY,
                "address": {"location": {"type": "Point", "coordinates": [-8.6, 41.1]}, "country_code": "PT"},
                "review_scores": {"rating": 89} if number % 2 else {},
                "reviews": [{"_id": str(number), "date": LONG_AGO, "reviewer_name": "X"}] * (number % 3),
            }
            for number in range(40)
        ],
        "last_scraped",
        {"_id": "STRING", "price": "BIGNUMERIC", "bedrooms": "INTEGER", "weekly_price": "BIGNUMERIC"},
        {"price": Decimal(80), "weekly_price": Decimal(500), "review_scores": {}, "reviews": []},
    ),
    "bicycle trips": Shape(
        [
            {
                "_id": oid(number),
                "tripduration": number,
                "start station id": number,
                "start time": LONG_AGO + number * DAY,
                "stop time": LONG_AGO + number * DAY + timedelta(seconds=number),
                "birth year": "" if number % 2 == 0 else 1969,
                "end station location": {"type": "Point", "coordinates": [-73.9, 40.7]},
            }
            for number in range(40)
        ],
        "stop time",
        {"start_station_id": "INTEGER", "stop_time": "TIMESTAMP", "birth_year": "JSON"},
        {"birth_year": "", "stop_time": LONG_AGO},
    ),
    "buckets of transactions": Shape(
        [
            {
                "_id": oid(number),
                "account_id": number,
                "transaction_count": 2,
                "bucket": {"start": LONG_AGO - 900 * DAY, "end": LONG_AGO + number * DAY},
                "transactions": [
                    {"date": LONG_AGO, "amount": 1197, "price": "12.733076029", "total": str(Int64(2**40))},
                    {"date": LONG_AGO, "amount": 8797.5, "price": None},
                ],
            }
            for number in range(40)
        ],
        "bucket.end",
        {"bucket": "JSON", "bucket_end": "TIMESTAMP", "transactions": "JSON"},
        {"bucket_end": LONG_AGO},
    ),
    "weather": Shape(
        [
            {
                "_id": oid(number),
                "st": f"x+{number}",
                "ts": LONG_AGO + number * DAY,
                "elevation": 9999 if number % 2 else 9999.5,
                "airTemperature": {"value": -3.1, "quality": "1"},
                "surface": {"min": None, "max": None, "mean": -197.2},
                "sections": ["AG1"],
                **({f"precipitation {number}": {"depth": 999}} if number > 30 else {}),
            }
            for number in range(40)
        ],
        "ts",
        {"elevation": "FLOAT", "ts": "TIMESTAMP", "precipitation_35": "JSON"},
        {"elevation": 9999.5, "surface": {"min": None, "max": None, "mean": -197.2}},
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_collection(mongodb_syncing: MongodbSyncing, shape: Shape) -> None:
    syncing = mongodb_syncing
    syncing.insert(*shape.documents)
    parameters = {"smart_sync_timestamp_column": shape.timestamp}
    assert syncing.smart(num_partitions="3", **parameters).succeeded().rows_loaded == len(shape.documents)
    types = {field.name: field.field_type for field in syncing.table().schema}
    assert {name: types[name] for name in shape.types} == shape.types
    (first,) = syncing.query(f"SELECT {', '.join(shape.first)} FROM items ORDER BY _id LIMIT 1")
    assert dict(zip(shape.first, first, strict=True)) == shape.first
    changed = shape.documents[3]["_id"]
    syncing.collection.update_one({"_id": changed}, {"$set": {shape.timestamp: datetime.now(UTC), "new": True}})
    run = syncing.smart(schema_evolution="add", **parameters).succeeded()
    assert run.rows_loaded == 1
    assert syncing.query("SELECT COUNT(*), COUNTIF(new) FROM items") == [(len(shape.documents), 1)]


def test_all_documents_are_appended_once_by_default(mongodb_syncing: MongodbSyncing) -> None:
    mongodb_syncing.insert({"_id": 1}, {"_id": 2})
    mongodb_syncing.run(write_disposition=None).succeeded()
    mongodb_syncing.run(write_disposition=None).refused("write_disposition is not given", "WRITE_APPEND", "primary_key")
    assert mongodb_syncing.rows("_id") == [(1,), (2,)]
