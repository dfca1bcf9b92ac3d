"""Connects to PostgreSQL and translates the driver's errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import (
    MissingRightError,
    SourceBusyError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
)
from sync_pipeline.sources.access import ErrorMapping, connect_with_retries, place_of
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.transport import login

CONNECT_TIMEOUT_SECONDS = 30

# How long a session waits for a lock that excludes readers; long enough for most ALTER TABLE statements.
LOCK_TIMEOUT_SECONDS = 60
LOCK_NOT_AVAILABLE = "55P03"

# A server accepts this option, a pooler may reject it: see `_connect`.
_READ_ONLY = "-c default_transaction_read_only=on"

# Error messages of poolers that do not pass settings on.
_REFUSED_SETTINGS = re.compile("unsupported startup parameter|command-line options", re.IGNORECASE)

_LOCKS_SQL = """
    SELECT l.relation::regclass::text, l.pid, a.state, a.xact_start AT TIME ZONE 'UTC'
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock' AND l.relation::regclass::text <> ''
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'm', 'v', 'f'))
    ORDER BY a.xact_start
    LIMIT 3
"""

# Settings of each transaction, so that the text output does not depend on the server's defaults.
TRANSACTION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    # The check that a query is one statement (`query_text`) relies on backslashes being ordinary characters.
    "standard_conforming_strings": "on",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
}


# By SQLSTATE, the longest matching prefix wins. https://www.postgresql.org/docs/current/errcodes-appendix.html
ERROR_MEANINGS: dict[str, ErrorMapping] = {
    # An unknown state may come from a user-defined function, with any text.
    "": ErrorMapping(SourceQueryError, "see the server's log for the statement"),
    "08": ErrorMapping(SourceUnavailableError, "run the job again"),
    "0A": ErrorMapping(SourceQueryError, "rewrite the query as one SELECT"),
    "21": ErrorMapping(SourceQueryError, "correct the query"),
    "22": ErrorMapping(SourceQueryError, "the query cannot process a value: check its casts and divisions"),
    "22021": ErrorMapping(
        SourceQueryError,
        "a text is not valid UTF-8, which a database with the encoding SQL_ASCII allows: select the column as bytes, "
        "convert_to(column, 'SQL_ASCII')",
    ),
    "25": ErrorMapping(SourceQueryError, "the query must only read"),
    "25P04": ErrorMapping(
        SourceQueryError,
        "the server ended the transaction: raise the user's transaction_timeout (ALTER ROLE … SET transaction_timeout) "
        "or make the query faster",
    ),
    "28": ErrorMapping(SourceQueryError, "check postgresql_username and postgresql_password"),
    "3D": ErrorMapping(SourceQueryError, "check postgresql_database"),
    "40": ErrorMapping(SourceBusyError, "the server cancelled the read because of a conflict: run the job again"),
    "42501": ErrorMapping(MissingRightError, "grant the user SELECT on it"),
    "42601": ErrorMapping(SourceQueryError, "correct the query"),
    "42703": ErrorMapping(SourceQueryError, "correct the column's name in the query"),
    "42P01": ErrorMapping(SourceQueryError, "correct the table's name in the query, or name its schema"),
    "42": ErrorMapping(SourceQueryError, "correct the query"),
    "53": ErrorMapping(
        SourceUnavailableError, "the server is out of a resource: run the job again, or at another time"
    ),
    "55": ErrorMapping(SourceQueryError, "make it readable, or correct the query"),
    "55P03": ErrorMapping(
        SourceBusyError,
        "the table is locked: run the job again after the lock is released, or when no one alters the table",
    ),
    "57": ErrorMapping(SourceUnavailableError, "run the job again when the server is back"),
    "57014": ErrorMapping(
        SourceQueryError,
        "the server cancelled the statement: raise the user's statement_timeout (ALTER ROLE … SET statement_timeout) "
        "or make the query faster, for example with an index on the timestamp column",
    ),
    "58": ErrorMapping(SourceUnavailableError, "run the job again"),
    "P0": ErrorMapping(
        SourceQueryError,
        "a function that the query calls raised an error: see the server's log for its message",
    ),
    "XX": ErrorMapping(SourceQueryError, "the server had an internal error: see its log"),
}

# States whose messages name settings and database objects, never a value of a row. Messages of other states may quote
# values: 'syntax error in tsquery: "…"' is 42601, and a cast to regclass also raises 'relation "…" does not exist'.
# Those messages are shown only with a position in the statement: the server then had not started to run it.
_STATES_WITHOUT_VALUES = ("08", "21", "25", "28", "3D", "40", "42501", "53", "55", "57", "XX001", "XX002")

# The context of an error in a parallel worker. Any other context comes from a called function, which may have raised
# the state itself, with any text.
_PARALLEL_WORKER = "parallel worker"

# libpq reports a rejected connection without SQLSTATE, only with the server's message. English messages are recognised
# and final; after a message in another language the connection is retried in vain. Messages such as "too many
# connections for role" and "the database system is starting up" are transient and not listed.
REFUSALS: tuple[tuple[str, str], ...] = (
    (
        "authentication method requirement .* failed",
        (
            "let the server store the password as SCRAM (password_encryption, then ALTER ROLE … PASSWORD) and require "
            "SCRAM (pg_hba.conf), or use postgresql_require_auth=any"
        ),
    ),
    (
        "certificate authentication failed for user",
        "give the user in postgresql_sslcert as postgresql_username, or map them in the server's pg_ident.conf",
    ),
    ("authentication failed for user", "check postgresql_username and postgresql_password"),
    ("no password supplied", "give postgresql_password"),
    ('role ".*" (does not exist|is not permitted to log in)', "check postgresql_username"),
    ('database ".*" (does not exist|is not currently accepting connections)', "check postgresql_database"),
    (
        "no pg_hba.conf entry|pg_hba.conf rejects connection",
        "allow this host, user and database in the server's pg_hba.conf, or change postgresql_sslmode",
    ),
    ("permission denied for database", "grant the user CONNECT on the database"),
    ("server does not support SSL", "use postgresql_sslmode=prefer or disable, or enable TLS on the server"),
    (
        # OpenSSL reports a signature failure if another authority has the same name.
        "certificate verify failed|SSL error: .*signature failure",
        (
            "check that postgresql_sslrootcert is the certificate of the authority that signed the server's "
            "certificate, and that the server's certificate has not expired"
        ),
    ),
    (
        "does not match host name",
        "give the name in the server's certificate as postgresql_host, or use postgresql_sslmode=verify-ca",
    ),
    ("root certificate file", "give postgresql_sslrootcert, or another postgresql_sslmode"),
    (
        "requires a valid client certificate|alert certificate required",
        "the server requires a client certificate: give postgresql_sslcert and postgresql_sslkey",
    ),
    (
        "alert (certificate (revoked|expired|unknown)|unknown ca|bad certificate|unsupported certificate)",
        (
            "the server rejected the client certificate: check postgresql_sslcert, which may be expired, revoked, or "
            "issued by an authority that the server does not know"
        ),
    ),
    ("private key file|load certificate|certificate file", "check postgresql_sslcert and postgresql_sslkey"),
    ("could not translate host name (?!.*: Temporary failure)", "check postgresql_host"),
)


@contextlib.contextmanager
def connected(config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Open a connection and begin a read-only transaction in UTC. Close the connection at the end.

    Retries an unreachable server `max_retries` times, after 1, 2, 4 … seconds.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection; not retried.
    """
    with open_connection(config, max_retries) as connection:
        begin(connection)
        yield connection


