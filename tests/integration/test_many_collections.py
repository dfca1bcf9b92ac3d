"""One run syncs a database of MongoDB, and the next what changed in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gridfs import GridFS

from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Run

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


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
