"""Servers that really speak TLS: what is good is taken, and every refusal is one error with parameter and remedy."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sync_pipeline.errors import ConfigError, SourceQueryError, SourceUnavailableError, SyncError
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb import connection as of_mongodb
from sync_pipeline.sources.mongodb import transport as mongodb_transport
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.postgresql import connection as of_postgresql
from sync_pipeline.sources.postgresql import managed
from sync_pipeline.sources.postgresql import transport as postgresql_transport
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from tests.admin_api import admin_api
from tests.certificates import Authority, Pair, written
from tests.integration import tls_servers
from tests.integration.tls_servers import PASSWORD, TlsServer

EXPIRED = -timedelta(days=1)


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[TlsServer]:
    programs = tls_servers.postgresql_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server that speaks TLS here: apt-get install postgresql")
    with tls_servers.postgresql_with_tls(programs) as server:
        yield server


@pytest.fixture(scope="module")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    with tls_servers.mongodb_with_tls(tmp_path_factory.mktemp("mongodb-tls")) as server:
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the product makes its files; nothing is left there after a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def postgresql_config(port: int, folder: Path, authority: Authority, **changes: object) -> PostgresqlConfig:
    config = PostgresqlConfig(
        host="127.0.0.1",
        port=port,
        database="postgres",
        username="reader",
        password=Secret("postgresql_password", PASSWORD),
        query="SELECT 1",
        base_query=None,
        sslmode="verify-full",
        sslrootcert=written(folder, "authority.pem", authority.certificate),
        partition_column=None,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def mongodb_config(port: int, folder: Path, authority: Authority, **changes: object) -> MongodbConfig:
    config = MongodbConfig(
        host="127.0.0.1",
        port=port,
        database="shop",
        collection="items",
        username="reader",
        password=Secret("mongodb_password", PASSWORD),
        connection_string=None,
        query=None,
        projection=None,
        tls_ca=written(folder, "authority.pem", authority.certificate),
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def client_of(pair: Pair, folder: Path) -> dict[str, object]:
    """The certificate in a file, the key as the secret itself."""
    location = written(folder, "client.pem", pair.certificate)
    return {"sslcert": location, "sslkey": Secret("postgresql_sslkey", pair.key, may_be_file=True)}


def refused(config: PostgresqlConfig | MongodbConfig) -> SyncError:
    connected = of_postgresql.connected if isinstance(config, PostgresqlConfig) else of_mongodb.connected
    with pytest.raises(SyncError) as caught, connected(config, 0):  # type: ignore[operator]
        pass
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, "the server's certificate and name are verified", id="verify-full"),
        pytest.param({"sslmode": "verify-ca"}, "the server's certificate is verified, not its name", id="verify-ca"),
        pytest.param({"sslmode": "require"}, "the server's certificate is verified, not its name", id="with a root"),
        pytest.param({"sslmode": "require", "sslrootcert": None}, "the server is not verified", id="require"),
        pytest.param({"sslmode": "prefer", "sslrootcert": None}, "the server is not verified", id="prefer"),
        pytest.param(
            {"require_auth": "scram-sha-256"}, "the server's certificate and name are verified", id="SCRAM required"
        ),
    ],
)
def test_postgresql(
    postgresql_server: TlsServer, tmp_path: Path, temporary: Path, changes: dict[str, object], said: str
) -> None:
    config = postgresql_config(postgresql_server.port, tmp_path, postgresql_server.authority, **changes)
    with of_postgresql.connected(config, 0) as connection:
        assert postgresql_transport.protection(config, connection) == f"TLSv1.3, {said}"
        # This machine's own servers need no warning; any other would.
        assert postgresql_transport.transport_risks(config, connection) == []
        elsewhere = dataclasses.replace(config, host="db.example.com")
        risks = postgresql_transport.transport_risks(elsewhere, connection)
        assert bool(risks) == ("not verified" in said), risks


def test_postgresql_without_encryption(postgresql_server: TlsServer, tmp_path: Path) -> None:
    config = postgresql_config(
        postgresql_server.port, tmp_path, postgresql_server.authority, sslmode="disable", username="open"
    )
    with of_postgresql.connected(config, 0) as connection:
        config = dataclasses.replace(config, host="db.example.com")
        assert postgresql_transport.protection(config, connection) == "not encrypted"
        assert postgresql_transport.transport_risks(config, connection) == [
            (
                "postgresql_sslmode is disable, and the connection is not encrypted: the rows and the login can be "
                "read in transit; use verify-full, or verify-ca, with postgresql_sslrootcert"
            )
        ]


@pytest.mark.parametrize("holds", ["a file", "Secret Manager", "the environment"])
def test_postgresql_login_by_certificate(
    postgresql_server: TlsServer, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, holds: str
) -> None:
    pair, authority = postgresql_server.client, postgresql_server.authority
    key = {
        "a file": written(tmp_path, "client.key", pair.key),
        "Secret Manager": "projects/p/secrets/key/versions/1",
        "the environment": "env:KEY_OF_TEST",
    }[holds]
    monkeypatch.setenv("KEY_OF_TEST", pair.key)
    held = {"projects/p/secrets/key/versions/1": pair.key, "projects/p/secrets/ca/versions/1": authority.certificate}
    monkeypatch.setattr("sync_pipeline.parameters.secrets._access", lambda _, name, __: held[name])
    config = postgresql_config(
        postgresql_server.port,
        tmp_path,
        authority,
        username="certified",
        password=None,
        sslcert=written(tmp_path, "client.pem", pair.certificate),
        sslkey=Secret("postgresql_sslkey", key, may_be_file=True),
        sslrootcert="projects/p/secrets/ca/versions/1",
    )
    with of_postgresql.connected(config, 0) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("certified",)


@pytest.mark.parametrize("mode", ["GOOGLE_MANAGED_INTERNAL_CA", "GOOGLE_MANAGED_CAS_CA"])
def test_cloud_sql_with_iam_login(
    postgresql_server: TlsServer, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    settings = {
        "databaseVersion": "POSTGRES_15",
        "region": "us-central1",
        "serverCaCert": {"cert": postgresql_server.authority.certificate},
        "serverCaMode": mode,
        "dnsName": "localhost.",
        "ipAddresses": [{"type": "PRIVATE", "ipAddress": "127.0.0.1"}],
    }
    config = postgresql_config(
        postgresql_server.port,
        tmp_path,
        postgresql_server.authority,
        host=None,
        username="plain.gserviceaccount.com",
        password=None,
        sslmode="prefer",
        sslrootcert=None,
        instance="my-project:us-central1:shop",
        iam_login=True,
    )
    with admin_api(monkeypatch, login=PASSWORD) as api:
        api.cloud_sql("my-project", "shop", settings)
        with of_postgresql.connected(config, 0) as connection:
            verified = "certificate and name are" if mode == "GOOGLE_MANAGED_CAS_CA" else "certificate is"
            assert f"TLSv1.3, the server's {verified}" in postgresql_transport.protection(config, connection)
            assert postgresql_transport.transport_risks(config, connection) == []
        # Another server at that address is not believed.
        managed.find_instance.cache_clear()
        api.cloud_sql("my-project", "shop", settings | {"serverCaCert": {"cert": Authority().certificate}})
        assert "check that postgresql_sslrootcert is" in str(refused(config))


AUTHORITY = (
    "SSL error: certificate verify failed: check that postgresql_sslrootcert is the certificate of the authority that "
    "signed the server's certificate, and that the server's certificate has not expired"
)


@pytest.mark.parametrize(
    ("sign", "message"),
    [
        pytest.param(lambda good: good.sign("s", hosts=("127.0.0.1",), valid=EXPIRED), AUTHORITY, id="expired"),
        pytest.param(lambda _: Authority("Other").sign("s", hosts=("127.0.0.1",)), AUTHORITY, id="other authority"),
        pytest.param(
            lambda _: Authority().sign("s", hosts=("127.0.0.1",)),
            AUTHORITY.replace("certificate verify failed", "provider signature failure", 1),
            id="other authority of the same name",
        ),
        pytest.param(
            lambda good: good.sign("s", hosts=("db.example.com",)),
            'server certificate for "db.example.com" (and 1 other name) does not match host name "127.0.0.1": give the '
            "name in the server's certificate as postgresql_host, or use postgresql_sslmode=verify-ca",
            id="wrong host",
        ),
    ],
)
def test_postgresql_server_is_refused(
    tmp_path: Path, temporary: Path, sign: Callable[[Authority], Pair], message: str
) -> None:
    authority = Authority()
    with tls_servers.handshakes(sign(authority), tmp_path, is_postgresql=True) as port:
        error = refused(postgresql_config(port, tmp_path, authority))
    assert type(error) is SourceQueryError
    assert str(error) == (
        f'PostgreSQL rejected the connection: connection to server at "127.0.0.1", port {port} failed: {message}'
    )


NOT_TAKEN = (
    "the server rejected the client certificate: check postgresql_sslcert, which may be expired, revoked, or issued "
    "by an authority that the server does not know"
)


@pytest.mark.parametrize(
    ("choose", "remedy"),
    [
        pytest.param(lambda server: server.revoked, NOT_TAKEN, id="revoked"),
        pytest.param(lambda server: server.authority.sign("certified", valid=EXPIRED), NOT_TAKEN, id="expired"),
        pytest.param(lambda _: Authority("Other").sign("certified"), NOT_TAKEN, id="other authority"),
        pytest.param(
            lambda server: server.authority.sign("somebody"),
            "give the user in postgresql_sslcert as postgresql_username, or map them in the server's pg_ident.conf",
            id="other user",
        ),
        pytest.param(
            lambda _: None,
            "the server requires a client certificate: give postgresql_sslcert and postgresql_sslkey",
            id="none",
        ),
        pytest.param(
            lambda server: Pair(server.client.certificate, server.revoked.key),
            "check postgresql_sslcert and postgresql_sslkey",
            id="key of another",
        ),
    ],
)
def test_postgresql_client_is_refused(
    postgresql_server: TlsServer,
    tmp_path: Path,
    temporary: Path,
    choose: Callable[[TlsServer], Pair | None],
    remedy: str,
) -> None:
    pair = choose(postgresql_server)
    shows = client_of(pair, tmp_path) if pair is not None else {}
    config = postgresql_config(
        postgresql_server.port, tmp_path, postgresql_server.authority, username="certified", password=None, **shows
    )
    error = refused(config)
    assert type(error) is SourceQueryError
    assert str(error).startswith("PostgreSQL rejected the connection: ")
    assert str(error).endswith(f": {remedy}")
    assert "\n" not in str(error)


def test_postgresql_that_asks_for_the_password_in_the_clear(postgresql_server: TlsServer, tmp_path: Path) -> None:
    config = postgresql_config(postgresql_server.port, tmp_path, postgresql_server.authority, username="plain")
    with of_postgresql.connected(config, 0):
        pass
    error = refused(dataclasses.replace(config, require_auth="scram-sha-256"))
    assert type(error) is SourceQueryError
    assert "or use postgresql_require_auth=any" in str(error)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("hunter2", "postgresql_sslkey: it contains no private key in PEM format", id="no key"),
        pytest.param(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "postgresql_sslkey: the key is protected by a passphrase: give a key without one",
            id="passphrase",
        ),
    ],
)
def test_key_that_is_none(tmp_path: Path, temporary: Path, text: str, problem: str) -> None:
    location = written(tmp_path, "client.pem", Authority().certificate)
    key = Secret("postgresql_sslkey", written(tmp_path, "client.key", text), may_be_file=True)
    error = refused(postgresql_config(1, tmp_path, Authority(), sslcert=location, sslkey=key))
    assert type(error) is ConfigError
    assert str(error).startswith(problem)


@pytest.mark.parametrize(
    ("changes", "login"),
    [
        pytest.param({}, "", id="password"),
        pytest.param({"username": None, "password": None}, ", login with the client certificate", id="certificate"),
        pytest.param(
            {
                "host": None,
                "username": None,
                "password": None,
                "connection_string": Secret("mongodb_connection_string", "mongodb://localhost:{port}/"),
            },
            ", login with the client certificate",
            id="certificate and connection string",
        ),
    ],
)
def test_mongodb(
    mongodb_server: TlsServer, tmp_path: Path, temporary: Path, changes: dict[str, object], login: str
) -> None:
    given = changes.get("connection_string")
    if isinstance(given, Secret):
        uri = given.resolve().format(port=mongodb_server.port)
        changes = {**changes, "connection_string": Secret(given.parameter, uri)}
    config = mongodb_config(
        mongodb_server.port,
        tmp_path,
        mongodb_server.authority,
        tls_certificate_key=Secret("mongodb_tls_certificate_key", mongodb_server.client.both),
        **changes,
    )
    with of_mongodb.connected(config, 0) as collection:
        assert collection.find_one() == {"_id": 1}
    said = f"TLS, the server's certificate and name are verified{login}"
    uri = mongodb_transport.resolved(config)
    assert (mongodb_transport.protection(config, uri), mongodb_transport.transport_risks(config, uri)) == (said, [])


@pytest.mark.parametrize(
    ("sign", "remedy"),
    [
        pytest.param(
            lambda good: good.sign("s", hosts=("127.0.0.1",), valid=EXPIRED),
            "renew the server's certificate",
            id="expired",
        ),
        pytest.param(
            lambda _: Authority("Other").sign("s", hosts=("127.0.0.1",)),
            "check mongodb_tls_ca, or tlsCAFile in mongodb_connection_string: it must be the certificate of the "
            "authority that signed the server's certificate",
            id="other authority",
        ),
        pytest.param(
            lambda good: good.sign("s", hosts=("10.0.0.1",)),
            "give the name in the server's certificate as the host",
            id="wrong host",
        ),
    ],
)
def test_mongodb_server_is_refused(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, sign: Callable[[Authority], Pair], remedy: str
) -> None:
    for limit in ("SELECTION_SECONDS", "CONNECT_TIMEOUT_SECONDS"):
        monkeypatch.setattr(of_mongodb, limit, 1)
    authority = Authority()
    with tls_servers.handshakes(sign(authority), tmp_path, is_postgresql=False) as port:
        error = refused(mongodb_config(port, tmp_path, authority))
    assert type(error) is SourceQueryError
    assert str(error).startswith("MongoDB rejected the connection: ")
    assert str(error).endswith(f": {remedy}")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "choose",
    [
        pytest.param(lambda server: server.revoked, id="revoked"),
        pytest.param(lambda _: Authority("Other").sign("client"), id="other authority"),
        pytest.param(lambda _: None, id="none"),
    ],
)
def test_mongodb_client_is_refused(
    mongodb_server: TlsServer,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    choose: Callable[[TlsServer], Pair | None],
) -> None:
    for limit in ("SELECTION_SECONDS", "CONNECT_TIMEOUT_SECONDS"):
        monkeypatch.setattr(of_mongodb, limit, 1)
    pair = choose(mongodb_server)
    key = Secret("mongodb_tls_certificate_key", pair.both) if pair is not None else None
    error = refused(mongodb_config(mongodb_server.port, tmp_path, mongodb_server.authority, tls_certificate_key=key))
    # After a handshake of TLS 1.3, which is over for the client before the server has seen the certificate.
    assert type(error) is SourceUnavailableError
    assert (
        "(a server closes the connection if it requires a client certificate and rejects it: check "
        "mongodb_tls_certificate_key, which may be missing, expired, revoked, or issued by another authority)"
    ) in str(error)
    assert "\n" not in str(error)


def test_mongodb_user_of_the_certificate_is_unknown(mongodb_server: TlsServer, tmp_path: Path) -> None:
    pair = mongodb_server.authority.sign("somebody")
    config = mongodb_config(
        mongodb_server.port,
        tmp_path,
        mongodb_server.authority,
        username=None,
        password=None,
        tls_certificate_key=Secret("mongodb_tls_certificate_key", pair.both),
    )
    error = refused(config)
    assert type(error) is SourceQueryError
    assert "create the user that the certificate names" in str(error)


def test_mongodb_connection_string_that_turns_tls_off(tmp_path: Path) -> None:
    uri = Secret("mongodb_connection_string", f"mongodb://reader:{PASSWORD}@127.0.0.1/?tls=false")
    error = refused(mongodb_config(1, tmp_path, Authority(), connection_string=uri))
    assert str(error) == ("mongodb_tls_ca requires TLS, but mongodb_connection_string disables it: remove tls=false")
