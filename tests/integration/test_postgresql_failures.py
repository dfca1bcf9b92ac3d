"""What goes wrong at the server is told in one line, with the right error, without a secret and without data."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import pyarrow as pa
import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import (
    MissingRightError,
    SourceBusyError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
)
from sync_pipeline.sources.postgresql import connection
from sync_pipeline.sources.postgresql.connection import connected
from sync_pipeline.sources.postgresql.copy_read import copied_parts
from tests.integration.postgresql_reading import (
    APPLICATION_NAME,
    ENDLESS,
    Reader,
    assert_nothing_is_left,
    connect,
    execute,
    failure,
    fresh_database,
    sessions,
)
from tests.source_questions import described, read_planned

ROLE_PASSWORD = "s3cret of the 'role'\\"


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, "CREATE TABLE private (n int, t text); INSERT INTO private VALUES (1, 'secret-row')")
        yield reader, connection


@pytest.fixture
def reader(server: tuple[Reader, Connection]) -> Reader:
    return server[0]


@pytest.fixture
def administrator(server: tuple[Reader, Connection]) -> Connection:
    return server[1]


@pytest.fixture
def role(administrator: Connection) -> Iterator[str]:
    """The name of a role that may log in with ROLE_PASSWORD, and nothing else."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    execute(administrator, f"CREATE ROLE {name} LOGIN PASSWORD %s", [ROLE_PASSWORD])
    yield name
    execute(administrator, f"DROP OWNED BY {name}; DROP ROLE {name}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_an_unreachable_server(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", waits.append)
    port = free_port()
    source = reader.source("SELECT 1", postgresql_port=str(port), max_retries="3")
    with caplog.at_level(logging.WARNING, "sync_pipeline"):
        error = failure(reader, lambda: described(source))
    message = (
        f'PostgreSQL cannot be reached at 127.0.0.1:{port}: connection to server at "127.0.0.1", port {port} failed: '
        "Connection refused: Is the server running on that host and accepting TCP/IP connections?: check "
        "postgresql_host, postgresql_port, the firewall and the network of the job"
    )
    assert (type(error), str(error)) == (SourceUnavailableError, message)
    assert waits == [1, 2, 4]
    assert caplog.messages == [
        f"{message}; trying again in 1 s (1 of 3)",
        f"{message}; trying again in 2 s (2 of 3)",
        f"{message}; trying again in 4 s (3 of 3)",
    ]


REFUSED = "PostgreSQL rejected the connection: connection to server at "


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param(
            {"postgresql_password": "s3cret"},
            'FATAL: password authentication failed for user "postgres": check postgresql_username and '
            "postgresql_password",
            id="wrong password",
        ),
        pytest.param(
            {"postgresql_username": "nobody"},
            'FATAL: password authentication failed for user "nobody": check postgresql_username and '
            "postgresql_password",
            id="unknown user",
        ),
        pytest.param(
            {"postgresql_database": "nowhere"},
            'FATAL: database "nowhere" does not exist: check postgresql_database',
            id="unknown database",
        ),
        pytest.param(
            {"postgresql_sslmode": "require"},
            "server does not support SSL, but SSL was required: use postgresql_sslmode=prefer or disable, or enable "
            "TLS on the server",
            id="no TLS at the server",
        ),
    ],
)
def test_a_refused_connection(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], message: str
) -> None:
    # A refusal is final: nothing is waited for.
    monkeypatch.setattr("sync_pipeline.sources.access.time", None)
    source = reader.source("SELECT 1", max_retries="5", **parameters)
    error = failure(reader, lambda: described(source))
    assert type(error) is SourceQueryError
    assert str(error).startswith(REFUSED)
    assert str(error).endswith(f" failed: {message}")


def test_an_unknown_host(reader: Reader) -> None:
    error = failure(reader, lambda: described(reader.source("SELECT 1", postgresql_host="does-not-exist.invalid")))
    assert 'could not translate host name "does-not-exist.invalid" to address: ' in str(error)


