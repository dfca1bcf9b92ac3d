"""Behind one name, a read never sees less than the server with which the run began: it waits, or it fails."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2
import pytest

from sandbox import Endpoints
from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.schema import Schema
from sync_pipeline.sources import open_source
from sync_pipeline.sources.postgresql import wal_position
from sync_pipeline.sources.postgresql.connection import settings_sql
from sync_pipeline.sources.postgresql.source import open_catalog
from sync_pipeline.sources.postgresql.wal_position import UNGUARDED, PositionedSplit
from sync_pipeline.sources.source import ReadSplit, Source
from tests.integration.postgresql_reading import execute, fresh_database
from tests.integration.standby_servers import Server, Servers, standby_servers

REMEDY = "let postgresql_host lead to one server, at best the primary, or run the job again later"
COPY = "SELECT id FROM items ORDER BY id"
SMART = {"enable_smart_sync": "true", "smart_sync_timestamp_column": "at", "postgresql_base_query": ""}


class Everything:
    """Chooses all tables."""

    def may_choose(self, _: TableName) -> bool:
        return True

    def matches(self, _: TableName) -> bool:
        return True


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with standby_servers(tmp_path_factory.mktemp("standby")) as running:
        running.primary.execute("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (0)")
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    wal_position._warn_once.cache_clear()
    monkeypatch.setattr(wal_position, "CATCH_UP_SECONDS", 10.0)


def source(port: int, password: str, **parameters: str) -> Source:
    return open_source(
        SyncConfig.from_parameters(
            {
                "data_source": "postgresql",
                "postgresql_host": "127.0.0.1",
                "postgresql_port": str(port),
                "postgresql_database": "postgres",
                "postgresql_username": "postgres",
                "postgresql_password": password,
                "postgresql_sslmode": "disable",
                "postgresql_query": COPY,
                "destination_bigquery_project": "p-123456",
                "destination_bigquery_dataset": "d",
                "destination_bigquery_table": "t",
                **parameters,
            }
        )
    )


def planned(server: Server) -> tuple[Schema, Sequence[ReadSplit]]:
    with source(server.port, server.password).connect() as session:
        schema = session.describe(None).schema
        return schema, session.plan_read(schema, None).splits


def keys_planned(server: Server) -> tuple[Schema, Sequence[ReadSplit]]:
    with source(server.port, server.password).connect() as session:
        schema = session.describe(None).schema
        return schema, session.plan_keys(schema).splits  # type: ignore[attr-defined]


def tables_planned(server: Server) -> tuple[Schema, Sequence[ReadSplit]]:
    """Plan as a run of many tables does: the rows, then the keys."""
    config = source(server.port, server.password).config
    with open_catalog(config.source, 0, Everything()) as catalog:
        session = catalog.session(catalog.tables[0], config)
        schema = session.describe(None).schema
        return schema, [*session.plan_read(schema, None).splits, *session.plan_keys(schema).splits]


def read(server: Server, plan: tuple[Schema, Sequence[ReadSplit]]) -> list[int]:
    schema, splits = plan
    reader = source(server.port, server.password).reader(schema)
    try:
        return [number for split in splits for part in reader.read(split) for number in part.column("id").to_pylist()]  # type: ignore[union-attr]
    finally:
        reader.close_idle()


def new_row(server: Server) -> int:
    [(number,)] = server.execute("INSERT INTO items SELECT max(id) + 1 FROM items RETURNING id")
    assert isinstance(number, int)
    return number


def test_every_split_of_a_run_of_many_tables_has_the_position(servers: Servers) -> None:
    [(before,)] = servers.primary.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    schema, splits = tables_planned(servers.primary)
    positions = [split.position for split in splits if isinstance(split, PositionedSplit)]
    assert len(positions) == len(splits) == 2
    assert all(position is not None and position.lsn >= before and position.system for position in positions)
    assert read(servers.standby, (schema, splits[:1])) == read(servers.standby, (schema, splits[1:]))


@pytest.mark.parametrize("plan", [planned, keys_planned], ids=["rows", "keys"])
def test_a_standby_that_lags_is_not_read(servers: Servers, plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal_position, "CATCH_UP_SECONDS", 0.1)
    with servers.paused():
        new_row(servers.primary)
        with pytest.raises(SourceUnavailableError) as caught:
            read(servers.standby, plan(servers.primary))
    said, _, remedy = str(caught.value).partition(
        " bytes of the write-ahead log behind the one with which the run began,"
    )
    assert said.startswith("PostgreSQL: the server that answered is ")
    assert remedy.endswith(f"rows would be missed, or count as deleted: {REMEDY}")


def test_a_read_waits_until_the_standby_has_what_the_run_began_with(servers: Servers) -> None:
    with servers.paused():
        number = new_row(servers.primary)
        plan = planned(servers.primary)
        threading.Timer(0.2, servers.standby.execute, ["SELECT pg_wal_replay_resume()"]).start()
        began = time.monotonic()
        rows = read(servers.standby, plan)
    assert rows == list(range(number + 1))
    assert time.monotonic() - began > 0.1


def test_a_standby_that_follows_is_read(servers: Servers) -> None:
    for _ in range(10):
        number = new_row(servers.primary)
        assert read(servers.standby, planned(servers.primary)) == list(range(number + 1))


def test_a_commit_that_is_not_written_yet_counts(servers: Servers) -> None:
    servers.primary.execute("SET synchronous_commit = off")
    number = new_row(servers.primary)
    assert read(servers.standby, planned(servers.primary)) == list(range(number + 1))


def test_an_idle_primary_s_position_at_the_beginning_of_a_page_is_reached(servers: Servers) -> None:
    servers.primary.execute("SELECT pg_switch_wal()")
    [(offset,)] = servers.primary.execute("SELECT ((pg_current_wal_insert_lsn() - '0/0') % 8192)::int")
    plan = planned(servers.primary)
    [split] = plan[1]
    assert isinstance(split, PositionedSplit)
    assert split.position is not None
    assert (offset, split.position.lsn % 8192) == (40, 0)
    assert read(servers.standby, plan)


def test_a_run_that_began_with_a_standby_reads_there_and_from_the_primary(servers: Servers) -> None:
    plan = planned(servers.standby)
    assert read(servers.standby, plan) == read(servers.primary, plan)


def test_a_server_that_is_no_copy_is_not_read(servers: Servers, endpoints: Endpoints) -> None:
    plan = planned(servers.primary)
    other = Server(endpoints.postgresql_port, endpoints.postgresql_password, servers.primary.connection)
    with pytest.raises(SourceUnavailableError) as caught:
        read(other, plan)
    assert str(caught.value) == (
        "PostgreSQL: the server that answered is neither the one with which the run began nor a physical standby of it "
        f"(pg_control_system): whether it has all rows cannot be known: {REMEDY}"
    )


def test_the_position_costs_no_request_of_its_own(servers: Servers) -> None:
    plan = planned(servers.primary)
    sent: list[str] = []

    class Counting(psycopg2.extensions.cursor):
        def execute(self, statement: Any, values: Any = None) -> None:
            sent.append(statement)
            super().execute(statement, values)

    connecting = psycopg2.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg2, "connect", lambda **given: connecting(**given, cursor_factory=Counting))
        read(servers.primary, plan)
    assert [statement.startswith(settings_sql()) for statement in sent] == [True, *[False] * (len(sent) - 1)]
    assert [statement for statement in sent if "wal" in statement] == sent[:1]


@pytest.mark.parametrize(
    ("functions", "is_guarded"),
    [
        pytest.param(["pg_control_system()"], True, id="no-identifier"),
        pytest.param(["pg_control_system()", "pg_current_wal_insert_lsn()"], False, id="no-position"),
    ],
)
def test_a_server_without_the_functions_is_read_without_a_guard(
    endpoints: Endpoints, functions: list[str], is_guarded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, "CREATE TABLE items (id int PRIMARY KEY, at timestamptz); INSERT INTO items VALUES (1)")
        with reader.source(COPY).connect() as session:
            schema = session.describe(None).schema
            known = session.plan_read(schema, None).splits
        for function in functions:
            execute(connection, f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        role = f"plain_{uuid.uuid4().hex[:12]}"
        execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT ON items TO {role}")
        login = {"postgresql_username": role, "postgresql_password": "p"}
        try:
            with reader.source("SELECT * FROM items", **login, **SMART).connect() as session:
                assert (UNGUARDED in session.clock.risks) is not is_guarded
            plain = reader.source(COPY, **login)
            with plain.connect() as session:
                splits = session.plan_read(schema, None).splits
                assert UNGUARDED not in session.clock.risks
            positions = [split.position for split in splits if isinstance(split, PositionedSplit)]
            assert [position is not None and position.system is None for position in positions] == [is_guarded]
            with caplog.at_level(logging.WARNING):
                for split in (*splits, *known, *known):
                    [part] = plain.reader(schema).read(split)
                    assert part.column("id").to_pylist() == [1]  # type: ignore[union-attr]
            assert caplog.messages == [UNGUARDED]
        finally:
            plain.reader(schema).close_idle()
            execute(connection, f"DROP OWNED BY {role}; DROP ROLE {role}")
