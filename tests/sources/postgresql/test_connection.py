from __future__ import annotations

import dataclasses
import logging
import pickle
import re
import traceback
from pathlib import Path

import psycopg2
import pytest

from sync_pipeline.errors import (
    ConfigError,
    MissingRightError,
    SourceBusyError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
)
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import (
    ERROR_MEANINGS,
    REFUSALS,
    connected,
    translated_errors,
)

PASSWORD = "hunter2 'and\\more"
CONFIG = PostgresqlConfig(
    host="db.example.com",
    port=5432,
    database="shop",
    username="reader",
    password=Secret("postgresql_password", PASSWORD),
    query="SELECT 1",
    base_query=None,
    sslmode="prefer",
    sslrootcert=None,
    partition_column=None,
)


def driver_error(sqlstate: str, text: str = "secret-value") -> psycopg2.Error:
    """Return the error the driver raises for a state. It has the state only where a server sent one, or a pickle."""
    error = psycopg2.DatabaseError(text)
    error.__setstate__({"pgcode": sqlstate})
    return error


# SQLSTATE → which row of the table it means, and of which kind.
STATES = {
    "ABC12": ("", SourceQueryError),
    "08006": ("08", SourceUnavailableError),
    "0A000": ("0A", SourceQueryError),
    "21000": ("21", SourceQueryError),
    "22P02": ("22", SourceQueryError),
    "22021": ("22021", SourceQueryError),
    "25006": ("25", SourceQueryError),
    "25P04": ("25P04", SourceQueryError),
    "28P01": ("28", SourceQueryError),
    "3D000": ("3D", SourceQueryError),
    "40001": ("40", SourceBusyError),
    "42501": ("42501", MissingRightError),
    "42601": ("42601", SourceQueryError),
    "42703": ("42703", SourceQueryError),
    "42P01": ("42P01", SourceQueryError),
    "42883": ("42", SourceQueryError),
    "53300": ("53", SourceUnavailableError),
    "55000": ("55", SourceQueryError),
    "55P03": ("55P03", SourceBusyError),
    "57P01": ("57", SourceUnavailableError),
    "57014": ("57014", SourceQueryError),
    "58030": ("58", SourceUnavailableError),
    "P0001": ("P0", SourceQueryError),
    "XX000": ("XX", SourceQueryError),
}


@pytest.mark.parametrize("sqlstate", STATES)
def test_error_meaning(sqlstate: str) -> None:
    row, kind = STATES[sqlstate]
    with pytest.raises(SourceError) as caught, translated_errors():
        raise driver_error(sqlstate)
    assert type(caught.value) is kind
    assert str(caught.value) == f"PostgreSQL: DatabaseError (SQLSTATE {sqlstate}): {ERROR_MEANINGS[row].remedy}"
    assert "secret-value" not in "".join(traceback.format_exception(caught.value))


def test_every_row_of_error_meanings_has_a_case() -> None:
    assert {row for row, _ in STATES.values()} == set(ERROR_MEANINGS)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(
            psycopg2.OperationalError(
                "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
                "\tbefore or while processing the request.\n"
            ),
            "PostgreSQL: the connection was lost: server closed the connection unexpectedly: This probably means the "
            "server terminated abnormally before or while processing the request: run the job again",
            id="with a reason",
        ),
        pytest.param(
            psycopg2.DatabaseError("error with status PGRES_COPY_OUT and no message from the libpq"),
            "PostgreSQL: the connection was lost: run the job again",
            id="without one",
        ),
        pytest.param(
            psycopg2.InterfaceError("connection already closed"),
            "PostgreSQL: the connection was lost: connection already closed: run the job again",
            id="noticed late",
        ),
    ],
)
def test_a_lost_connection(error: psycopg2.Error, message: str) -> None:
    with pytest.raises(SourceUnavailableError) as caught, translated_errors():
        raise error
    assert str(caught.value) == message


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translated_errors():
        raise ZeroDivisionError


def refused(monkeypatch: pytest.MonkeyPatch, reason: str) -> SourceError:
    """Return the error of connecting to a server that answers with `reason`."""

    def connect(**settings: object) -> None:
        assert settings["password"] == PASSWORD
        raise psycopg2.OperationalError(reason)

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(SourceError) as caught, connected(CONFIG, 0):
        pass
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(pickle.loads(pickle.dumps(caught.value)))
    assert "\n" not in str(caught.value)
    return caught.value


def on_one_line(reason: str) -> str:
    return " ".join(reason.strip().removesuffix(".").replace("\n\t", ": ").replace("\n", "; ").split())


