"""Connections to PostgreSQL, and the one place its driver's errors become ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceError, SourceQueryError, SourceUnavailableError
from sync_pipeline.sources.access import ErrorMapping, connect_with_retries
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.transport import login

CONNECT_TIMEOUT_SECONDS = 30

# How long a session waits for a lock that somebody holds against all readers; long enough for most of ALTER TABLE.
LOCK_TIMEOUT_SECONDS = 60
LOCK_NOT_AVAILABLE = "55P03"

# The server takes this from whoever connects to it directly. A pooler may refuse it: see `_connect`.
_READ_ONLY = "-c default_transaction_read_only=on"

# What poolers say that do not pass settings on.
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

# What a session is told before it reads, so that text means the same whatever the server's defaults are.
SESSION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    # A backslash in a text is a backslash, as the check takes it that a query is one statement.
    "standard_conforming_strings": "on",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
}


# By SQLSTATE, the longest matching prefix wins. https://www.postgresql.org/docs/current/errcodes-appendix.html
ERROR_MEANINGS: dict[str, ErrorMapping] = {
    # A state we do not know may come from a function of the user's, with any text.
    "": ErrorMapping(SourceQueryError, "see the server's log for the statement"),
    "08": ErrorMapping(SourceUnavailableError, "run the job again"),
    "0A": ErrorMapping(SourceQueryError, "rewrite the query as one SELECT"),
    "21": ErrorMapping(SourceQueryError, "correct the query"),
    "22": ErrorMapping(SourceQueryError, "a value of the data does not suit the query: check its casts and divisions"),
    "22021": ErrorMapping(
        SourceQueryError,
        "a text is not UTF-8, as a database with the encoding SQL_ASCII may hold it: select the column as bytes, "
        "convert_to(column, 'SQL_ASCII')",
    ),
    "25": ErrorMapping(SourceQueryError, "the query must only read"),
    "25P04": ErrorMapping(
        SourceQueryError,
        "the transaction was ended: raise the user's transaction_timeout (ALTER ROLE … SET transaction_timeout) or "
        "make the query faster",
    ),
    "28": ErrorMapping(SourceQueryError, "check postgresql_username and postgresql_password"),
    "3D": ErrorMapping(SourceQueryError, "check postgresql_database"),
    "40": ErrorMapping(
        SourceUnavailableError, "the server cancelled the read because of a conflict: run the job again"
    ),
    "42501": ErrorMapping(SourceQueryError, "grant the user SELECT on it"),
    "42601": ErrorMapping(SourceQueryError, "correct the query"),
    "42703": ErrorMapping(SourceQueryError, "correct the column's name in the query"),
    "42P01": ErrorMapping(SourceQueryError, "correct the table's name in the query, or name its schema"),
    "42": ErrorMapping(SourceQueryError, "correct the query"),
    "53": ErrorMapping(
        SourceUnavailableError, "the server is out of a resource: run the job again, or at another time"
    ),
    "55": ErrorMapping(SourceQueryError, "make it readable, or correct the query"),
    "55P03": ErrorMapping(
        SourceUnavailableError,
        "the table is locked: run the job again when the lock is gone, or at a time when nobody alters it",
    ),
    "57": ErrorMapping(SourceUnavailableError, "run the job again when the server is back"),
    "57014": ErrorMapping(
        SourceQueryError,
        "the statement was cancelled: raise the user's statement_timeout (ALTER ROLE … SET statement_timeout) or "
        "make the query faster, for example with an index on the timestamp column",
    ),
    "58": ErrorMapping(SourceUnavailableError, "run the job again"),
    "P0": ErrorMapping(
        SourceQueryError,
        "a function that the query calls raised an error: see the server's log for its message",
    ),
    "XX": ErrorMapping(SourceQueryError, "the server met an error of its own: see its log"),
}

# States whose texts name settings and objects of the database, never a value of a row. The text of any other may quote
# one: 'syntax error in tsquery: "…"' is 42601, and 'relation "…" does not exist' comes from a cast to regclass too.
# It is shown only where the server says at which place of the statement it stumbled: then it had not begun to run it.
_STATES_WITHOUT_VALUES = ("08", "21", "25", "28", "3D", "40", "42501", "53", "55", "57", "XX001", "XX002")

# What the server adds to the error of a process that only helps it. Any other context is of a function that was called,
# which may have raised the state itself, with any text.
_PARALLEL_WORKER = "parallel worker"

# libpq gives no SQLSTATE for a refused connection, only the server's words. A server that answers in English
# is recognised, and the user is told at once; one that answers in another language is tried again, in vain.
# "too many connections for role", "the database system is starting up" and the like are no refusals: they pass.
REFUSALS: tuple[tuple[str, str], ...] = (
    (
        "authentication method requirement .* failed",
        (
            "let the server keep the password as SCRAM (password_encryption, then ALTER ROLE … PASSWORD) and ask for "
            "it so (pg_hba.conf), or use postgresql_require_auth=any"
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
    ("server does not support SSL", "use postgresql_sslmode=prefer or disable, or turn on TLS at the server"),
    (
        # The latter where another authority has the same name.
        "certificate verify failed|SSL error: .*signature failure",
        (
            "check postgresql_sslrootcert, which must be of the authority that signed the server's certificate, and "
            "that the server's certificate has not expired"
        ),
    ),
    (
        "does not match host name",
        "give the name in the server's certificate as postgresql_host, or use postgresql_sslmode=verify-ca",
    ),
    ("root certificate file", "give postgresql_sslrootcert, or another postgresql_sslmode"),
    (
        "requires a valid client certificate|alert certificate required",
        "the server asks for a client certificate: give postgresql_sslcert and postgresql_sslkey",
    ),
    (
        "alert (certificate (revoked|expired|unknown)|unknown ca|bad certificate|unsupported certificate)",
        (
            "the server does not take the client's certificate: check postgresql_sslcert, which may be expired, "
            "revoked, or of an authority that the server does not know"
        ),
    ),
    ("private key file|load certificate|certificate file", "check postgresql_sslcert and postgresql_sslkey"),
    ("could not translate host name (?!.*: Temporary failure)", "check postgresql_host"),
)


@contextlib.contextmanager
def connected(config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Open a connection and begin a read-only transaction in UTC; close the connection at the end.

    An unreachable server is tried `max_retries` times more, waiting 1, 2, 4 … seconds; a refusal is final.
    Raises SourceUnavailableError or SourceQueryError.
    """
    with open_connection(config, max_retries) as connection:
        _begin(connection)
        yield connection


