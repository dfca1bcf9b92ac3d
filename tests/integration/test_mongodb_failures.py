"""What goes wrong at MongoDB is told in one line, with the right error, without a secret and without data."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from pymongo.database import Database

from sandbox import Endpoints, mongodb
from sync_pipeline.errors import SourceError, SourceQueryError, SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.mongodb import connection as connection_module
from sync_pipeline.sources.mongodb.source import MongodbSource, open_source
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.source_questions import described

PASSWORD = "s3cret/of the:role@"


@pytest.fixture(autouse=True)
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "SELECTION_SECONDS", 1)
    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", lambda _: None)


@pytest.fixture
def no_server(is_impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that finds no server, and so waits the whole time."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(connection_module, "_REASON_SECONDS", 0.5)


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    mongodb_syncing.insert({"_id": 1, "n": 1})
    return mongodb_syncing


@pytest.fixture
def stranger(endpoints: Endpoints, mongodb_database: Database[dict[str, Any]]) -> Iterator[str]:
    """The name of a user in the test's own database who may log in with PASSWORD, and nothing else."""
    mongodb_database.command("createUser", "stranger", pwd=PASSWORD, roles=[])
    yield "stranger"
    mongodb_database.command("dropUser", "stranger")


def source(syncing: MongodbSyncing, **parameters: str | None) -> MongodbSource:
    return open_source(SyncConfig.from_parameters(syncing.parameters(**parameters)))


