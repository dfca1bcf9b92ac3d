"""The MongoDB server behaves as the sources need it."""

import pymongo
import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError
from pymongo.write_concern import WriteConcern

import sandbox
from sandbox import Endpoints, mongodb
from sandbox.mongodb_replica_set import ReplicaSet


def test_a_wrong_password_is_refused(endpoints: Endpoints) -> None:
    with (
        pymongo.MongoClient(endpoints.mongodb_host, endpoints.mongodb_port, username="reader", password="no") as client,
        pytest.raises(OperationFailure, match="Authentication failed"),
    ):
        client.admin.command("ping")


def test_nothing_is_to_be_had_without_a_password(endpoints: Endpoints) -> None:
    with (
        pymongo.MongoClient(endpoints.mongodb_host, endpoints.mongodb_port) as client,
        pytest.raises(OperationFailure, match="command find requires authentication"),
    ):
        client.demo.anything.find_one()


def test_the_reader_reads_and_nothing_else(endpoints: Endpoints, mongodb_database: Database) -> None:
    mongodb_database["t"].insert_one({"_id": 1})
    with mongodb.connect(_reader_uri(endpoints)) as client:
        granted = client[mongodb_database.name]["t"]
        assert granted.find_one() == {"_id": 1}
        for refused in (
            lambda: granted.insert_one({}),
            lambda: client["admin"].command("splitVector", f"{mongodb_database.name}.t", keyPattern={"_id": 1}),
            lambda: client["another"]["t"].find_one(),
        ):
            with pytest.raises(OperationFailure, match="not authorized on"):
                refused()


@pytest.mark.parametrize("abruptly", [False, True], ids=["stopped", "killed"])
def test_an_outage_can_be_made_and_ended(endpoints: Endpoints, mongodb_database: Database, abruptly: bool) -> None:
    # Once it is in the journal, it outlives a kill.
    mongodb_database["t"].with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
    sandbox.stop_server(endpoints.folder, "mongodb", abruptly=abruptly)
    try:
        with mongodb.connect(endpoints.mongodb_uri, patience=0.1) as client, pytest.raises(ServerSelectionTimeoutError):
            client["admin"].command("ping")
    finally:
        sandbox.start_server(endpoints.folder, "mongodb")
    with mongodb.connect(_reader_uri(endpoints)) as client:
        assert client[mongodb_database.name]["t"].find_one() == {"_id": 1}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param('{"nonsense": 1}', "MongoDB: no such command: 'nonsense'", id="unknown"),
        pytest.param('{"find": "t"', "MongoDB: Expecting ',' delimiter: line 1", id="not JSON"),
        pytest.param("[1]", 'a command for MongoDB is a document, such as {"ping": 1}', id="no document"),
    ],
)
def test_a_refused_command_is_one_message(endpoints: Endpoints, document: str, words: str) -> None:
    with pytest.raises(sandbox.SandboxError) as raised:
        mongodb.run_command(endpoints.mongodb_uri, document)
    assert str(raised.value).startswith(words)


def test_another_member_takes_over_with_the_data(replica_set: ReplicaSet) -> None:
    with mongodb.connect(replica_set.access.uri) as client:
        before = replica_set.primary()
        client["demo"]["taken_over"].insert_one({"_id": 1})
        assert replica_set.step_down() == replica_set.primary() != before
    with mongodb.connect(replica_set.reader_uri) as client:
        assert client["demo"]["taken_over"].find_one() == {"_id": 1}
        with pytest.raises(OperationFailure, match="not authorized on demo"):
            client["demo"]["taken_over"].insert_one({})


def _reader_uri(endpoints: Endpoints) -> str:
    address = f"{endpoints.mongodb_host}:{endpoints.mongodb_port}"
    return mongodb.uri([address], endpoints.mongodb_username, endpoints.mongodb_password)
