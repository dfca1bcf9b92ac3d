"""Connections to PostgreSQL, and the one place its driver's errors become ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection

from sync_pipeline.config import PostgresqlConfig
from sync_pipeline.errors import SourceError, SourceQueryError, SourceUnavailableError
from sync_pipeline.source_access import ErrorMeaning, connect_with_retries
from sync_pipeline.sources.postgresql.transport import login

CONNECT_TIMEOUT_SECONDS = 30

# What a session is told before it reads, so that text means the same whatever the server's defaults are.
SESSION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
}


# By SQLSTATE, the longest matching prefix wins. https://www.postgresql.org/docs/current/errcodes-appendix.html
ERROR_MEANINGS: dict[str, ErrorMeaning] = {
    # A state we do not know may come from a function of the user's, with any text.
    "": ErrorMeaning(SourceQueryError, "see the server's log for the statement", quotes_data=True),
    "08": ErrorMeaning(SourceUnavailableError, "run the job again"),
    "0A": ErrorMeaning(SourceQueryError, "rewrite the query as one SELECT"),
    "21": ErrorMeaning(SourceQueryError, "correct the query"),
    "22": ErrorMeaning(
        SourceQueryError, "a value of the data does not suit the query: check its casts and divisions", quotes_data=True
    ),
    "22021": ErrorMeaning(
        SourceQueryError,
        "a text is not UTF-8, as a database with the encoding SQL_ASCII may hold it: select the column as bytes, "
        "convert_to(column, 'SQL_ASCII')",
        quotes_data=True,
    ),
    "25": ErrorMeaning(SourceQueryError, "the query must only read"),
    "25P04": ErrorMeaning(
        SourceQueryError,
        "the transaction was ended: raise the user's transaction_timeout (ALTER ROLE … SET transaction_timeout) or "
        "make the query faster",
    ),
    "28": ErrorMeaning(SourceQueryError, "check postgresql_username and postgresql_password"),
    "3D": ErrorMeaning(SourceQueryError, "check postgresql_database"),
    "40": ErrorMeaning(
        SourceUnavailableError, "the server cancelled the read because of a conflict: run the job again"
    ),
    "42501": ErrorMeaning(SourceQueryError, "grant the user SELECT on it"),
    "42601": ErrorMeaning(SourceQueryError, "correct the query"),
    "42703": ErrorMeaning(SourceQueryError, "correct the column's name in the query"),
    "42P01": ErrorMeaning(SourceQueryError, "correct the table's name in the query, or name its schema"),
    "42": ErrorMeaning(SourceQueryError, "correct the query"),
    "53": ErrorMeaning(
        SourceUnavailableError, "the server is out of a resource: run the job again, or at another time"
    ),
    "55": ErrorMeaning(SourceQueryError, "make it readable, or correct the query"),
    "57": ErrorMeaning(SourceUnavailableError, "run the job again when the server is back"),
    "57014": ErrorMeaning(
        SourceQueryError,
        "the statement was cancelled: raise the user's statement_timeout (ALTER ROLE … SET statement_timeout) or "
        "make the query faster, for example with an index on the timestamp column",
    ),
    "58": ErrorMeaning(SourceUnavailableError, "run the job again"),
    "P0": ErrorMeaning(
        SourceQueryError,
        "a function that the query calls raised an error: see the server's log for its message",
        quotes_data=True,
    ),
    "XX": ErrorMeaning(SourceQueryError, "the server met an error of its own: see its log"),
}

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
    """Open a read-only session in UTC and close it at the end.

    An unreachable server is tried `max_retries` times more, waiting 1, 2, 4 … seconds; a refusal is final.
    Raises SourceUnavailableError or SourceQueryError.
    """
    connection = connect_with_retries(lambda: _connect(config), max_retries)
    try:
        with translated_errors(), connection.cursor() as cursor:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            for name, value in SESSION_SETTINGS.items():
                # SET LOCAL, not SET: behind a pooler the session outlives us.
                cursor.execute(f"SET LOCAL {name} = '{value}'")
        yield connection
    finally:
        connection.close()


def _connect(config: PostgresqlConfig) -> Connection:
    try:
        with login(config) as settings:
            connection = psycopg2.connect(
                port=config.port,
                dbname=config.database,
                **settings,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="dataflow-bigquery-sync",
                client_encoding="UTF8",
                # A firewall that drops idle connections without a word would leave us waiting for ever.
                keepalives_idle=60,
                keepalives_interval=10,
                keepalives_count=6,
            )
    except psycopg2.Error as error:
        reason = _on_one_line(str(error))
        for words, remedy in REFUSALS:
            if re.search(words, reason):
                raise SourceQueryError(f"PostgreSQL refused the connection: {reason}: {remedy}") from None
        if "FATAL: " in reason:
            raise SourceUnavailableError(
                f"PostgreSQL does not take the connection: {reason}: run the job again later, or correct what the "
                "server says"
            ) from None
        raise SourceUnavailableError(
            f"PostgreSQL cannot be reached at {config.server}:{config.port}: {reason}: check postgresql_host, "
            "postgresql_port, the firewall and the network of the job"
        ) from None
    return connection


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
    # The text of a data exception quotes the value, which may be anything from the table.
    name = type(error).__name__
    said = name if meaning.quotes_data else " ".join((error.diag.message_primary or name).split())
    place = _place(error.diag.statement_position, query_offset, query)
    return meaning.error(f"PostgreSQL: {said} (SQLSTATE {sqlstate}){place}: {meaning.remedy}")


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
