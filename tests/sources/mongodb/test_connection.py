"""Errors of the driver become ours, all of them, and without a credential."""

from __future__ import annotations

import dataclasses
import inspect

import pymongo.errors
import pytest

from sync_pipeline.errors import ConfigError, SourceQueryError, SourceUnavailableError, SyncError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import DRIVER_ERRORS, ERROR_MEANINGS, translated_errors
from sync_pipeline.sources.mongodb.connection_string import address_risks
from sync_pipeline.sources.mongodb.source import open_source

URI = "mongodb://user:hunter%32@db.example.com/?tls=true"
CONFIG = MongodbConfig(None, 27017, "d", "c", None, None, Secret("mongodb_connection_string", URI), None, None)
ESCAPE = "write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for % in user and password"
WITHHELD = (
    "the driver's message is withheld, because it may quote part of the password; write "
    f"mongodb://USER:PASSWORD@HOST:PORT/?OPTION=VALUE, and {ESCAPE}"
)
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
        said = "Name" if code in (2, 9, 14, 241, 10334) else "said so"
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
            "MongoDB rejected the connection: h:1: [Errno -2] Name or service not known: check mongodb_host or "
            "mongodb_connection_string",
            id="unknown host",
        ),
        pytest.param(
            pymongo.errors.ServerSelectionTimeoutError("h:1: connection closed, Timeout: 30s"),
            SourceUnavailableError,
            "MongoDB cannot be reached at the hosts of mongodb_connection_string: h:1: connection closed (a server "
            "closes the connection if it requires a client certificate and rejects it: check "
            "mongodb_tls_certificate_key, which may be missing, expired, revoked, or issued by another authority): "
            "check "
            "them, the firewall and the network of the job",
            id="connection closed",
        ),
        pytest.param(
            pymongo.errors.ServerSelectionTimeoutError("SSL handshake failed: certificate verify failed, Timeout: 30s"),
            SourceQueryError,
            "MongoDB rejected the connection: SSL handshake failed: certificate verify failed: check mongodb_tls_ca, "
            "or "
            "tlsCAFile in mongodb_connection_string: it must be the certificate of the authority that signed the "
            "server's certificate",
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
            f"mongodb_connection_string cannot be used: {WITHHELD}",
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
    "password",
    [
        pytest.param("hunter/two", id="slash"),
        pytest.param("/hunter", id="slash in front"),
        pytest.param("1/hun@ter", id="slash and at sign"),
        # Without a check the driver would look for a server called `user`.
        pytest.param("27017/hunter", id="like a port"),
        pytest.param("hun?ter", id="question mark"),
    ],
)
def test_a_password_that_is_not_escaped_is_refused(password: str) -> None:
    values = PARAMETERS | {"mongodb_connection_string": f"mongodb://user:{password}@dbhost/d"}
    with pytest.raises(ConfigError) as caught:
        open_source(SyncConfig.from_parameters(values))
    assert caught.value.problems == (f"mongodb_connection_string cannot be used: {ESCAPE}",)


@pytest.mark.parametrize("password", ["e", "ne", "valid", "near"])
def test_a_short_or_common_password_is_not_shown_by_what_replaces_it(password: str) -> None:
    uri = f"mongodb://u:{password}@h/?readPreference=near"
    with pytest.raises(ConfigError) as caught:
        open_source(SyncConfig.from_parameters(PARAMETERS | {"mongodb_connection_string": uri}))
    assert caught.value.problems == (f"mongodb_connection_string cannot be used: {WITHHELD}",)
    config = dataclasses.replace(CONFIG, connection_string=Secret("mongodb_connection_string", uri))
    with pytest.raises(SyncError) as lost, translated_errors(config):
        raise pymongo.errors.AutoReconnect("here: a valid connection was reset, near the end")
    assert "***" not in str(lost.value)


@pytest.mark.parametrize(
    ("host", "port", "uri", "risks"),
    [
        pytest.param("db.example.com", 27017, "mongodb://u:p@DB.example.com/", [], id="same"),
        pytest.param("b", 27017, "mongodb://a,b:27018/", [], id="one of several"),
        pytest.param(None, 27017, "mongodb://a/", [], id="no host"),
        pytest.param("c.example.net", 27017, "mongodb+srv://u:p@c.example.net/?w=1", [], id="srv"),
        pytest.param("2001:db8::1", 27017, "mongodb://[2001:DB8::1]:27018/", [], id="IPv6"),
        pytest.param(
            "other",
            27017,
            "mongodb://u:p@a,b/",
            ["mongodb_host is other, which is not in mongodb_connection_string: the latter takes precedence"],
            id="different",
        ),
    ],
)
def test_host_beside_a_connection_string(host: str | None, port: int, uri: str, risks: list[str]) -> None:
    secret = Secret("mongodb_connection_string", uri)
    config = dataclasses.replace(CONFIG, host=host, port=port, connection_string=secret)
    assert address_risks(config, uri) == risks


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