@contextlib.contextmanager
def open_connection(config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Open a connection as `connected` does, for several transactions; see `transaction`."""
    connection = opened(config, max_retries)
    try:
        yield connection
    finally:
        connection.close()


def opened(config: PostgresqlConfig, max_retries: int, isolation_level: str = "REPEATABLE READ") -> Connection:
    """Return a connection as `open_connection` yields it."""
    connection = connect_with_retries(lambda: _connect(config), max_retries)
    # Sends nothing: the settings are part of each BEGIN.
    connection.set_session(isolation_level=isolation_level, readonly=True)
    return connection


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a read-only transaction in UTC and roll it back at the end, also after an error."""
    begin(connection)
    try:
        yield
    except BaseException:
        # The error counts, not what a lost connection adds to it.
        with contextlib.suppress(psycopg2.Error):
            connection.rollback()
        raise
    with translated_errors():
        connection.rollback()


def settings_sql() -> str:
    """Return the statements for `TRANSACTION_SETTINGS`. A plain SET would also affect a pooler's next client."""
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in TRANSACTION_SETTINGS.items())


def begin(connection: Connection) -> None:
    """Begin a read-only transaction in UTC."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(settings_sql())


def _connect(config: PostgresqlConfig) -> Connection:
    """Open a connection in which every transaction is read-only, including one that the query would begin.

    If a pooler rejects the option, connect without it. The session's own transaction is still read-only, and because
    the query is a single statement it cannot begin another. A SET afterwards would affect the pooler's next client.
    """
    try:
        return _open(config, _READ_ONLY)
    except psycopg2.Error as error:
        if _REFUSED_SETTINGS.search(str(error)) is None:
            raise _refusal(config, error) from None
    try:
        return _open(config, "")
    except psycopg2.Error as error:
        raise _refusal(config, error) from None


def _open(config: PostgresqlConfig, options: str) -> Connection:
    with login(config) as settings:
        return psycopg2.connect(
            port=config.port,
            dbname=config.database,
            **settings,
            options=options,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="sync-to-bigquery",
            client_encoding="UTF8",
            # Without keepalives, a firewall that silently drops the connection would block the read forever.
            keepalives_idle=60,
            keepalives_interval=10,
            keepalives_count=6,
            tcp_user_timeout=120_000,
        )


def _refusal(config: PostgresqlConfig, error: psycopg2.Error) -> SourceError:
    reason = _on_one_line(str(error))
    for words, remedy in REFUSALS:
        if re.search(words, reason):
            return SourceQueryError(f"PostgreSQL rejected the connection: {reason}: {remedy}")
    if "FATAL: " in reason:
        return SourceUnavailableError(
            f"PostgreSQL did not accept the connection: {reason}: run the job again later, or correct the cause that "
            "the server reports"
        )
    return SourceUnavailableError(
        f"PostgreSQL cannot be reached at {config.server}:{config.port}: {reason}: check postgresql_host, "
        "postgresql_port, the firewall and the network of the job"
    )


def _on_one_line(said: str) -> str:
    """Return libpq's message on one line. libpq starts a line per attempt and indents explanations of a line."""
    text = ""
    for line in filter(str.strip, said.splitlines()):
        words = " ".join(line.split())
        if not text:
            text = words
        elif line.startswith("\t"):
            text += f"{': ' if words[0].isupper() else ' '}{words}"
        else:
            text += f"; {words}"
    return text.removesuffix(".")


