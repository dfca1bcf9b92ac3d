"""Documents that MongoDB no longer has are removed or marked: which keys are read, and how none is missed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pymongo
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from google.cloud import bigquery
from pymongo import monitoring

from sandbox import Endpoints, mongodb
from sandbox.mongodb_replica_set import ReplicaSet
from sandbox.processes import Process
from sync_pipeline.errors import SourceBusyError, SourceQueryError, SourceUnavailableError, SyncError
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.sources.mongodb import key_read
from sync_pipeline.sources.mongodb.key_read import in_time
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import TABLE

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
DELETES: dict[str, str | None] = {"deletes": "remove", "max_deleted_percent": "50"}


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


def fill(syncing: MongodbSyncing, count: int = 6) -> None:
    syncing.insert(*({"_id": n, "v": f"value {n}", "updated_at": LONG_AGO} for n in range(1, count + 1)))


def sync(syncing: MongodbSyncing, **parameters: str | None) -> SyncReport:
    """Do what a run does, without Beam."""
    return syncing.publish(syncing.plan(**{**DELETES, **parameters}))


def test_rows_appear_and_disappear_in_one_change(syncing: MongodbSyncing) -> None:
    fill(syncing)
    syncing.smart(**DELETES).succeeded()
    syncing.collection.delete_many({"_id": {"$lt": 3}})
    syncing.insert({"_id": 7, "v": "new", "updated_at": datetime.now(UTC)})
    run = syncing.smart(**DELETES).succeeded()
    assert run.report["outcome"] == f"merged 1 rows into {syncing.table_id()}, and removed 2 deleted ones"
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [3, 4, 5, 6, 7]
    assert any("after the rows, in 1 split (by _id, from its index alone)" in note for note in run.notes)
    assert syncing.left_over() == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({"mongodb_query": '{"v": {"$ne": "hidden"}}'}, [1, 4, 5, 6], id="filter"),
        pytest.param(
            {
                "mongodb_query": '{"v": {"$ne": "hidden"}, "updated_at": {"$gt": {"$date": "{start_timestamp}"}, '
                '"$lte": {"$date": "{end_timestamp}"}}}'
            },
            [1, 4, 5, 6],
            id="placeholders",
        ),
        pytest.param({"primary_key": "v"}, [1, 3, 4, 5, 6], id="another key"),
        pytest.param(
            {"mongodb_projection": '{"_id": {"$add": ["$_id", 0]}, "updated_at": 1}'}, [1, 3, 4, 5, 6], id="computed"
        ),
        pytest.param({"num_partitions": "3"}, [1, 3, 4, 5, 6], id="splits"),
        pytest.param({"transformation_config": '{"hash_fields": ["_id"]}'}, 5, id="hashed"),
    ],
)
def test_keys_are_those_of_the_rows(syncing: MongodbSyncing, parameters: dict[str, str], expected: Any) -> None:
    fill(syncing)
    sync(syncing, **parameters)
    syncing.collection.delete_one({"_id": 2})
    if "mongodb_query" in parameters:
        # What the filter no longer finds is gone, even if its timestamp is unchanged.
        syncing.collection.update_one({"_id": 3}, {"$set": {"v": "hidden"}})
    report = sync(syncing, **parameters)
    assert report.rows_deleted == (2 if "mongodb_query" in parameters else 1)
    if isinstance(expected, int):
        assert syncing.column("SELECT COUNT(*) FROM items") == [expected]
    else:
        assert syncing.column("SELECT _id FROM items ORDER BY _id") == expected


def test_whole_documents_are_marked(syncing: MongodbSyncing) -> None:
    """Their keys may have several types, and one comes back with its old timestamp."""
    keys = [1, "one", ObjectId("65f0c0ffee65f0c0ffee65f0")]
    syncing.insert(*({"_id": key, "v": {"a": 1}, "updated_at": LONG_AGO} for key in keys))
    parameters = {"deletes": "mark", "mongodb_document_mode": "true"}
    sync(syncing, **parameters)
    gone = syncing.collection.find_one_and_delete({"_id": "one"})
    assert sync(syncing, **parameters).rows_deleted == 1
    assert syncing.column("SELECT _id FROM items WHERE _deleted_at IS NOT NULL") == ["one"]
    assert gone is not None
    syncing.insert(gone)
    sync(syncing, **parameters)
    assert syncing.column("SELECT COUNT(*) FROM items WHERE _deleted_at IS NULL") == [3]


def test_marks_stay_when_deleted_rows_are_kept_again(syncing: MongodbSyncing) -> None:
    """A run reads the columns that the table has, as documents may have them, but not the marks."""
    fill(syncing, 2)
    sync(syncing, deletes="mark")
    syncing.collection.delete_one({"_id": 1})
    sync(syncing, deletes="mark")
    syncing.insert({"_id": 1, "v": "again", "updated_at": datetime.now(UTC)})
    sync(syncing, deletes="keep")
    assert syncing.query("SELECT v, _deleted_at IS NULL FROM items ORDER BY _id") == [
        ("again", False),
        ("value 2", True),
    ]


def test_a_document_whose_key_field_has_another_name_keeps_its_row(syncing: MongodbSyncing) -> None:
    """Both names become one column: so a read of the one field alone would miss a key."""
    syncing.insert({"_id": 1, "user_id": 1, "updated_at": LONG_AGO}, {"_id": 2, "user_id": 2, "updated_at": LONG_AGO})
    parameters = {"primary_key": "user_id"}
    sync(syncing, **parameters)
    syncing.collection.update_one({"_id": 2}, {"$rename": {"user_id": "user-id"}})
    assert sync(syncing, **parameters).rows_deleted == 0
    syncing.collection.update_one({"_id": 2}, {"$set": {"user_id": 2}})
    with pytest.raises(SourceQueryError, match="a document has two fields for the key column 'user_id'"):
        sync(syncing, **parameters)


def test_what_is_wrong_with_other_fields_does_not_hide_a_key(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 1, "k": 1, "n": 1, "updated_at": LONG_AGO}, {"_id": 2, "k": 2, "updated_at": LONG_AGO})
    sync(syncing, primary_key="k")
    syncing.collection.update_one({"_id": 1}, {"$set": {"n": "text"}})
    syncing.collection.delete_one({"_id": 2})
    spoilt = bson.encode({"_id": 2, "k": 2, "xx": 1, "updated_at": LONG_AGO}).replace(b"xx", b"\xff\xff")
    syncing.collection.insert_one(RawBSONDocument(spoilt))
    assert sync(syncing, primary_key="k").rows_deleted == 0


def test_what_a_read_might_miss_is_refused(syncing: MongodbSyncing) -> None:
    fill(syncing)
    syncing.collection.create_index([("v", "text")])
    syncing.mongodb.create_collection("seen", viewOn=TABLE, pipeline=[])
    syncing.mongodb.create_collection("measured", timeseries={"timeField": "updated_at"})
    syncing.mongodb["measured"].insert_one({"_id": 1, "updated_at": LONG_AGO})
    for collection, noun in (("seen", "a view"), ("measured", "a time series")):
        sync(syncing, mongodb_collection=collection, deletes="keep")
        with pytest.raises(SyncError, match=f"deletes: {collection} is {noun}, and only of a collection"):
            syncing.plan(**DELETES, mongodb_collection=collection)
    with pytest.raises(SyncError, match=r"mongodb_query uses \$text or \$near"):
        syncing.plan(**DELETES, mongodb_query='{"$text": {"$search": "value"}}')


@contextlib.contextmanager
def suspended(processes: Sequence[Process]) -> Iterator[None]:
    """Let servers of the test stand still."""
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


class Commands(monitoring.CommandListener):
    """The finds of all clients, and the `host:port` that got each."""

    def __init__(self) -> None:
        self.finds: list[tuple[dict[str, Any], str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "find":
            host, port = event.connection_id
            self.finds.append((dict(event.command), f"{host}:{port}"))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    listener, client = Commands(), pymongo.MongoClient
    monkeypatch.setattr(
        "sync_pipeline.sources.mongodb.connection.pymongo.MongoClient",
        lambda *arguments, **options: client(*arguments, event_listeners=[listener], **options),
    )
    return listener


@pytest.fixture
def replicated(
    replica_set: ReplicaSet, endpoints: Endpoints, bigquery_client: bigquery.Client, dataset: str, gcs_folder: str
) -> Iterator[MongodbSyncing]:
    with mongodb.connect(replica_set.access.uri) as client:
        database = client[mongodb.DATABASE]
        syncing = MongodbSyncing(endpoints, database.name, None, bigquery_client, dataset, gcs_folder, database)
        fill(syncing)
        yield syncing
        replica_set.restart()
        database[TABLE].drop()


def of(uri: str) -> dict[str, str | None]:
    parts = ("mongodb_host", "mongodb_port", "mongodb_username", "mongodb_password")
    return {"mongodb_connection_string": uri, **dict.fromkeys(parts)}


def test_the_primary_is_confirmed_and_read_whatever_the_connection_prefers(
    replicated: MongodbSyncing, replica_set: ReplicaSet, commands: Commands
) -> None:
    uri = f"{replica_set.reader_uri}&readPreference=secondary&readConcernLevel=local"
    sync(replicated, **of(uri))
    replicated.collection.with_options(write_concern=pymongo.WriteConcern("majority")).delete_one({"_id": 2})
    plan = replicated.plan(**DELETES, **of(uri))
    commands.finds.clear()
    files = replicated.stage(plan)
    rows, confirming, keys = commands.finds
    assert rows[1] != replica_set.primary()
    assert [address for _, address in (confirming, keys)] == [replica_set.primary()] * 2
    assert confirming[0]["readConcern"] == {"level": "linearizable"}
    assert keys[0]["readConcern"]["level"] == "majority"
    assert keys[0]["readConcern"]["afterClusterTime"] is not None
    assert (keys[0]["hint"], keys[0]["projection"]) == ({"_id": 1}, {"_id": 1})
    assert replicated.publish(plan, files).rows_deleted == 1


def test_a_new_primary_is_read_as_far_as_the_old_one_had_come(
    replicated: MongodbSyncing, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is elected between the confirmation and the read, and still knows an older commit point."""
    sync(replicated, **of(replica_set.reader_uri))
    confirm = key_read._confirm_primary

    def confirm_and_step_down(*arguments: Any) -> None:
        confirm(*arguments)
        replica_set.step_down()

    monkeypatch.setattr(key_read, "_confirm_primary", confirm_and_step_down)
    replicated.collection.insert_one({"_id": 9, "v": "x", "updated_at": datetime.now(UTC) - timedelta(hours=1)})
    assert sync(replicated, **of(replica_set.reader_uri)).rows_deleted == 0
    assert 9 in replicated.column("SELECT _id FROM items")