SERVER = 'connection to server at "db.example.com" (10.0.0.1), port 5432 failed: '

# What libpq and the server say → the row of REFUSALS, by its position.
REFUSED = [
    pytest.param(f'{SERVER}FATAL:  password authentication failed for user "reader"\n', 2, id="password"),
    pytest.param(f'{SERVER}FATAL:  LDAP authentication failed for user "reader"\n', 2, id="ldap"),
    pytest.param(f"{SERVER}fe_sendauth: no password supplied\n", 3, id="no password"),
    pytest.param(f'{SERVER}FATAL:  role "reader" does not exist\n', 4, id="role"),
    pytest.param(f'{SERVER}FATAL:  role "reader" is not permitted to log in\n', 4, id="nologin"),
    pytest.param(f'{SERVER}FATAL:  database "shop" does not exist\n', 5, id="database"),
    pytest.param(f'{SERVER}FATAL:  database "shop" is not currently accepting connections\n', 5, id="closed database"),
    pytest.param(
        f'{SERVER}FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "reader", database "shop", no encryption\n',
        6,
        id="no pg_hba.conf entry",
    ),
    pytest.param(
        f'{SERVER}FATAL:  pg_hba.conf rejects connection for host "10.0.0.2", user "reader", database "shop"\n',
        6,
        id="pg_hba.conf rejects",
    ),
    pytest.param(
        f'{SERVER}FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.\n',
        7,
        id="connect privilege",
    ),
    pytest.param(f"{SERVER}server does not support SSL, but SSL was required\n", 8, id="no tls"),
    pytest.param(f"{SERVER}SSL error: certificate verify failed\n", 9, id="certificate"),
    pytest.param(
        f'{SERVER}server certificate for "sql" does not match host name "db.example.com"\n', 10, id="host name"
    ),
    pytest.param(f'{SERVER}root certificate file "/home/sync/.postgresql/root.crt" does not exist\n', 11, id="no root"),
    pytest.param(
        'could not translate host name "db.example.com" to address: Name or service not known\n', 15, id="unknown host"
    ),
    pytest.param(
        f'{SERVER}authentication method requirement "scram-sha-256" failed: server requested MD5 authentication\n',
        0,
        id="not SCRAM",
    ),
    pytest.param(
        f'{SERVER}FATAL:  certificate authentication failed for user "reader"\n', 1, id="certificate of another user"
    ),
    pytest.param(f"{SERVER}FATAL:  connection requires a valid client certificate\n", 12, id="no client certificate"),
    pytest.param(f"{SERVER}SSL error: tlsv1 alert unknown ca\n", 13, id="unknown client certificate"),
    pytest.param(f"{SERVER}SSL error: sslv3 alert certificate revoked\n", 13, id="revoked client certificate"),
    pytest.param(
        f'{SERVER}could not load private key file "/tmp/k.pem": key values mismatch\n', 14, id="key of another"
    ),
]


@pytest.mark.parametrize(("reason", "row"), REFUSED)
def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch, reason: str, row: int) -> None:
    error = refused(monkeypatch, reason)
    assert type(error) is SourceQueryError
    assert str(error) == f"PostgreSQL rejected the connection: {on_one_line(reason)}: {REFUSALS[row][1]}"


