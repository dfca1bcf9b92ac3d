"""The PostgreSQL server behaves as the sources need it."""

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

import sandbox
from sandbox import Endpoints


def test_a_wrong_password_is_refused(endpoints: Endpoints) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(make_dsn(endpoints.postgresql_dsn, password="wrong"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("TimeZone", "UTC"), ("max_connections", "50"), ("server_encoding", "UTF8"), ("fsync", "off")],
)
def test_setting(postgresql: Connection, setting: str, value: str) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        assert cursor.fetchone() == (value,)


def test_a_prepared_transaction_outlives_its_session(endpoints: Endpoints, postgresql: Connection) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int)")
    writer = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=postgresql.info.dbname))
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
        cursor.execute("PREPARE TRANSACTION 'left-open'")
    writer.close()
    with postgresql.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        assert cursor.fetchall() == [("left-open",)]


def test_an_outage_can_be_made_and_ended(endpoints: Endpoints) -> None:
    sandbox.stop_server(endpoints.folder, "postgresql")
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        psycopg2.connect(endpoints.postgresql_dsn)
    sandbox.start_server(endpoints.folder, "postgresql")
    psycopg2.connect(endpoints.postgresql_dsn).close()
