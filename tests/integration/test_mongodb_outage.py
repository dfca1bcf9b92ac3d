"""MongoDB goes away, or another member of the replica set takes over: before the read, or in the middle of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import bigquery
from pymongo.collection import Collection

import sandbox
from sandbox import Endpoints, mongodb
from sandbox.mongodb_replica_set import ReplicaSet
from sync_pipeline.sources.mongodb import raw_read
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import TABLE, Run

Midway = Callable[[Callable[[], object]], list[int]]

# 70 MB: more than is on its way at any time, as the server sends 101 documents and then 16 MB at once.
NUMBERS = range(1, 601)


@dataclass(frozen=True)
class Clock:
    """Stands in for the module `time`, in one module only: the sandbox waits as well."""

    sleep: Callable[[float], None]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a server for three seconds instead of ten."""
    for limit in ("SELECTION_SECONDS", "CONNECT_TIMEOUT_SECONDS"):
        monkeypatch.setattr(f"sync_pipeline.sources.mongodb.connection.{limit}", 3)


@pytest.fixture
def midway(monkeypatch: pytest.MonkeyPatch) -> Midway:
    """Have something done as soon as the first documents have come. Returns the sizes of the batches as they come."""

    def do(action: Callable[[], object]) -> list[int]:
        read, sizes = raw_read.read_documents, []

        def read_and_act(raw: bytes, columns: Any) -> Any:
            sizes.append(len(raw))
            if len(sizes) == 1:
                action()
            return read(raw, columns)

        monkeypatch.setattr(raw_read, "read_documents", read_and_act)
        return sizes

    return do


def _fill(collection: Collection[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    text = "secret-row " * 10_000
    collection.insert_one({"_id": 0, "text": "old", "updated_at": now - timedelta(hours=2)})
    later = now - timedelta(hours=1)
    collection.insert_many({"_id": number, "text": text, "updated_at": later} for number in NUMBERS)


def _old_only(syncing: MongodbSyncing, **parameters: str | None) -> None:
    """Load the one old document: the destination that must stay as it is."""
    syncing.smart(mongodb_query='{"_id": 0}', **parameters).succeeded()
    assert syncing.column("SELECT _id FROM items") == [0]


def _assert_untouched(syncing: MongodbSyncing, run: Run, *words: str) -> None:
    message = run.refused("MongoDB", *words, exit_code=1)
    assert "\n" not in message
    assert "secret-row" not in run.everything
    assert syncing.endpoints.mongodb_password not in run.everything
    assert syncing.query("SELECT _id, text FROM items") == [(0, "old")]
    assert syncing.left_over() == []
    assert "find" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("abruptly", "parameters"),
    [
        pytest.param(True, {}, id="killed, merge"),
        pytest.param(False, {"enable_smart_sync": "false"}, id="stopped, append"),
    ],
)
def test_a_server_that_ends_midway(
    mongodb_syncing: MongodbSyncing, midway: Midway, abruptly: bool, parameters: dict[str, str]
) -> None:
    syncing, folder = mongodb_syncing, mongodb_syncing.endpoints.folder
    _fill(syncing.collection)
    _old_only(syncing)
    sizes = midway(lambda: sandbox.stop_server(folder, "mongodb", abruptly=abruptly))
    try:
        run = syncing.smart(mongodb_query='{"_id": {"$gt": 0}}', **parameters)
    finally:
        sandbox.start_server(folder, "mongodb")
    assert 0 < sum(sizes) < len(NUMBERS)
    _assert_untouched(syncing, run, "run the job again")

    assert syncing.smart(mongodb_query='{"_id": {"$gt": 0}}', **parameters).succeeded().rows_loaded == len(NUMBERS)
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == [0, *NUMBERS]


def test_an_outage_that_ends_is_survived(
    mongodb_syncing: MongodbSyncing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, waits = mongodb_syncing.endpoints.folder, []

    def wait_for_the_server(seconds: float) -> None:
        waits.append(seconds)
        sandbox.start_server(folder, "mongodb")

    monkeypatch.setattr("sync_pipeline.sources.access.time", Clock(wait_for_the_server))
    mongodb_syncing.insert({"_id": 1})
    sandbox.stop_server(folder, "mongodb")
    try:
        mongodb_syncing.run(max_retries="1").succeeded()
    finally:
        sandbox.start_server(folder, "mongodb")
    assert waits == [1]
    [message] = [line for line in caplog.messages if "trying again" in line]
    assert message.startswith("MongoDB cannot be reached at ")
    assert message.endswith("; trying again in 1 s (1 of 1)")
    assert mongodb_syncing.column("SELECT _id FROM items") == [1]


@pytest.fixture
def replicated(
    replica_set: ReplicaSet, endpoints: Endpoints, bigquery_client: bigquery.Client, dataset: str, gcs_folder: str
) -> Iterator[MongodbSyncing]:
    """Runs from the replica set, as its reader, who may read the database `demo`."""
    with mongodb.connect(replica_set.access.uri) as client:
        database = client[mongodb.DATABASE]
        _fill(database[TABLE])
        syncing = MongodbSyncing(endpoints, database.name, None, bigquery_client, dataset, gcs_folder, database)
        yield syncing
        replica_set.restart()
        database[TABLE].drop()


def _of(members: ReplicaSet) -> dict[str, str | None]:
    parts = ("mongodb_host", "mongodb_port", "mongodb_username", "mongodb_password")
    return {"mongodb_connection_string": members.reader_uri, **dict.fromkeys(parts)}


def test_a_primary_that_steps_down_midway_is_read_to_the_end(
    replicated: MongodbSyncing, replica_set: ReplicaSet, midway: Midway
) -> None:
    _old_only(replicated, **_of(replica_set))
    before = replica_set.primary()
    sizes = midway(replica_set.step_down)
    replicated.smart(**_of(replica_set)).succeeded()
    assert len(sizes) > 4
    assert replica_set.primary() != before
    assert replicated.column("SELECT _id FROM items ORDER BY _id") == [0, *NUMBERS]
    assert replicated.left_over() == []


def test_a_primary_that_is_killed_midway(replicated: MongodbSyncing, replica_set: ReplicaSet, midway: Midway) -> None:
    _old_only(replicated, **_of(replica_set))
    sizes = midway(replica_set.kill_primary)
    run = replicated.smart(**_of(replica_set))
    assert 0 < sum(sizes) < len(NUMBERS)
    _assert_untouched(replicated, run, "run the job again")

    # Another member has taken over; nothing has to be repaired first.
    assert replicated.smart(**_of(replica_set)).succeeded().rows_loaded == len(NUMBERS)
    assert replicated.column("SELECT _id FROM items ORDER BY _id") == [0, *NUMBERS]