def test_every_refusal_has_a_case() -> None:
    assert {case.values[1] for case in REFUSED} == set(range(len(REFUSALS)))
    for words, _ in REFUSALS:
        re.compile(words)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        pytest.param(
            f"{SERVER}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n",
            "PostgreSQL cannot be reached at db.example.com:5432",
            id="connection refused",
        ),
        pytest.param(f"{SERVER}timeout expired\n", "PostgreSQL cannot be reached at db.example.com:5432", id="timeout"),
        pytest.param(
            'could not translate host name "db.example.com" to address: Temporary failure in name resolution\n',
            "PostgreSQL cannot be reached at db.example.com:5432",
            id="name server away",
        ),
        pytest.param(
            f"{SERVER}FATAL:  the database system is starting up\n",
            "PostgreSQL did not accept the connection",
            id="starting up",
        ),
        pytest.param(
            f"{SERVER}FATAL:  the database system is shutting down\n",
            "PostgreSQL did not accept the connection",
            id="shutting down",
        ),
        pytest.param(
            f"{SERVER}FATAL:  sorry, too many clients already\n",
            "PostgreSQL did not accept the connection",
            id="too many clients",
        ),
        pytest.param(
            f"{SERVER}FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n",
            "PostgreSQL did not accept the connection",
            id="reserved slots",
        ),
        pytest.param(
            f'{SERVER}FATAL:  too many connections for role "reader"\n',
            "PostgreSQL did not accept the connection",
            id="too many for the role",
        ),
        pytest.param(
            f'{SERVER}FATAL:  too many connections for database "shop"\n',
            "PostgreSQL did not accept the connection",
            id="too many for the database",
        ),
    ],
)
def test_what_may_pass_is_transient(monkeypatch: pytest.MonkeyPatch, reason: str, message: str) -> None:
    error = refused(monkeypatch, reason)
    assert type(error) is SourceUnavailableError
    assert str(error).startswith(f"{message}: {on_one_line(reason)}: ")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param("timeout expired\n", "timeout expired", id="one line"),
        pytest.param(
            "Connection refused\n\tIs the server running on that host?\n",
            "Connection refused: Is the server running on that host?",
            id="with a question",
        ),
        pytest.param(
            "server closed it\n\tThis means that it ended\n\tbefore the answer.\n",
            "server closed it: This means that it ended before the answer",
            id="an explanation on two lines",
        ),
        pytest.param(
            "to ::1 failed: timeout expired\nto 127.0.0.1 failed:  FATAL:  no\nDETAIL:  At all.\n\n",
            "to ::1 failed: timeout expired; to 127.0.0.1 failed: FATAL: no; DETAIL: At all",
            id="two attempts",
        ),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_libpq_says_is_shown_on_one_line(monkeypatch: pytest.MonkeyPatch, said: str, shown: str) -> None:
    assert f": {shown}: " in str(refused(monkeypatch, said))


def test_retries_wait_twice_as_long_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", waits.append)
    attempts: list[object] = []

    def connect(**settings: object) -> None:
        attempts.append(settings)
        raise psycopg2.OperationalError("Connection refused")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with caplog.at_level(logging.WARNING), pytest.raises(SourceUnavailableError), connected(CONFIG, 7):
        pass
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert len(attempts) == 8
    reason = "PostgreSQL cannot be reached at db.example.com:5432: Connection refused: check postgresql_host, "
    assert [record.getMessage().startswith(reason) for record in caplog.records] == [True] * 7
    assert caplog.messages[-1].endswith("; trying again in 30 s (7 of 7)")
    assert "hunter2" not in caplog.text


def test_a_refusal_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")

    def connect(**settings: object) -> None:
        raise psycopg2.OperationalError(f'{SERVER}FATAL:  database "shop" does not exist')

    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", sleep)
    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(SourceQueryError), connected(CONFIG, 7):
        pass


@pytest.mark.parametrize(
    ("location", "given"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("/etc/ssl/ca.pem", "/etc/ssl/ca.pem", id="a file of the worker"),
    ],
)
def test_certificate_on_the_worker(monkeypatch: pytest.MonkeyPatch, location: str | None, given: str | None) -> None:
    seen: list[object] = []

    def connect(**settings: object) -> None:
        seen.append(settings.get("sslrootcert"))
        raise psycopg2.OperationalError("Connection refused")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with (
        pytest.raises(SourceUnavailableError),
        connected(dataclasses.replace(CONFIG, sslrootcert=location), 0),
    ):
        pass
    assert seen == [given]


def test_certificate_in_cloud_storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remote = tmp_path / "ca.pem"
    remote.write_bytes(b"-----BEGIN CERTIFICATE-----")
    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems.open", lambda location, **_: remote.open("rb"))
    seen: list[tuple[str, bytes]] = []

    def connect(**settings: object) -> None:
        local = Path(str(settings["sslrootcert"]))
        seen.append((str(local), local.read_bytes()))
        raise psycopg2.OperationalError("Connection refused")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with (
        pytest.raises(SourceUnavailableError),
        connected(dataclasses.replace(CONFIG, sslrootcert="gs://bucket/ca.pem"), 0),
    ):
        pass
    [(local, content)] = seen
    assert content == b"-----BEGIN CERTIFICATE-----\n"
    assert not Path(local).exists()


def test_certificate_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_object(location: str, **_: object) -> None:
        raise FileNotFoundError(location)

    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems.open", no_such_object)
    with (
        pytest.raises(ConfigError) as caught,
        connected(dataclasses.replace(CONFIG, sslrootcert="gs://bucket/ca.pem"), 0),
    ):
        pass
    assert caught.value.problems == (
        "postgresql_sslrootcert: gs://bucket/ca.pem cannot be read (FileNotFoundError): check its name and permissions",
    )