@pytest.mark.parametrize(
    ("alteration", "kind", "message"),
    [
        pytest.param(
            "ALTER ROLE {role} NOLOGIN",
            SourceQueryError,
            'FATAL: role "{role}" is not permitted to log in: check postgresql_username',
            id="no login",
        ),
        pytest.param(
            "ALTER ROLE {role} CONNECTION LIMIT 0",
            SourceUnavailableError,
            'FATAL: too many connections for role "{role}": run the job again later, or correct the cause that the '
            "server reports",
            id="too many connections",
        ),
        pytest.param(
            "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
            SourceQueryError,
            'FATAL: permission denied for database "{database}"; DETAIL: User does not have CONNECT privilege: grant '
            "the user CONNECT on the database",
            id="no CONNECT privilege",
        ),
    ],
)
def test_a_role_that_may_not_connect(
    reader: Reader, administrator: Connection, role: str, alteration: str, kind: type[SourceError], message: str
) -> None:
    execute(administrator, alteration.format(role=role, database=reader.database))
    source = reader.source("SELECT 1", postgresql_username=role, postgresql_password=ROLE_PASSWORD)
    try:
        error = failure(reader, lambda: described(source))
    finally:
        execute(administrator, f"GRANT CONNECT ON DATABASE {reader.database} TO PUBLIC")
    assert type(error) is kind
    assert str(error).endswith(f" failed: {message.format(role=role, database=reader.database)}")


def test_a_password_of_any_letters_works(reader: Reader, role: str) -> None:
    assert reader.rows("SELECT 1", postgresql_username=role, postgresql_password=ROLE_PASSWORD) == [(1,)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param(
            "SELECT n,\n  't' AS t\n  FRM private",
            'syntax error at or near "FRM" (SQLSTATE 42601) at line 3, column 3 of the query: correct the query',
            id="syntax",
        ),
        pytest.param(
            "SELECT '🎉é',\n  m FROM private",
            'column "m" does not exist (SQLSTATE 42703) at line 2, column 3 of the query: correct the column\'s name '
            "in the "
            "query",
            id="missing column behind an emoji",
        ),
        pytest.param(
            "SELECT * FROM missing",
            'relation "missing" does not exist (SQLSTATE 42P01) at line 1, column 15 of the query: correct the '
            "table's name "
            "in the query, or name its schema",
            id="missing table",
        ),
        pytest.param(
            "SELECT * FROM nowhere.private",
            'relation "nowhere.private" does not exist (SQLSTATE 42P01) at line 1, column 15 of the query: correct the '
            "table's name in the query, or name its schema",
            id="missing schema",
        ),
        pytest.param(
            "SELECT nothing(n) FROM private",
            "function nothing(integer) does not exist (SQLSTATE 42883) at line 1, column 8 of the query: correct the "
            "query",
            id="missing function",
        ),
        pytest.param(
            "SELECT t::int FROM private",
            "InvalidTextRepresentation (SQLSTATE 22P02): the query cannot process a value: check its "
            "casts and divisions",
            id="a cast that fails",
        ),
        pytest.param(
            "SELECT (t || ' &')::tsquery FROM private",
            "SyntaxError (SQLSTATE 42601): correct the query",
            id="a value with bad syntax",
        ),
        pytest.param(
            "SELECT t::regclass FROM private",
            "UndefinedTable (SQLSTATE 42P01): correct the table's name in the query, or name its schema",
            id="a value that names no table",
        ),
        pytest.param(
            "SELECT current_setting(t) FROM private",
            "UndefinedObject (SQLSTATE 42704): correct the query",
            id="a value that names no setting",
        ),
        pytest.param(
            "SELECT t, 'x'::int AS n FROM private",
            "InvalidTextRepresentation (SQLSTATE 22P02) at line 1, column 11 of the query: correct the query",
            id="a value of the query's own",
        ),
        pytest.param(
            "SELECT n / (n - 1) FROM private",
            "DivisionByZero (SQLSTATE 22012): the query cannot process a value: check its casts and divisions",
            id="a division by zero",
        ),
        pytest.param(
            "SELECT (SELECT t FROM private, generate_series(1, 2))",
            "more than one row returned by a subquery used as an expression (SQLSTATE 21000): correct the query",
            id="two rows for one",
        ),
    ],
)
def test_a_query_that_fails(reader: Reader, query: str, message: str) -> None:
    error = failure(reader, lambda: reader.rows(query))
    assert (type(error), str(error)) == (SourceQueryError, f"PostgreSQL: {message}")


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        pytest.param("P0001", "RaiseException (SQLSTATE P0001): a function that the query calls", id="raised"),
        pytest.param("ABC12", "DatabaseError (SQLSTATE ABC12): see the server's log", id="a state of their own"),
        pytest.param("22012", "DivisionByZero (SQLSTATE 22012): the query cannot process a value", id="data"),
        pytest.param("42501", "InsufficientPrivilege (SQLSTATE 42501): grant", id="a state that has no values else"),
        pytest.param("XX000", "InternalError_ (SQLSTATE XX000): the server had an internal error", id="internal"),
    ],
)
def test_what_a_user_s_function_says_is_not_repeated(
    reader: Reader, administrator: Connection, sqlstate: str, message: str
) -> None:
    execute(
        administrator,
        f"""CREATE OR REPLACE FUNCTION refuse(value text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'bad row: %', value USING ERRCODE = '{sqlstate}', DETAIL = value; END $$""",
    )
    error = failure(reader, lambda: reader.rows("SELECT refuse(t) FROM private"))
    assert isinstance(error, SourceQueryError)
    assert str(error).startswith(f"PostgreSQL: {message}")


