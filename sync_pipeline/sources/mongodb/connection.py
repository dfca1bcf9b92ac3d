"""Connects to MongoDB and translates the driver's errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pymongo
import pymongo.errors
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from sync_pipeline.errors import (
    ConfigError,
    MissingRightError,
    SourceBusyError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
    SyncError,
)
from sync_pipeline.sources.access import ErrorMapping, connect_with_retries
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection_string import check_uri, refusal, without_credentials
from sync_pipeline.sources.mongodb.server_messages import shown_message
from sync_pipeline.sources.mongodb.to_json import DECODING
from sync_pipeline.sources.mongodb.transport import encrypts, logs_in_by_certificate, resolved, tls_options

APPLICATION_NAME = "sync-to-bigquery"
# Timeout of one attempt to find a server, or a suitable member of a replica set.
SELECTION_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 10
# Connections of a client, which the threads of planning share; a read uses one.
MAX_CONNECTIONS = 8
# After this time the driver's error contains the reason why it found no server.
_REASON_SECONDS = 1

Document = dict[str, Any]

# Raised when the server or the network exceeds the time limit of an operation.
TIME_IS_UP = (pymongo.errors.ExecutionTimeout, pymongo.errors.NetworkTimeout)


_CREDENTIALS = "check mongodb_username and mongodb_password, or those in mongodb_connection_string and its authSource"
_NO_CREDENTIALS = (
    "credentials are missing: set mongodb_username and mongodb_password, or put them in mongodb_connection_string"
)
_UNAUTHORIZED = 13
_CERTIFICATE_USER = "create the user that the certificate names in the database $external, or give mongodb_username"
_AGAIN = "run the job again"
_CLOSED_WITHOUT_TLS = "a server that requires TLS closes connections without it"
# With TLS 1.3 the client finishes the handshake before the server checks the client certificate.
_CLOSED_WITH_TLS = (
    "a server closes the connection if it requires a client certificate and rejects it: check "
    "mongodb_tls_certificate_key, which may be missing, expired, revoked, or issued by another authority"
)
_TOO_LARGE = "a document is larger than MongoDB returns: exclude it with mongodb_query"

# By the server's code. https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
ERROR_MEANINGS: Mapping[int, ErrorMapping] = {
    2: ErrorMapping(SourceQueryError, "correct mongodb_query or mongodb_projection"),
    6: ErrorMapping(SourceUnavailableError, _AGAIN),
    7: ErrorMapping(SourceUnavailableError, _AGAIN),
    8: ErrorMapping(SourceUnavailableError, _AGAIN),
    9: ErrorMapping(SourceQueryError, "correct mongodb_query or mongodb_projection"),
    11: ErrorMapping(SourceQueryError, _CREDENTIALS),
    13: ErrorMapping(MissingRightError, "grant the user the role read on the database"),
    14: ErrorMapping(SourceQueryError, "correct mongodb_query or mongodb_projection"),
    18: ErrorMapping(SourceQueryError, _CREDENTIALS),
    26: ErrorMapping(SourceQueryError, "check mongodb_database and mongodb_collection"),
    43: ErrorMapping(SourceUnavailableError, f"the server closed the cursor: {_AGAIN}"),
    50: ErrorMapping(SourceQueryError, "the server took too long: add an index for mongodb_query"),
    73: ErrorMapping(SourceQueryError, "check mongodb_database and mongodb_collection"),
    89: ErrorMapping(SourceUnavailableError, _AGAIN),
    91: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when the server is back"),
    133: ErrorMapping(SourceUnavailableError, "no member is available for reading: check readPreference, or wait"),
    136: ErrorMapping(SourceBusyError, "the capped collection overwrote documents during the read"),
    166: ErrorMapping(SourceQueryError, "the collection of the view does not exist: check mongodb_collection"),
    175: ErrorMapping(SourceBusyError, f"the collection or an index was dropped during the read: {_AGAIN}"),
    189: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when there is a new primary"),
    237: ErrorMapping(SourceUnavailableError, f"the cursor was killed: {_AGAIN}"),
    241: ErrorMapping(SourceQueryError, "mongodb_query or mongodb_projection cannot process a value"),
    292: ErrorMapping(
        SourceQueryError, "the server does not allow disk use for schema inference: set mongodb_schema_sample_size"
    ),
    8000: ErrorMapping(SourceQueryError, _CREDENTIALS),
    10107: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when there is a new primary"),
    10334: ErrorMapping(SourceQueryError, _TOO_LARGE),
    11600: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when the server is back"),
    11601: ErrorMapping(SourceUnavailableError, f"the read was interrupted: {_AGAIN}"),
    11602: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when there is a new primary"),
    13435: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when there is a new primary"),
    13436: ErrorMapping(SourceUnavailableError, f"{_AGAIN} when the member is ready"),
}
ANY_OTHER_CODE = ErrorMapping(SourceQueryError, "check mongodb_query and mongodb_projection, and the server's log")

# The driver's errors by class, the most specific first. OperationFailure is mapped by its code.
DRIVER_ERRORS: tuple[tuple[type[Exception], type[SyncError], str], ...] = (
    (pymongo.errors.ServerSelectionTimeoutError, SourceUnavailableError, ""),
    (pymongo.errors.NetworkTimeout, SourceUnavailableError, f"the server did not answer in time: {_AGAIN}"),
    (pymongo.errors.ConnectionFailure, SourceUnavailableError, f"the connection was lost: {_AGAIN}"),
    (pymongo.errors.ConfigurationError, ConfigError, ""),
    (pymongo.errors.InvalidName, SourceQueryError, "check mongodb_database and mongodb_collection"),
    (pymongo.errors.ProtocolError, SourceUnavailableError, _AGAIN),
    (pymongo.errors.PyMongoError, SourceQueryError, "an unexpected error of the driver"),
    (BSONError, SourceQueryError, "a document cannot be decoded"),
)

# The driver's messages for reasons why it found no server that waiting does not fix.
REFUSALS: tuple[tuple[str, str], ...] = (
    ("[Hh]ostname mismatch|doesn't match|IP address mismatch", "give the name in the server's certificate as the host"),
    ("certificate has expired", "renew the server's certificate"),
    (
        "CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        (
            "check mongodb_tls_ca, or tlsCAFile in mongodb_connection_string: it must be the certificate of the "
            "authority that signed the server's certificate"
        ),
    ),
    ("CERTIFICATE_REQUIRED|certificate required", "the server requires one: give mongodb_tls_certificate_key"),
    (
        "ALERT_(CERTIFICATE_(REVOKED|EXPIRED|UNKNOWN)|UNKNOWN_CA|BAD_CERTIFICATE)|alert (certificate|unknown ca|bad)",
        (
            "the server rejected the client certificate: check mongodb_tls_certificate_key, which may be expired, "
            "revoked, or issued by an authority that the server does not know"
        ),
    ),
    (
        "WRONG_VERSION_NUMBER|SSL handshake failed|EOF occurred in violation|record layer",
        "the server may not speak TLS: check mongodb_tls, or tls in mongodb_connection_string",
    ),
    (
        "No replica set members available for replica set name|replica set name",
        "check replicaSet in mongodb_connection_string",
    ),
    (
        r"Name or service not known|nodename nor servname|No address associated|\[Errno -2\]|\[Errno -5\]",
        "check mongodb_host or mongodb_connection_string",
    ),
)


@contextlib.contextmanager
def connected(
    config: MongodbConfig, max_retries: int, *, answer_seconds: float | None = None
) -> Iterator[Collection[Document]]:
    """Connect and yield the collection. See `connected_database`."""
    with connected_database(config, max_retries, answer_seconds=answer_seconds) as database:
        with translated_errors(config):
            collection = database[config.collection]
        yield collection


@contextlib.contextmanager
def connected_database(
    config: MongodbConfig, max_retries: int, *, answer_seconds: float | None = None
) -> Iterator[Database[Document]]:
    """Connect and yield the database. Reads use majority read concern, so a rollback cannot undo what they return.

    Retries an unreachable server `max_retries` times, after 1, 2, 4 … seconds. Threads may share the database: the
    client gives each of them a connection.

    Args:
        answer_seconds: timeout for an answer of the server. None means no timeout: a find answers only when it has
            found documents, which may take hours. TCP keep-alive detects a lost server.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection; not retried.
        ConfigError: the connection parameters are invalid.
    """
    client = connect_with_retries(lambda: _connect(config, answer_seconds), max_retries)
    try:
        with translated_errors(config):
            concern = client.read_concern if client.read_concern.level else ReadConcern("majority")
            database = client.get_database(config.database, read_concern=concern, codec_options=DECODING)
        yield database
    finally:
        client.close()


@contextlib.contextmanager
def translated_errors(config: MongodbConfig, *, is_reading: bool = False) -> Iterator[None]:
    """Translate the driver's errors. Messages contain no credentials.

    Args:
        is_reading: whether the server has answered before, so that its address and the network are correct.
    """
    try:
        yield
    except (pymongo.errors.PyMongoError, BSONError) as error:
        raise _translated(error, config, is_reading) from None


def _connect(config: MongodbConfig, answer_seconds: float | None) -> pymongo.MongoClient[Document]:
    client = _open_client(config, answer_seconds)
    try:
        # The client connects on first use. This command also logs in, for which the driver has no timeout by itself.
        # Within `timeout`, the driver searches for a server for the whole time and ignores its own option.
        patience = max(client.options.server_selection_timeout, CONNECT_TIMEOUT_SECONDS) + _REASON_SECONDS
        with translated_errors(config), pymongo.timeout(patience):
            client.admin.command("ping", read_preference=client.read_preference)
    except BaseException:
        client.close()
        raise
    return client


def _open_client(config: MongodbConfig, answer_seconds: float | None) -> pymongo.MongoClient[Document]:
    defaults: dict[str, Any] = {
        "serverSelectionTimeoutMS": SELECTION_SECONDS * 1000,
        "connectTimeoutMS": CONNECT_TIMEOUT_SECONDS * 1000,
        "appname": APPLICATION_NAME,
        "maxPoolSize": MAX_CONNECTIONS,
    }
    if answer_seconds is not None:
        defaults["socketTimeoutMS"] = int(answer_seconds * 1000)
    with tls_options(config) as tls:
        if config.connection_string is None:
            with translated_errors(config):
                return pymongo.MongoClient(
                    _bracketed(config.host or ""),
                    config.port,
                    username=config.username,
                    password=config.password.resolve() if config.password else None,
                    **defaults,
                    **tls,
                )
        uri = resolved(config)
        check_uri(uri)
        given = uri.lower()
        options = {name: value for name, value in defaults.items() if f"{name.lower()}=" not in given}
        try:
            with translated_errors(config):
                return pymongo.MongoClient(uri, **options, **tls)
        except (ValueError, TypeError, OSError) as error:
            raise ConfigError([refusal(error, uri)]) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _translated(error: Exception, config: MongodbConfig, is_reading: bool) -> SyncError:
    uri = resolved(config)
    reason = without_credentials(_on_one_line(str(error)))
    if isinstance(error, pymongo.errors.OperationFailure):
        meaning = ERROR_MEANINGS.get(error.code or 0, ANY_OTHER_CODE)
        details = error.details or {}
        name = str(details.get("codeName") or f"code {error.code}")
        shown = shown_message(error.code or 0, _on_one_line(str(details.get("errmsg", ""))))
        said = name if shown is None else without_credentials(shown)
        if error.code == _UNAUTHORIZED and "requires authentication" in said:
            # The server's message for a connection that has not logged in.
            return SourceQueryError(f"MongoDB: {said} ({name}): {_NO_CREDENTIALS}")
        by_certificate = meaning.remedy == _CREDENTIALS and logs_in_by_certificate(config, uri)
        return meaning.error(f"MongoDB: {said} ({name}): {_CERTIFICATE_USER if by_certificate else meaning.remedy}")
    kind, remedy = next((kind, remedy) for known, kind, remedy in DRIVER_ERRORS if isinstance(error, known))
    if kind is ConfigError:
        return ConfigError([refusal(error, uri)])
    if isinstance(error, pymongo.errors.ServerSelectionTimeoutError):
        return _gone(reason) if is_reading else _unreachable(reason, config, uri)
    if kind is SourceQueryError and not isinstance(error, pymongo.errors.InvalidName):
        # The driver's messages about documents quote them.
        reason = type(error).__name__
    return kind(f"MongoDB: {reason}: {remedy}")


def _gone(reason: str) -> SourceError:
    return SourceUnavailableError(f"lost the connection to MongoDB during the read: {_short(reason)}: {_AGAIN}")


def _unreachable(reason: str, config: MongodbConfig, uri: str) -> SourceError:
    reason = _short(reason)
    for words, remedy in REFUSALS:
        if re.search(words, reason):
            return SourceQueryError(f"MongoDB rejected the connection: {reason}: {remedy}")
    where = (
        f"{config.host}:{config.port}" if config.connection_string is None else "the hosts of mongodb_connection_string"
    )
    parameters = "mongodb_host, mongodb_port" if config.connection_string is None else "them"
    closed = ""
    if re.search("connection closed|Connection reset", reason):
        closed = f" ({_CLOSED_WITH_TLS if encrypts(config, uri) else _CLOSED_WITHOUT_TLS})"
    return SourceUnavailableError(
        f"MongoDB cannot be reached at {where}: {reason}{closed}: check {parameters}, the firewall and the network of "
        "the job"
    )


def _short(reason: str) -> str:
    """Return the reason why no server was found, without the driver's description of each server."""
    return re.sub(r" \(configured timeouts: [^)]*\)", "", reason.split(", Timeout: ")[0])


def _on_one_line(said: str) -> str:
    return " ".join(said.split()).removesuffix(".")
