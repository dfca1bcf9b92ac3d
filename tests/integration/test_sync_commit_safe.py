"""No row is lost whose transaction began before a run and committed after it, and none comes twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from tests.integration.postgresql_reading import execute
from tests.integration.syncing import Syncing

IDS = "SELECT id FROM items ORDER BY id"
MODES = [pytest.param({}, id="append"), pytest.param({"primary_key": "id"}, id="merge")]


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z')")


@contextlib.contextmanager
def application(syncing: Syncing) -> Iterator[Connection]:
    """A session of the application, in a transaction."""
    connection = psycopg2.connect(make_dsn(syncing.endpoints.postgresql_dsn, dbname=syncing.database))
    try:
        yield connection
    finally:
        connection.close()


def begin(connection: Connection) -> datetime:
    """Begin a transaction and return its start, which is the stamp of all its rows."""
    return execute(connection, "SELECT now()")[0][0].astimezone(UTC)


@pytest.mark.parametrize("parameters", MODES)
def test_a_transaction_that_was_opened_before_and_writes_later_loses_nothing(
    syncing: Syncing, parameters: dict[str, str]
) -> None:
    with application(syncing) as early:
        opened = begin(early)
        syncing.execute("INSERT INTO items VALUES (2)")  # later stamp, committed at once
        first = syncing.smart(**parameters).succeeded()
        # Held back to before the open transaction, though it has written nothing so far.
        assert first.interval[1] == opened - timedelta(microseconds=1)
        assert syncing.column(IDS) == [1]
        execute(early, "INSERT INTO items VALUES (3)")
        early.commit()
    assert syncing.execute("SELECT id FROM items ORDER BY updated_at, id") == [(1,), (3,), (2,)]
    second = syncing.smart(**parameters).succeeded()
    assert second.rows_loaded == 2
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.smart(**parameters).succeeded().rows_loaded == 0


@pytest.mark.parametrize("parameters", MODES)
def test_a_transaction_that_has_written_and_commits_after_the_run_loses_nothing(
    syncing: Syncing, parameters: dict[str, str]
) -> None:
    with application(syncing) as early:
        begin(early)
        execute(early, "INSERT INTO items VALUES (2)")
        syncing.execute("INSERT INTO items VALUES (3)")
        assert syncing.smart(**parameters).succeeded().rows_loaded == 1
        early.commit()
    assert syncing.smart(**parameters).succeeded().rows_loaded == 2
    assert syncing.column(IDS) == [1, 2, 3]


def test_of_several_the_oldest_holds_the_end_and_each_that_ends_lets_it_go_on(syncing: Syncing) -> None:
    with application(syncing) as first, application(syncing) as second:
        opened = [begin(first), begin(second)]
        for connection, moment in ((first, opened[0]), (second, opened[1])):
            assert syncing.smart().succeeded().interval[1] == moment - timedelta(microseconds=1)
            connection.rollback()
    assert syncing.smart().succeeded().interval[1] > opened[1]


def test_a_session_that_is_idle_in_a_transaction_holds_the_end_and_is_named(syncing: Syncing) -> None:
    with application(syncing) as idle:
        opened = begin(idle)
        pid = idle.get_backend_pid()
        run = syncing.smart().succeeded()
        assert run.interval[1] == opened - timedelta(microseconds=1)
        # It lies less than a second back: nothing to warn of. With nothing to settle, anything is.
        (risk,) = [risk for risk in run.risks if "held back" in risk]
        assert f"with pid {pid} (idle in transaction)" in risk
        assert opened.isoformat(sep=" ", timespec="microseconds").removesuffix(":00") in risk


def test_a_session_without_a_transaction_holds_nothing(syncing: Syncing) -> None:
    with application(syncing) as session:
        began = begin(session)
        session.commit()
        assert syncing.smart().succeeded().interval[1] > began


def test_a_transaction_of_another_database_holds_nothing(syncing: Syncing) -> None:
    connection = psycopg2.connect(syncing.endpoints.postgresql_dsn)
    began = begin(connection)
    assert syncing.smart().succeeded().interval[1] > began
    connection.close()


def test_a_prepared_transaction_holds_the_end(syncing: Syncing) -> None:
    with application(syncing) as session:
        session.autocommit = True
        opened = execute(session, "BEGIN; INSERT INTO items VALUES (2) RETURNING updated_at")[0][0]
        syncing.execute("INSERT INTO items VALUES (3)")
        execute(session, "PREPARE TRANSACTION 'two'")
        run = syncing.smart(smart_sync_max_hold_seconds="60").succeeded()
        # The server does not tell when it began: as long before as a transaction may stay open.
        assert run.interval[1] < opened - timedelta(seconds=59)
        assert [risk for risk in run.risks if "the prepared transaction" in risk]
        execute(session, "COMMIT PREPARED 'two'")
    assert syncing.smart().succeeded().rows_loaded == 2
    assert syncing.column(IDS) == [1, 2, 3]


def test_one_that_is_open_for_too_long_is_warned_of_and_holds_nothing(syncing: Syncing) -> None:
    with application(syncing) as forgotten:
        opened = begin(forgotten)
        execute(forgotten, "SELECT 'secret of the query', pg_sleep(1.1)")
        run = syncing.smart(smart_sync_max_hold_seconds="1").succeeded()
        assert run.interval[1] > opened
        (risk,) = [risk for risk in run.risks if "WILL BE MISSED" in risk]
        assert f"pid {forgotten.get_backend_pid()} (idle in transaction), open since {opened:%Y-%m-%d %H:%M:%S}" in risk
        assert "smart_sync_max_hold_seconds=1" in risk
        assert "secret of the query" not in run.everything


def test_with_a_key_and_a_lookback_even_that_one_loses_nothing(syncing: Syncing) -> None:
    parameters = {
        "primary_key": "id",
        "smart_sync_max_hold_seconds": "0",
        "smart_sync_lookback_seconds": "600",
    }
    with application(syncing) as forgotten:
        begin(forgotten)
        syncing.execute("INSERT INTO items VALUES (2)")
        assert syncing.smart(**parameters).succeeded().rows_loaded == 2
        execute(forgotten, "INSERT INTO items VALUES (3)")
        forgotten.commit()
    syncing.smart(**parameters).succeeded()
    assert syncing.column(IDS) == [1, 2, 3]


def test_the_end_stays_behind_the_clock_by_the_settling_time(syncing: Syncing) -> None:
    syncing.execute("INSERT INTO items VALUES (2, now() - interval '30 seconds')")
    run = syncing.smart(smart_sync_settle_seconds="60").succeeded()
    now = syncing.execute("SELECT now()")[0][0]
    assert timedelta(seconds=60) < now - run.interval[1] < timedelta(seconds=70)
    assert syncing.column(IDS) == [1]
    by_default = syncing.run(enable_smart_sync="true").succeeded()
    assert timedelta(seconds=1) < syncing.execute("SELECT now()")[0][0] - by_default.interval[1] < timedelta(seconds=6)
    assert syncing.column(IDS) == [1, 2]


@pytest.fixture
def reader(syncing: Syncing) -> Iterator[dict[str, str]]:
    """The parameters of a user who may read the tables and no more."""
    name = f"reader_{syncing.database}"
    syncing.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'of-the-reader'")
    syncing.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    yield {"postgresql_username": name, "postgresql_password": "of-the-reader"}
    syncing.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("parameters", MODES)
def test_timestamps_without_a_zone_lose_nothing_where_the_server_s_clock_is_behind_utc(
    syncing: Syncing, reader: dict[str, str], parameters: dict[str, str]
) -> None:
    syncing.execute("CREATE TABLE local (id int PRIMARY KEY, updated_at timestamp NOT NULL)")
    syncing.execute(
        f"GRANT SELECT ON local TO {reader['postgresql_username']}; GRANT pg_read_all_stats TO "
        f"{reader['postgresql_username']}; ALTER ROLE {reader['postgresql_username']} SET timezone = 'America/New_York'"
    )
    syncing.execute("INSERT INTO local VALUES (1, '2024-01-01')")
    parameters = {**parameters, **reader, "postgresql_query": "SELECT * FROM local"}
    with application(syncing) as early, application(syncing) as other:
        for session in (early, other):
            execute(session, "SET timezone = 'America/New_York'")
            session.commit()
        execute(early, "INSERT INTO local VALUES (2, now())")
        execute(other, "INSERT INTO local VALUES (3, now())")
        other.commit()
        first = syncing.smart(**parameters).succeeded()
        assert "by the wall clock of America/New_York, the server's TimeZone for the user" in first.everything
        assert syncing.column(IDS) == [1]
        early.commit()
    assert syncing.smart(**parameters).succeeded().rows_loaded == 2
    assert syncing.column(IDS) == [1, 2, 3]
    run = syncing.smart(**parameters, smart_sync_time_zone="Europe/Berlin").succeeded()
    assert "by the wall clock of Europe/Berlin, from smart_sync_time_zone" in run.everything
    syncing.execute(f"ALTER DATABASE {syncing.database} SET timezone = 'Asia/Tokyo'")
    run = syncing.smart(**parameters).succeeded()
    (risk,) = [risk for risk in run.risks if "TimeZone" in risk]
    assert "the wall clock of America/New_York, but other roles use another TimeZone (the database: Asia/Tokyo)" in risk


def test_a_user_who_cannot_see_the_other_sessions_is_warned(syncing: Syncing, reader: dict[str, str]) -> None:
    with application(syncing) as hidden:
        begin(hidden)
        run = syncing.smart(**reader).succeeded()
        (risk,) = [risk for risk in run.risks if "hidden" in risk]
        assert "GRANT pg_read_all_stats" in risk
        assert "smart_sync_settle_seconds" in risk


def test_a_user_who_was_granted_to_see_them_is_held_back(syncing: Syncing, reader: dict[str, str]) -> None:
    syncing.execute(f"GRANT pg_read_all_stats TO {reader['postgresql_username']}")
    with application(syncing) as open_session:
        opened = begin(open_session)
        run = syncing.smart(**reader).succeeded()
        assert run.interval[1] == opened - timedelta(microseconds=1)
        assert not [risk for risk in run.risks if "hidden" in risk]


def test_a_subscriber_is_warned_of(syncing: Syncing, reader: dict[str, str]) -> None:
    # Nobody has to answer: it is not connected.
    syncing.execute(
        f"CREATE SUBSCRIPTION {syncing.database}_copy CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p "
        "WITH (connect = false)"
    )
    try:
        plan = syncing.plan(**reader)
    finally:
        syncing.execute(
            f"ALTER SUBSCRIPTION {syncing.database}_copy SET (slot_name = NONE); "
            f"DROP SUBSCRIPTION {syncing.database}_copy"
        )
    (risk,) = [risk for risk in plan.risks if "subscribes" in risk]
    assert f"the database subscribes to another ({syncing.database}_copy)" in risk
    assert not [risk for risk in syncing.plan(**reader).risks if "subscribes" in risk]


def test_without_smart_sync_nothing_is_held_back_or_warned_of(syncing: Syncing) -> None:
    with application(syncing) as session:
        begin(session)
        run = syncing.run().succeeded()
        assert run.rows_loaded == 1
        assert not [risk for risk in run.risks if "held back" in risk or "MISSED" in risk]