def test_a_lock_against_readers_ends_the_run_and_is_named(
    reader: Reader, administrator: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.TRANSACTION_SETTINGS, "lock_timeout", "300ms")
    execute(administrator, "BEGIN; LOCK TABLE private IN ACCESS EXCLUSIVE MODE")
    try:
        error = failure(reader, lambda: reader.rows("SELECT * FROM private"))
    finally:
        execute(administrator, "ROLLBACK")
    assert type(error) is SourceBusyError
    assert re.fullmatch(
        r"PostgreSQL: canceling statement due to lock timeout \(SQLSTATE 55P03\)( at .* query)?; locked: private "
        rf"by pid {administrator.info.backend_pid} \(.* since .*\): the table is locked: run the job again .*",
        str(error),
    )


def test_a_missing_privilege(reader: Reader, role: str) -> None:
    parameters = {"postgresql_username": role, "postgresql_password": ROLE_PASSWORD}
    error = failure(reader, lambda: reader.rows("SELECT * FROM private", **parameters))
    assert (type(error), str(error)) == (
        MissingRightError,
        "PostgreSQL: permission denied for table private (SQLSTATE 42501): grant the user SELECT on it",
    )


def test_a_missing_privilege_on_a_schema(reader: Reader, administrator: Connection, role: str) -> None:
    execute(administrator, "CREATE SCHEMA hidden; CREATE TABLE hidden.t (n int)")
    parameters = {"postgresql_username": role, "postgresql_password": ROLE_PASSWORD, "enable_auto_schema": "true"}
    source = reader.source("SELECT 1 AS n", source_table_for_schema="hidden.t", **parameters)
    error = failure(reader, lambda: described(source))
    assert str(error) == "PostgreSQL: permission denied for schema hidden (SQLSTATE 42501): grant the user SELECT on it"


def test_a_statement_timeout(reader: Reader, administrator: Connection, role: str) -> None:
    execute(administrator, f"ALTER ROLE {role} SET statement_timeout = '200ms'")
    parameters = {"postgresql_username": role, "postgresql_password": ROLE_PASSWORD}
    error = failure(reader, lambda: reader.rows("SELECT pg_sleep(5)", **parameters))
    assert type(error) is SourceQueryError
    assert str(error) == (
        "PostgreSQL: canceling statement due to statement timeout (SQLSTATE 57014): the server cancelled the "
        "statement: raise the user's statement_timeout (ALTER ROLE … SET statement_timeout) or make the query faster, "
        "for example "
        "with an index on the timestamp column"
    )


def test_a_statement_timeout_while_rows_arrive(reader: Reader, administrator: Connection, role: str) -> None:
    execute(administrator, f"ALTER ROLE {role} SET statement_timeout = '300ms'")
    batches = reader.batches(ENDLESS, postgresql_username=role, postgresql_password=ROLE_PASSWORD)
    assert next(batches).num_rows == 1000
    error = failure(reader, lambda: [None for _ in batches])
    assert type(error) is SourceQueryError
    assert "(SQLSTATE 57014): the server cancelled the statement" in str(error)


def test_a_transaction_timeout(reader: Reader, administrator: Connection, role: str) -> None:
    execute(administrator, f"ALTER ROLE {role} SET transaction_timeout = '300ms'")
    parameters = {"postgresql_username": role, "postgresql_password": ROLE_PASSWORD}
    # The server ends the session; the driver then only knows that it is gone.
    error = failure(reader, lambda: reader.rows("SELECT pg_sleep(5)", **parameters))
    assert type(error) is SourceUnavailableError
    assert str(error).startswith("PostgreSQL: the connection was lost: ")