def failure(syncing: MongodbSyncing, **parameters: str | None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        described(source(syncing, **parameters))
    for secret in (PASSWORD, quote_plus(PASSWORD), syncing.endpoints.mongodb_password):
        assert secret not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def uri(endpoints: Endpoints, user: str = "", options: str = "", address: str = "") -> dict[str, str | None]:
    """Return the parameters of a connection by a connection string."""
    address = address or f"{endpoints.mongodb_host}:{endpoints.mongodb_port}"
    parts = ("mongodb_host", "mongodb_port", "mongodb_username", "mongodb_password")
    return {**dict.fromkeys(parts), "mongodb_connection_string": f"mongodb://{user}{address}/{options}"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_wrong_password(syncing: MongodbSyncing) -> None:
    error = failure(syncing, mongodb_password=PASSWORD)
    message = (
        "MongoDB: Authentication failed (AuthenticationFailed): check mongodb_username and mongodb_password, or those "
        "in mongodb_connection_string and its authSource"
    )
    assert (type(error), str(error)) == (SourceQueryError, message)


def test_wrong_password_in_a_connection_string(syncing: MongodbSyncing) -> None:
    error = failure(syncing, **uri(syncing.endpoints, f"reader:{quote_plus(PASSWORD)}@"))
    assert "Authentication failed" in str(error)


def test_no_user(syncing: MongodbSyncing) -> None:
    for parameters in ({"mongodb_username": None, "mongodb_password": None}, uri(syncing.endpoints)):
        assert str(failure(syncing, **parameters)).endswith(
            "requires authentication (Unauthorized): credentials are missing: set mongodb_username and "
            "mongodb_password, or put them in mongodb_connection_string"
        )


def test_user_of_another_database(syncing: MongodbSyncing, stranger: str) -> None:
    user = f"{stranger}:{quote_plus(PASSWORD)}@"
    assert "Authentication failed" in str(failure(syncing, **uri(syncing.endpoints, user)))
    options = f"?authSource={syncing.database}"
    error = failure(syncing, **uri(syncing.endpoints, user, options))
    assert isinstance(error, SourceQueryError)
    assert "grant the user the role read on the database" in str(error)
    syncing.mongodb.command("grantRolesToUser", stranger, roles=["read"])
    description = described(source(syncing, **uri(syncing.endpoints, user, options)))
    assert description.schema.names == ("_id", "n")


def test_user_of_one_collection(syncing: MongodbSyncing, stranger: str) -> None:
    """A role with no more than find on the collection is enough."""
    privilege = {"resource": {"db": syncing.database, "collection": "items"}, "actions": ["find"]}
    syncing.mongodb.command("createRole", "finder", privileges=[privilege], roles=[])
    syncing.mongodb.command("grantRolesToUser", stranger, roles=["finder"])
    user = f"{stranger}:{quote_plus(PASSWORD)}@"
    run = syncing.run(**uri(syncing.endpoints, user, f"?authSource={syncing.database}"), num_partitions="3").succeeded()
    assert run.rows_loaded == 1
    syncing.mongodb.command("dropRole", "finder")


@pytest.mark.usefixtures("no_server")
def test_unreachable_server(syncing: MongodbSyncing) -> None:
    port = free_port()
    error = failure(syncing, mongodb_port=str(port), max_retries="2")
    message = (
        f"MongoDB cannot be reached at 127.0.0.1:{port}: 127.0.0.1:{port}: [Errno 111] Connection refused: check "
        "mongodb_host, mongodb_port, the firewall and the network of the job"
    )
    assert (type(error), str(error)) == (SourceUnavailableError, message)


@pytest.mark.usefixtures("no_server")
def test_unknown_host(syncing: MongodbSyncing) -> None:
    error = failure(syncing, mongodb_host="no-such-host.invalid")
    assert isinstance(error, SourceError)
    assert "no-such-host.invalid" in str(error)
    assert "check mongodb_host" in str(error)


@pytest.mark.usefixtures("no_server")
def test_tls_to_a_server_without_it(syncing: MongodbSyncing) -> None:
    error = failure(syncing, **uri(syncing.endpoints, options="?tls=true"))
    assert isinstance(error, SourceError)
    assert "TLS" in str(error) or "SSL" in str(error)


@pytest.mark.usefixtures("no_server")
def test_wrong_replica_set(syncing: MongodbSyncing) -> None:
    error = failure(syncing, **uri(syncing.endpoints, options="?replicaSet=wrong"))
    assert isinstance(error, SourceQueryError)
    assert "check replicaSet in mongodb_connection_string" in str(error)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param(
            {"mongodb_collection": "itemz"},
            "mongodb_collection: database {database} has no collection itemz; did you mean items?",
            id="collection",
        ),
        pytest.param(
            {"mongodb_query": '{"n": {"$gtt": 1}}'},
            "MongoDB: unknown operator: $gtt (BadValue): correct mongodb_query or mongodb_projection",
            id="operator",
        ),
    ],
)
def test_refused(syncing: MongodbSyncing, parameters: dict[str, str], message: str) -> None:
    error = failure(syncing, **parameters)
    assert (type(error), str(error)) == (SourceQueryError, message.format(database=syncing.database))


def test_database_that_is_not_there(syncing: MongodbSyncing) -> None:
    with mongodb.connect(syncing.endpoints.mongodb_uri) as client:
        role = {"role": "read", "db": "nothing_there"}
        client["admin"].command("grantRolesToUser", syncing.endpoints.mongodb_username, roles=[role])
        error = failure(syncing, mongodb_database="nothing_there")
        client["admin"].command("revokeRolesFromUser", syncing.endpoints.mongodb_username, roles=[role])
    assert str(error).startswith("mongodb_database: database nothing_there has no collection that the user can see")


def test_projection_that_the_server_refuses(syncing: MongodbSyncing) -> None:
    error = failure(syncing, mongodb_projection='{"a": 1, "b": 0}')
    assert isinstance(error, SourceQueryError)
    assert "mongodb_projection" in str(error)


def test_data_is_not_quoted(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 2, "text": "hunter2"})
    error = failure(syncing, mongodb_projection='{"number": {"$toInt": "$text"}}')
    assert isinstance(error, SourceQueryError)
    assert "hunter2" not in str(error)


def test_a_run_says_it_too(syncing: MongodbSyncing) -> None:
    syncing.run(mongodb_password=PASSWORD).refused("Authentication failed")
    assert syncing.tables() == []