@contextlib.contextmanager
def open_connection(config: PostgresqlConfig, max_retries: int) -> Iterator[Connection]:
    """Open a connection as `connected` does, for as many transactions as are wanted: see `transaction`."""
    connection = connect_with_retries(lambda: _connect(config), max_retries)
    try:
        with translated_errors():
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a read-only transaction in UTC, and end it where no error has: a connection with one is to be closed."""
    _begin(connection)
    yield
    with translated_errors():
        connection.rollback()


def _begin(connection: Connection) -> None:
    with translated_errors(), connection.cursor() as cursor:
        for name, value in SESSION_SETTINGS.items():
            # SET LOCAL, not SET: behind a pooler the session outlives us.
            cursor.execute(f"SET LOCAL {name} = '{value}'")


def _connect(config: PostgresqlConfig) -> Connection:
    """Open a connection whose every transaction only reads, also one that a query would begin.

    A pooler that refuses the setting is asked without it: there the session's own transaction is read-only, and the
    check that a query is one statement keeps it. To set it afterwards would leave it to the pooler's next client.
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
            application_name="dataflow-bigquery-sync",
            client_encoding="UTF8",
            # A firewall that drops connections without a word would leave us waiting for ever.
            keepalives_idle=60,
            keepalives_interval=10,
            keepalives_count=6,
            tcp_user_timeout=120_000,
        )


def _refusal(config: PostgresqlConfig, error: psycopg2.Error) -> SourceError:
    reason = _on_one_line(str(error))
    for words, remedy in REFUSALS:
        if re.search(words, reason):
            return SourceQueryError(f"PostgreSQL refused the connection: {reason}: {remedy}")
    if "FATAL: " in reason:
        return SourceUnavailableError(
            f"PostgreSQL does not take the connection: {reason}: run the job again later, or correct what the server "
            "says"
        )
    return SourceUnavailableError(
        f"PostgreSQL cannot be reached at {config.server}:{config.port}: {reason}: check postgresql_host, "
        "postgresql_port, the firewall and the network of the job"
    )


def _on_one_line(said: str) -> str:
    """Return libpq's words on one line: it indents what explains the line before, and begins one for each attempt."""
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
    """Turn the driver's errors into ours.

    Args:
        query_offset: how many characters our statement has before the user's `query` begins, so that a
            position in the statement can be told as a line and column of the query.
        query: the user's query.
    """
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error, query_offset, query) from None


def _translated(error: psycopg2.Error, query_offset: int, query: str) -> SourceError:
    sqlstate = error.pgcode
    if sqlstate is None:
        # Where the server could not say why, the driver's words are about the driver.
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
        # What stands there is ours.
        said = "syntax error at the end of the query"
    place = _place(position, query_offset, query)
    holders = _lock_holders(error) if sqlstate == LOCK_NOT_AVAILABLE else ""
    # A value that the query itself has is refused before it runs.
    remedy = "correct the query" if place and sqlstate.startswith("22") else meaning.remedy
    return meaning.error(f"PostgreSQL: {said} (SQLSTATE {sqlstate}){place}{holders}: {remedy}")


def _is_without_values(error: psycopg2.Error, sqlstate: str) -> bool:
    """Whether the server's text cannot hold a value of a row."""
    if error.diag.internal_query or error.diag.context not in (None, _PARALLEL_WORKER):
        return False
    # A constant of the query that does not suit its type is quoted, and may be meant for nobody's eyes.
    is_of_statement = error.diag.statement_position is not None and not sqlstate.startswith("22")
    return is_of_statement or sqlstate.startswith(_STATES_WITHOUT_VALUES)


def _lock_holders(error: psycopg2.Error) -> str:
    """Return which tables are locked against reading and by whom, as far as it can be seen."""
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
    before = query[:position]
    line = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1) + 1
    return f" at line {line}, column {column} of the query"