@pytest.mark.parametrize(
    ("ending", "kind", "message"),
    [
        pytest.param(
            "pg_terminate_backend", SourceUnavailableError, "PostgreSQL: the connection was lost", id="terminated"
        ),
        pytest.param(
            "pg_cancel_backend",
            SourceQueryError,
            "PostgreSQL: canceling statement due to user request (SQLSTATE 57014)",
            id="cancelled",
        ),
    ],
)
def test_a_copy_ended_midway(
    reader: Reader, administrator: Connection, ending: str, kind: type[SourceError], message: str
) -> None:
    threads = set(threading.enumerate())
    batches = reader.batches(ENDLESS)
    assert next(batches).num_rows == 1000
    [pid] = sessions(administrator, reader)
    assert execute(administrator, f"SELECT {ending}(%s)", [pid]) == [(True,)]
    error = failure(reader, lambda: [None for _ in batches])
    assert type(error) is kind
    # Which of the driver's words follow depends on the moment.
    assert str(error).startswith(message)
    assert_nothing_is_left(administrator, reader, threads)


@pytest.mark.parametrize("seen", [pytest.param(1, id="after one batch"), pytest.param(200, id="after many")])
def test_a_reader_that_goes_away(endpoints: Endpoints, seen: int) -> None:
    with fresh_database(endpoints) as (reader, administrator):
        threads = set(threading.enumerate())
        batches = reader.batches(ENDLESS)
        for _ in range(seen):
            assert isinstance(next(batches), pa.RecordBatch)
        assert len(sessions(administrator, reader)) == 1
        began = time.monotonic()
        batches.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 3
        assert_nothing_is_left(administrator, reader, threads)


def test_a_reader_that_fails_itself(endpoints: Endpoints) -> None:
    with fresh_database(endpoints) as (reader, administrator):
        threads = set(threading.enumerate())
        with pytest.raises(ZeroDivisionError):
            sum(batch.num_rows // 0 for batch in reader.batches(ENDLESS))
        assert_nothing_is_left(administrator, reader, threads)


def test_a_reader_that_goes_away_while_the_server_has_not_answered(endpoints: Endpoints) -> None:
    with fresh_database(endpoints) as (reader, administrator):
        threads = set(threading.enumerate())
        # A chunk is full with the first row; the next one takes its time.
        query = """SELECT repeat('x', 5 * 1024 * 1024) AS t, pg_sleep(CASE WHEN n > 1 THEN 60 ELSE 0 END) AS s
                   FROM generate_series(1, 2) AS n"""
        batches = reader.batches(query)
        assert next(batches).num_rows == 1
        began = time.monotonic()
        batches.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 3
        assert_nothing_is_left(administrator, reader, threads)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("TRUNCATE {table}; INSERT INTO {table} SELECT generate_series(1, 100)", id="loaded anew"),
        pytest.param("ALTER TABLE {table} ALTER n TYPE int8", id="rewritten"),
    ],
)
def test_a_table_that_changes_while_the_read_waits_for_it(reader: Reader, change: str) -> None:
    table = f"t_{uuid.uuid4().hex[:12]}"
    with contextlib.closing(connect(reader.endpoints, reader.database)) as other:
        execute(other, f"CREATE TABLE {table} AS SELECT n FROM generate_series(1, 100) AS n")
        source = reader.source(f"SELECT n FROM {table}")
        schema = described(source).schema
        (split,) = read_planned(source, schema=schema).splits
        other.autocommit = False
        execute(other, change.format(table=table))
        thread = threading.Thread(target=commit_when_waited_for, args=[other, reader])
        thread.start()
        copy = source.reader(schema)
        rows = sum(part.num_rows for part in copy.read(split) if isinstance(part, pa.Table))
        copy.close_idle()
        thread.join()
    assert rows == 100


def commit_when_waited_for(connection: Connection, reader: Reader) -> None:
    """Commit when a session of ours waits for a lock, or after ten seconds."""
    waiting = f"SELECT FROM pg_stat_activity WHERE application_name = '{APPLICATION_NAME}' AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    with contextlib.closing(connect(reader.endpoints, reader.database)) as observer:
        while not execute(observer, waiting) and time.monotonic() < deadline:
            time.sleep(0.02)
    connection.commit()


def test_a_complete_read_cancels_nothing(reader: Reader) -> None:
    source = reader.source("SELECT g FROM generate_series(1, 10) AS g")
    schema = described(source).schema
    statement = read_planned(source, schema=schema).splits[0].statement
    for _ in range(5):
        with connected(source.connection, 0) as connection:
            watched = Watched(connection)
            assert sum(table.num_rows for table in copied_parts(watched, statement, schema)) == 10
            assert watched.cancelled == 0


class Watched:
    """A connection that counts how often it is cancelled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.cancelled = 0

    def cursor(self) -> object:
        return self._connection.cursor()

    def cancel(self) -> None:
        self.cancelled += 1