def test_a_secondary_alone_is_refused(replicated: MongodbSyncing, replica_set: ReplicaSet) -> None:
    sync(replicated, **of(replica_set.reader_uri))
    secondary = next(address for address in replica_set.members if address != replica_set.primary())
    access = replica_set.access
    uri = mongodb.uri([secondary], access.username, access.password, "&directConnection=true")
    with pytest.raises(SyncError, match="the connection leads to a secondary alone"):
        replicated.plan(**DELETES, **of(uri))


def test_a_primary_that_no_majority_confirms_is_not_read(
    replicated: MongodbSyncing, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may be one that has been replaced, and has not heard of it."""
    sync(replicated, **of(replica_set.reader_uri))
    plan = replicated.plan(**DELETES, **of(replica_set.reader_uri))
    monkeypatch.setattr(key_read, "_CONFIRMATION_MILLISECONDS", 200)
    primary = replica_set.primary()
    others = [process for address, process in replica_set.members.items() if address != primary]
    with (
        suspended(others),
        pytest.raises(SourceUnavailableError, match="MongoDB: deletes reads _id from the primary, and no"),
    ):
        replicated.stage(plan)


def test_a_read_of_a_sharded_cluster_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(SourceBusyError, match=r"reads _id in splits, and one took longer than 0 .*num_partitions"):
        list(in_time((each for each in [None, None]), 0, "deletes reads _id"))  # type: ignore[misc]


def test_a_read_of_a_sharded_cluster_whose_end_comes_too_late_is_stopped() -> None:
    """The documents that it lacks may have been deleted before it ended."""

    def parts() -> Iterator[Any]:
        yield None
        time.sleep(0.05)

    with pytest.raises(SourceBusyError, match="reconcile reads all documents in splits, and one took"):
        list(in_time(parts(), 0.02, "reconcile reads all documents"))  # type: ignore[arg-type]
