"""Errors of the driver become ours, all of them, and without a credential."""

from __future__ import annotations

import inspect

import pymongo.errors
import pytest

from sync_pipeline.config import MongodbConfig, SyncConfig
from sync_pipeline.errors import ConfigError, SourceQueryError, SourceUnavailableError, SyncError
from sync_pipeline.secrets import Secret
from sync_pipeline.sources.mongodb import open_source
from sync_pipeline.sources.mongodb.connection import DRIVER_ERRORS, ERROR_MEANINGS, translated_errors

URI = "mongodb://user:hunter%32@db.example.com/?tls=true"
CONFIG = MongodbConfig(None, 27017, "d", "c", None, None, Secret("mongodb_connection_string", URI), None, None)
PARAMETERS = {
    "data_source": "mongodb",
    "mongodb_database": "d",
    "mongodb_collection": "c",
    "destination_bigquery_project": "some-project",
    "destination_bigquery_dataset": "d",
    "destination_bigquery_table": "t",
}


def translation(error: Exception) -> SyncError:
    with pytest.raises(SyncError) as caught, translated_errors(CONFIG):
        raise error
    return caught.value


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=name)
        for name, kind in vars(pymongo.errors).items()
        if inspect.isclass(kind) and issubclass(kind, pymongo.errors.PyMongoError)
    ],
)
def test_every_error_of_the_driver_has_a_meaning(kind: type[Exception]) -> None:
    assert any(issubclass(kind, known) for known, _, _ in DRIVER_ERRORS)
    # Each has another constructor; those with a code have this one's.
    error = kind.__new__(kind, "said")
    if isinstance(error, pymongo.errors.OperationFailure):
        pymongo.errors.OperationFailure.__init__(error, "said", 1)
    assert isinstance(translation(error), SyncError)


def test_more_special_errors_come_first() -> None:
    kinds = [kind for kind, _, _ in DRIVER_ERRORS]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[place + 1 :])


def test_every_code_is_translated() -> None:
    for code, meaning in ERROR_MEANINGS.items():
        error = pymongo.errors.OperationFailure("said", code, {"errmsg": "said so", "codeName": "Name"})
        translated = translation(error)
        said = "Name" if meaning.quotes_data else "said so"
        assert (type(translated), str(translated)) == (meaning.error, f"MongoDB: {said} (Name): {meaning.remedy}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        pytest.param(
            pymongo.errors.ServerSelectionTimeoutError(
                "h:1: [Errno -2] Name or service not known (configured timeouts: socketTimeoutMS: 20000.0ms), "
                "Timeout: 30s, Topology Description: <TopologyDescription id: 1>"
            ),
            SourceQueryError,
            "MongoDB refused the connection: h:1: [Errno -2] Name or service not known: check mongodb_host or "
            "mongodb_connection_string",
            id="unknown host",
        ),
        pytest.param(
            pymongo.errors.ServerSelectionTimeoutError("h:1: connection closed, Timeout: 30s"),
            SourceUnavailableError,
            "MongoDB cannot be reached at the hosts of mongodb_connection_string: h:1: connection closed (a server "
            "that requires TLS closes connections without it): check them, the firewall and the network of the job",
            id="connection closed",
        ),
        pytest.param(
            pymongo.errors.ServerSelectionTimeoutError("SSL handshake failed: certificate verify failed, Timeout: 30s"),
            SourceQueryError,
            "MongoDB refused the connection: SSL handshake failed: certificate verify failed: check tlsCAFile in "
            "mongodb_connection_string",
            id="certificate",
        ),
        pytest.param(
            pymongo.errors.AutoReconnect("h:1: connection reset"),
            SourceUnavailableError,
            "MongoDB: h:1: connection reset: the connection was lost: run the job again",
            id="lost",
        ),
        pytest.param(
            pymongo.errors.ConfigurationError(f"bad option in {URI}"),
            ConfigError,
            "mongodb_connection_string cannot be used: bad option in mongodb://***@db.example.com/?tls=true",
            id="connection string in the message",
        ),
        pytest.param(
            pymongo.errors.InvalidURI("no such thing as hunter%32, nor hunter2"),
            ConfigError,
            "mongodb_connection_string cannot be used: no such thing as ***, nor ***",
            id="password in the message",
        ),
    ],
)
def test_messages(error: Exception, kind: type[SyncError], message: str) -> None:
    translated = translation(error)
    assert (type(translated), str(translated)) == (kind, message)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        pytest.param("mongodb://u:hunter2@h:port/", "Port contains non-digit characters", id="port"),
        pytest.param("postgresql://u:hunter2@h/", "Invalid URI scheme", id="scheme"),
        pytest.param("mongodb://u:hun@ter2@h/", "Username and password must be escaped", id="not escaped"),
        pytest.param("mongodb://u:hunter2@h/?readPreference=near", "near is not a valid read preference", id="option"),
        pytest.param("mongodb://u:hunter2@h/?replicSet=x", "Unknown option: replicset", id="unknown option"),
    ],
)
def test_connection_strings_are_checked_before_connecting(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(SyncConfig.from_parameters(PARAMETERS | {"mongodb_connection_string": uri}))
    (only,) = caught.value.problems
    assert only.startswith("mongodb_connection_string cannot be used: ")
    assert problem in only
    assert "hunter2" not in only


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("mongodb+srv://u:p@cluster0.example.net/", id="srv"),
        pytest.param("projects/p/secrets/s/versions/1", id="secret"),
        pytest.param("mongodb://a,b:27018/?replicaSet=r&readPreference=secondary&tls=true&authSource=x", id="options"),
    ],
)
def test_connection_strings_that_are_right(uri: str) -> None:
    open_source(SyncConfig.from_parameters(PARAMETERS | {"mongodb_connection_string": uri}))


@pytest.mark.parametrize(
    ("password", "shown"),
    [
        pytest.param("hunter/two", "***@dbhost/d", id="slash"),
        pytest.param("/hunter", "***@dbhost/d", id="slash in front"),
        pytest.param("1/hun@ter", "***@***@dbhost/d", id="slash and at sign"),
    ],
)
def test_a_password_that_is_not_escaped_is_not_shown(password: str, shown: str) -> None:
    values = PARAMETERS | {"mongodb_connection_string": f"mongodb://user:{password}@dbhost/d"}
    with pytest.raises(ConfigError) as caught:
        open_source(SyncConfig.from_parameters(values))
    assert caught.value.problems == (f'mongodb_connection_string cannot be used: Bad database name "{shown}"',)


def test_all_problems_are_told_at_once() -> None:
    parameters = {
        "mongodb_connection_string": "x://",
        "mongodb_query": '{"$where": "f"}',
        "mongodb_projection": '{"a": {"$slice": 5}, "b.$": 1}',
    }
    with pytest.raises(ConfigError) as caught:
        open_source(SyncConfig.from_parameters(PARAMETERS | parameters))
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "mongodb_connection_string",
        "mongodb_query",
        "mongodb_projection",
        "mongodb_projection",
    ]