@contextlib.contextmanager
def translated_errors(query_offset: int = 0, query: str = "") -> Iterator[None]:
    """Translate the driver's errors.

    Args:
        query_offset: how many characters the statement has before the user's `query`. Used to report a position in the
            statement as a line and column of the query.
        query: the user's query.
    """
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error, query_offset, query) from None


def _translated(error: psycopg2.Error, query_offset: int, query: str) -> SourceError:
    sqlstate = error.pgcode
    if sqlstate is None:
        # If the server sent no reason, the driver's message describes only the driver.
        reason = "" if "no message from the libpq" in str(error) else f": {_on_one_line(str(error))}"
        return SourceUnavailableError(f"PostgreSQL: the connection was lost{reason}: run the job again")
    meaning = max(
        ((prefix, meaning) for prefix, meaning in ERROR_MEANINGS.items() if sqlstate.startswith(prefix)),
        key=lambda item: len(item[0]),
    )[1]
    name = type(error).__name__
    said = " ".join((error.diag.message_primary or name).split()) if _is_without_values(error, sqlstate) else name
    position = error.diag.statement_position
    if query and position is not None and int(position) - 1 - query_offset > len(query):
        # The token that the server names belongs to the enclosing statement, not to the query.
        said = "syntax error at the end of the query"
    place = _place(position, query_offset, query)
    holders = _lock_holders(error) if sqlstate == LOCK_NOT_AVAILABLE else ""
    # With a position, the error is in a constant of the query and not in the data.
    remedy = "correct the query" if place and sqlstate.startswith("22") else meaning.remedy
    return meaning.error(f"PostgreSQL: {said} (SQLSTATE {sqlstate}){place}{holders}: {remedy}")


def _is_without_values(error: psycopg2.Error, sqlstate: str) -> bool:
    """Whether the server's message cannot contain a value of a row."""
    if error.diag.internal_query or error.diag.context not in (None, _PARALLEL_WORKER):
        return False
    # The message quotes an invalid constant of the query, which may be confidential.
    is_of_statement = error.diag.statement_position is not None and not sqlstate.startswith("22")
    return is_of_statement or sqlstate.startswith(_STATES_WITHOUT_VALUES)


def _lock_holders(error: psycopg2.Error) -> str:
    """Return which tables are locked against reads and by which processes, as far as the user may see them."""
    if error.cursor is None:
        return ""
    connection = error.cursor.connection
    try:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute(_LOCKS_SQL)
            found = cursor.fetchall()
    except psycopg2.Error:
        return ""
    named = [
        f"{table} by pid {pid} ({state or 'active'}{f' since {started:%Y-%m-%d %H:%M:%S}+00' if started else ''})"
        for table, pid, state, started in found
    ]
    return f"; locked: {', '.join(named)}" if named else ""


def _place(statement_position: str | None, query_offset: int, query: str) -> str:
    if not statement_position:
        return ""
    position = int(statement_position) - 1 - query_offset
    if not 0 <= position <= len(query):
        return ""
    return f"{place_of(query, position)} of the query"
