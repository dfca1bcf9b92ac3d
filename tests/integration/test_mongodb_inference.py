"""Which documents tell the columns and what Smart Sync's field is, and what the launch asks the server for it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from pymongo.monitoring import CommandListener, CommandStartedEvent

from sandbox import mongodb
from sync_pipeline.errors import SchemaError, SourceQueryError, SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import MAX_COLUMNS
from sync_pipeline.smart_sync.interval import BEGINNING, StartOrigin, SyncInterval
from sync_pipeline.sources.mongodb import connection, schema_inference, session
from sync_pipeline.sources.mongodb.source import open_source
from sync_pipeline.sources.mongodb.to_json import DECODING
from sync_pipeline.sources.source import SourceDescription
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.source_questions import described

STAMP = datetime(2025, 1, 1, tzinfo=UTC)
EVERYTHING = SyncInterval(BEGINNING, STAMP + timedelta(days=1), StartOrigin.EVERYTHING)
INCREMENT = SyncInterval(STAMP, STAMP + timedelta(days=1), StartOrigin.DESTINATION, STAMP)


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


def scanned(syncing: MongodbSyncing, interval: SyncInterval | None = None, **parameters: str) -> SourceDescription:
    """Return what the source says of the documents in an interval, or without Smart Sync, of all."""
    if interval is not None:
        parameters["enable_smart_sync"] = "true"
    return described(open_source(SyncConfig.from_parameters(syncing.parameters(**parameters))), interval)


class Commands(CommandListener):
    """What clients that are opened from now on ask the server."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.asked.append(dict(event.command))

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    listener = Commands()
    client = pymongo.MongoClient

    def open_client(*arguments: Any, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        return client(*arguments, event_listeners=[listener], **options)

    monkeypatch.setattr(connection.pymongo, "MongoClient", open_client)
    return listener


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred documents are many."""
    monkeypatch.setattr(schema_inference, "MAX_ALL", 100)
    monkeypatch.setattr(schema_inference, "SAMPLE_SIZE", 10)
    monkeypatch.setattr(schema_inference, "ENDS", 1)
    monkeypatch.setattr(schema_inference, "FIRST", 1)


def test_documents_are_looked_at_once_and_with_a_limit(syncing: MongodbSyncing, commands: Commands) -> None:
    syncing.insert({"_id": 1, "data": b"x", "n": 1})
    assert scanned(syncing).schema.names == ("_id", "data", "n")
    looks = [asked for asked in commands.asked if "aggregate" in asked]
    assert len(looks) == 1
    assert 0 < looks[0]["maxTimeMS"] <= schema_inference.LOOK_SECONDS * 1000


@pytest.mark.usefixtures("few")
def test_large_collections_are_sampled(syncing: MongodbSyncing, commands: Commands) -> None:
    syncing.insert(
        {"_id": 0, "oldest": 1},
        *({"_id": number, "usual": 1.5} for number in range(1, 1000)),
        {"_id": 1000, "newest": 1},
    )
    described = scanned(syncing)
    assert {"_id", "oldest", "usual", "newest"} == set(described.schema.names)
    (risk,) = described.risks
    assert "the columns come from a random sample, 10 of about 1,001 documents" in risk
    assert "(mongodb_schema_sample_size=1001) would take about" in risk
    assert all("$match" not in asked["pipeline"][0] for asked in commands.asked if "aggregate" in asked)
    assert scanned(syncing, mongodb_schema_sample_size="1001").risks == ()


@pytest.mark.usefixtures("few")
def test_few_documents_of_a_large_collection_are_all_looked_at(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": number, "kind": number % 100, f"f{number % 100}": 1} for number in range(1000)))
    described = scanned(syncing, mongodb_query='{"kind": 7}')
    assert (described.schema.names, described.risks) == (("_id", "f7", "kind"), ())
    described = scanned(syncing, mongodb_query='{"kind": {"$gte": 0}}')
    assert "the columns come from a random sample" in described.risks[0]


@pytest.mark.usefixtures("few")
def test_field_that_no_sample_has_shown(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": number, "n": 1} for number in range(1000)))
    syncing.collection.update_one({"_id": 500}, {"$set": {"rare": 1}})
    message = syncing.run(mongodb_schema_sample_size="3").refused("field 'rare' (int) has no column", "in 1 of 1,000")
    assert "mongodb_schema_sample_size" in message
    run = syncing.run(mongodb_schema_sample_size="3", dead_letter_table=syncing.table_id("letters")).succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (999, "1")


def test_a_look_that_takes_too_long(syncing: MongodbSyncing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_inference, "LOOK_SECONDS", 0.001)
    syncing.insert(*({"_id": number, **{f"f{name}": name for name in range(50)}} for number in range(3000)))
    with pytest.raises(SourceQueryError, match=r"mongodb_schema_sample_size=10000.*mongodb_document_mode=true"):
        scanned(syncing)


def test_more_fields_than_a_table_can_have(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": part, **{f"f{part}_{n}": 1 for n in range(20_000)}} for part in range(5)))
    with pytest.raises(SchemaError, match=r"more than 10,000 different fields.*mongodb_document_mode=true"):
        scanned(syncing)
    projection = '{"f0_1": 1, "f1_1": 1}'
    assert scanned(syncing, mongodb_projection=projection).schema.names == ("_id", "f0_1", "f1_1")
    assert MAX_COLUMNS == 10_000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"updatedAt": STAMP, "createdAt": STAMP},
            "smart_sync_timestamp_column: no document has a value in updated_at; did you mean updatedAt? "
            "(fields with dates: createdAt, updatedAt)",
            id="another name",
        ),
        pytest.param(
            {"updated_at": "2025-01-01", "made": STAMP},
            "smart_sync_timestamp_column: updated_at is string in the documents and never a date, so no interval "
            "contains them: store dates in it, or name another field (fields with dates: made)",
            id="no date",
        ),
        pytest.param(
            {"n": 1},
            "smart_sync_timestamp_column: no document has a value in updated_at (no field at the top of them has "
            "dates)",
            id="no dates at all",
        ),
    ],
)
@pytest.mark.parametrize("interval", [EVERYTHING, INCREMENT], ids=["first run", "increment"])
def test_field_that_is_no_timestamp(
    syncing: MongodbSyncing, fields: dict[str, Any], message: str, interval: SyncInterval
) -> None:
    syncing.insert({"_id": 1, **fields}, {"_id": 2, **fields})
    for mode in ("false", "true"):
        with pytest.raises(SchemaError) as caught:
            scanned(syncing, interval, mongodb_document_mode=mode)
        assert str(caught.value) == message


def test_documents_without_a_date_are_not_searched_for_by_increments(
    syncing: MongodbSyncing, commands: Commands
) -> None:
    syncing.insert({"_id": 1, "updated_at": STAMP}, {"_id": 2}, {"_id": 3, "updated_at": "x"})
    said = "2 documents are not read: their updated_at is not a date (1 missing, 1 string)"
    assert scanned(syncing, EVERYTHING).risks == (said,)
    commands.asked.clear()
    assert scanned(syncing, INCREMENT).risks == ()
    # The look at the interval's documents alone.
    assert len([asked for asked in commands.asked if "aggregate" in asked]) == 1


@pytest.mark.parametrize(
    ("options", "is_counted"), [pytest.param({}, True, id="all"), pytest.param({"sparse": True}, False, id="sparse")]
)
def test_documents_without_a_date_are_counted_by_the_index(
    syncing: MongodbSyncing, commands: Commands, options: dict[str, Any], is_counted: bool
) -> None:
    syncing.insert(*({"_id": number, "updated_at": STAMP} for number in range(200)))
    syncing.insert({"_id": 2000}, {"_id": 3000, "updated_at": "x"}, {"_id": 4000, "updated_at": None})
    syncing.collection.create_index("updated_at", **options)
    # Where a field is missing, the index has null.
    said = "3 documents are not read: their updated_at is not a date (2 null, 1 string)"
    assert scanned(syncing, INCREMENT).risks == ((said,) if is_counted else ())
    if is_counted:
        (asked,) = (asked for asked in commands.asked if asked.get("pipeline", [{}])[-1].get("$group", {}).get("count"))
        stages = {"aggregate": "items", "pipeline": asked["pipeline"], "cursor": {}}
        with mongodb.connect(syncing.endpoints.mongodb_uri) as client:
            explained = client.get_database(syncing.database, codec_options=DECODING).command(
                "explain", stages, verbosity="executionStats"
            )
        assert "COLLSCAN" not in str(explained)
        assert "'totalDocsExamined': 200" not in str(explained)


def test_server_that_does_not_answer(syncing: MongodbSyncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question of the launch ends, whoever is at the other side."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 1)
    syncing.insert({"_id": 1})
    address = (syncing.endpoints.mongodb_host, syncing.endpoints.mongodb_port)
    with (
        _falling_silent_at(b"listCollections", address) as port,
        pytest.raises(SourceUnavailableError, match="the server did not answer in time: run the job again"),
    ):
        scanned(syncing, mongodb_port=str(port))


@contextlib.contextmanager
def _falling_silent_at(word: bytes, address: tuple[str, int]) -> Iterator[int]:
    """Yield the port of a way to the server that lets nothing through any more once it has met a word."""

    def pass_on(source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and word not in data:
                to.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(address)
                sockets.extend((client, server))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    sockets: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
    for end in sockets:
        end.close()
