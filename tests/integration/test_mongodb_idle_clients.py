"""One client serves the splits that a thread reads one after the other; none that anything went wrong with."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import pymongo
import pytest

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.mongodb import connection as connecting
from sync_pipeline.sources.mongodb.raw_read import FindReader
from sync_pipeline.sources.mongodb.source import open_source
from sync_pipeline.sources.source import BATCHES, ReadSplit, TableRead
from tests.integration.mongodb_syncing import MongodbSyncing

NUMBERS = Schema((Field("_id", "INT64"),))
ALL = '{"projection": {"_id": 1}}'

Clients = list[pymongo.MongoClient[dict[str, object]]]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    """The clients that were opened."""
    opened: Clients = []
    connect = connecting._connect

    def noted(*arguments: object) -> pymongo.MongoClient[dict[str, object]]:
        opened.append(connect(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(connecting, "_connect", noted)
    return opened


def is_closed(client: pymongo.MongoClient[dict[str, object]]) -> bool:
    try:
        client.admin.command("ping")
    except pymongo.errors.InvalidOperation:
        return True
    return False


def reader_of(syncing: MongodbSyncing, collection: str = "items", **parameters: str) -> FindReader:
    config = SyncConfig.from_parameters(syncing.parameters(mongodb_collection=collection, **parameters))
    return open_source(config).reader(NUMBERS)


@pytest.fixture
def reader(mongodb_syncing: MongodbSyncing, clients: Clients) -> Iterator[FindReader]:
    """A reader whose thread has no client before and after the test."""
    mongodb_syncing.insert(*({"_id": number} for number in range(3)))
    mongodb_syncing.mongodb["others"].insert_one({"_id": 7})
    own = reader_of(mongodb_syncing)
    yield own
    own.close_idle()
    assert all(map(is_closed, clients))


def read(reader: FindReader, statement: str = ALL) -> list[int]:
    tables = [part for part in reader.read(ReadSplit(1, 1, statement)) if isinstance(part, pa.Table)]
    return [number for table in tables for number in table.column("_id").to_pylist()]


def test_a_client_is_used_again_for_another_collection(
    mongodb_syncing: MongodbSyncing, reader: FindReader, clients: Clients
) -> None:
    others = reader_of(mongodb_syncing, "others", mongodb_query='{"_id": {"$gt": 0}}')
    assert (read(reader), read(others), read(reader)) == ([0, 1, 2], [7], [0, 1, 2])
    assert len(clients) == 1
    others.close_idle()
    assert is_closed(clients[0])
    assert read(reader) == [0, 1, 2]
    assert len(clients) == 2


def test_another_login_has_a_client_of_its_own(
    mongodb_syncing: MongodbSyncing, reader: FindReader, clients: Clients
) -> None:
    read(reader)
    endpoints = mongodb_syncing.endpoints
    uri = endpoints.mongodb_uri
    access = dict.fromkeys(("mongodb_host", "mongodb_port", "mongodb_username", "mongodb_password"))
    administrator = reader_of(mongodb_syncing, mongodb_connection_string=uri, **access)  # type: ignore[arg-type]
    assert read(administrator) == [0, 1, 2]
    assert [is_closed(client) for client in clients] == [True, False]


def test_a_client_that_lost_its_server_is_replaced(reader: FindReader, clients: Clients) -> None:
    read(reader)
    clients[0].close()
    assert read(reader) == [0, 1, 2]
    assert len(clients) == 2


def test_a_client_whose_read_failed_is_not_used_again(reader: FindReader, clients: Clients) -> None:
    with pytest.raises(SourceQueryError):
        read(reader, '{"filter": {"$nope": 1}}')
    assert is_closed(clients[0])


def test_a_client_whose_documents_were_not_all_taken_is_not_used_again(reader: FindReader, clients: Clients) -> None:
    parts = reader.read(ReadSplit(1, 1, ALL))
    next(parts)
    parts.close()
    assert is_closed(clients[0])


def test_threads_share_none(reader: FindReader, clients: Clients) -> None:
    read(reader)

    def run() -> None:
        read(reader)
        reader.close_idle()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [is_closed(client) for client in clients] == [False, True]


def test_a_run_leaves_no_client(mongodb_syncing: MongodbSyncing, clients: Clients) -> None:
    mongodb_syncing.insert({"_id": 1})
    config = SyncConfig.from_parameters(mongodb_syncing.parameters())
    source = open_source(config)
    splits = [(table, ReadSplit(1, 1, ALL)) for table in range(20)]
    reads = {table: TableRead(source.reader(NUMBERS), 10) for table in range(20)}
    with beam.Pipeline("FnApiRunner") as pipeline:
        # One element, as a bundle may be cut between elements.
        read = (
            pipeline | beam.Create([splits]) | beam.FlatMap(lambda all_of_them: all_of_them) | source.transform(reads)
        )
        _ = read[BATCHES] | beam.Map(lambda batch: None)
    assert len(clients) == 1
    assert is_closed(clients[0])
