"""One run syncs a database of MongoDB, and the next what changed in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.codec_options import CodecOptions
from gridfs import GridFS

from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Run
from tests.integration.table_values import Rows, bigquery_rows, plain

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

# Fields and the values that they have in the n-th document.
FIELDS: dict[str, Callable[[int], Any]] = {
    "text": lambda n: f'é"{n}\n',
    "count": lambda n: n,
    "big": lambda n: Int64(2**62 - n),
    "ratio": lambda n: n / 7,
    "price": lambda n: Decimal128(f"{n}.10"),
    "is_new": lambda n: n % 2 == 0,
    "at": lambda n: LONG_AGO - n * HOUR,
    "data": lambda n: Binary(bytes([n])),
    "address": lambda n: {"city": "Łódź", "floors": [n, None, {"a": n}]},
    "tags": lambda n: ["a", n, None],
    "mixed": lambda n: n if n % 2 else f"text {n}",
    "size (cm)": lambda n: n,
    "owner": lambda n: ObjectId(f"{n:024x}"),
}


def run(syncing: MongodbSyncing, **parameters: str | None) -> Run:
    selected = {"mongodb_collection": "*", "destination_bigquery_table": None, "smart_sync_settle_seconds": "0"}
    return syncing.run(**{**selected, **parameters})


def test_a_database(mongodb_syncing: MongodbSyncing) -> None:
    syncing, database = mongodb_syncing, mongodb_syncing.mongodb
    database["orders"].insert_many([{"_id": n, "n": n, "updated_at": LONG_AGO + n * HOUR} for n in range(50)])
    database["orders"].insert_one({"_id": 50, "n": 50})
    database["countries"].insert_many([{"_id": "DE", "name": "Germany"}, {"_id": "FR", "name": "France"}])
    database["emptied"].insert_one({"_id": 1})
    database.create_collection("empty")
    database.create_collection("view", viewOn="orders", pipeline=[])
    database.create_collection("series", timeseries={"timeField": "updated_at"})
    database["series"].insert_many([{"_id": 1, "updated_at": LONG_AGO}, {"_id": 1, "updated_at": LONG_AGO + HOUR}])
    GridFS(database, "photos").put(b"bytes", filename="one.jpg")
    first = run(syncing)
    assert (first.exit_code, first.errors) == (0, ()), first.everything
    assert syncing.tables() == ["countries", "emptied", "orders", "series"]
    database["orders"].update_one({"_id": 7}, {"$set": {"n": -7, "updated_at": datetime.now(UTC) - HOUR}})
    database["countries"].delete_one({"_id": "FR"})
    database["emptied"].delete_many({})
    second = run(syncing)
    assert (second.exit_code, second.errors) == (0, ()), second.everything
    assert syncing.column("SELECT n FROM orders ORDER BY _id") == [-7 if n == 7 else n for n in range(51)]
    assert syncing.column("SELECT _id FROM countries") == ["DE"]
    assert syncing.column("SELECT COUNT(*) FROM series") == [2]
    assert syncing.column("SELECT COUNT(*) FROM emptied") == [0]


def documents(number: int) -> list[dict[str, Any]]:
    """Return the documents of a collection; those of an odd one have timestamps, and not each has every field."""
    names = list(FIELDS)[number % 7 :: 1 + number % 3]
    found = []
    for n in range(1, 2 + number * 3):
        document = {"_id": n, **{name: FIELDS[name](n) for place, name in enumerate(names) if (n + place) % 4}}
        found.append(document | ({"updated_at": LONG_AGO + n * HOUR} if number % 2 else {}))
    return found


@pytest.mark.timeout(300)
def test_every_value_of_twenty_collections(mongodb_syncing: MongodbSyncing) -> None:
    syncing, database = mongodb_syncing, mongodb_syncing.mongodb
    for number in range(20):
        database[f"c{number:02}"].insert_many(documents(number))
    first = run(syncing)
    assert (first.exit_code, first.errors) == (0, ()), first.everything
    assert different(syncing) == []
    for number in range(20):
        collection, present = database[f"c{number:02}"], {"updated_at": datetime.now(UTC) - HOUR} if number % 2 else {}
        collection.update_one({"_id": 1}, {"$set": {"text": "changed", **present}})
        collection.insert_one({"_id": 100, **present})
        if not number % 2:
            collection.delete_one({"_id": 2})
    database["c03"].drop()
    database["new"].insert_one({"_id": "a", "count": 1})
    second = run(syncing, schema_evolution="add")
    assert (second.exit_code, second.errors) == (0, ()), second.everything
    assert different(syncing) == []
    assert syncing.left_over() == []


def different(syncing: MongodbSyncing) -> list[str]:
    """Compare every value of every collection, and return the collections that differ."""
    return [
        name
        for name in sorted(syncing.mongodb.list_collection_names())
        if collection_rows(syncing, name) != bigquery_rows(syncing.client.list_rows(syncing.table(name)))
    ]


def collection_rows(syncing: MongodbSyncing, name: str) -> Rows:
    """Return the documents as rows of the columns that the table has; a field that is missing is NULL."""
    fields = {"size_cm": "size (cm)"}
    names = [fields.get(field.name, field.name) for field in syncing.table(name).schema]
    rows: Rows = Counter()
    for document in syncing.mongodb[name].with_options(CodecOptions(tz_aware=True)).find():
        assert set(document) <= set(names), name
        rows[tuple(plain(_as_loaded(document.get(field))) for field in names)] += 1
    return rows


def _as_loaded(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return str(value) if isinstance(value, ObjectId) else value
