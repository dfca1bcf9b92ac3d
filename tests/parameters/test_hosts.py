"""A host is a host: whatever may carry a password in its place is refused, and not quoted."""

from __future__ import annotations

import time

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.hosts import holds_password, without_passwords
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.table import PARAMETERS
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.postgresql.config import PostgresqlConfig

DESTINATION = {
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "production",
    "destination_bigquery_table": "users",
}
POSTGRESQL = DESTINATION | {
    "data_source": "postgresql",
    "postgresql_host": "db.example.com",
    "postgresql_database": "app",
    "postgresql_username": "reader",
    "postgresql_password": "projects/p/secrets/s/versions/1",
    "postgresql_query": "SELECT 1 AS a",
}
MONGODB = DESTINATION | {
    "data_source": "mongodb",
    "mongodb_host": "db.example.com",
    "mongodb_database": "app",
    "mongodb_collection": "users",
}
ALONE = "it must be only a host name or an address; use the separate parameters for user, password, port and database"
WITH_PASSWORD = (
    "it looks like an address with a password, which would be stored in plain text; passwords have a separate parameter"
)


def problems(parameters: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        SyncConfig.from_parameters(parameters)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        pytest.param("db.example.com", "db.example.com", id="name"),
        pytest.param(" db.example.com.", "db.example.com.", id="final point"),
        pytest.param("my_db-1", "my_db-1", id="short name"),
        pytest.param("10.0.0.5", "10.0.0.5", id="IPv4"),
        pytest.param("2001:DB8::1", "2001:db8::1", id="IPv6"),
        pytest.param("[2001:db8::1]", "2001:db8::1", id="IPv6 in brackets"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    for parameters, name in ((POSTGRESQL, "postgresql_host"), (MONGODB, "mongodb_host")):
        source = SyncConfig.from_parameters(parameters | {name: text}).source
        assert isinstance(source, PostgresqlConfig | MongodbConfig)
        assert source.host == host


def test_folder_of_a_unix_socket() -> None:
    host = "/cloudsql/my-project:us-central1:shop"
    source = SyncConfig.from_parameters(POSTGRESQL | {"postgresql_host": host}).source
    assert isinstance(source, PostgresqlConfig)
    assert source.host == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("postgresql://u:hunter2@h/db", ALONE, id="URI"),
        pytest.param("mongodb+srv://u:hunter2@h/db", ALONE, id="URI of a cluster"),
        pytest.param("u:hunter2@h", ALONE, id="user and password"),
        pytest.param("https://hunter2", ALONE, id="scheme"),
        pytest.param(
            "hunter2/db", "it must be only a host name or an address, without a database or a path", id="path"
        ),
        pytest.param("hunter2:abc", "it must be only a host name or an address; give the port as {}_port", id="port"),
        pytest.param("hunter2;x", "a host name has letters, digits, dashes and points", id="other signs"),
        pytest.param("-hunter2", "a host name has letters, digits, dashes and points", id="dash"),
        pytest.param("hunter2" * 40, "a host name has letters, digits, dashes and points", id="length"),
    ],
)
def test_what_is_no_host_is_not_quoted(text: str, reason: str) -> None:
    for parameters, source in ((POSTGRESQL, "postgresql"), (MONGODB, "mongodb")):
        found = problems(parameters | {f"{source}_host": text})
        assert found == [f"{source}_host cannot be used: {reason.format(source)}"]


@pytest.mark.parametrize("text", ["a,b", "a b", "a:1,b:2", "a hunter2"])
def test_several_hosts(text: str) -> None:
    assert problems(POSTGRESQL | {"postgresql_host": text}) == [
        "postgresql_host cannot be used: it must name one server; another server may not have all rows yet"
    ]
    assert problems(MONGODB | {"mongodb_host": text}) == [
        (
            "mongodb_host cannot be used: it must name one server; give the members of a replica set in "
            "mongodb_connection_string"
        )
    ]


@pytest.mark.parametrize(
    "name", [p.name for p in PARAMETERS if not p.secret and p.type is not ParameterType.HOST and not p.sources]
)
def test_address_with_a_password_in_a_wrong_place(name: str) -> None:
    found = problems(POSTGRESQL | {name: "postgresql://u:hunter2@h/db"})
    assert f"{name} cannot be used: {WITH_PASSWORD}" in found
    assert "hunter2" not in "".join(found)


def test_query_may_compare_with_such_an_address() -> None:
    query = "SELECT 'https://u:p@h' AS url"
    SyncConfig.from_parameters(POSTGRESQL | {"postgresql_query": query})


def test_file_in_a_bucket_is_no_address_with_a_password() -> None:
    location = "gs://bucket/a:b@c.pem"
    source = SyncConfig.from_parameters(
        POSTGRESQL | {"postgresql_sslmode": "verify-ca", "postgresql_sslrootcert": location}
    ).source
    assert isinstance(source, PostgresqlConfig)
    assert source.sslrootcert == location


def test_repeated_parameter_is_not_quoted_with_a_password() -> None:
    arguments = [f"--{name}={value}" for name, value in POSTGRESQL.items()]
    with pytest.raises(ConfigError) as caught:
        parse_command_line([*arguments, "--postgresql_host=u:hunter2@h"])
    assert caught.value.problems == ("postgresql_host is given 2 times with different values: 'db.example.com', '***'",)


def test_address_in_place_of_a_flag_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_command_line(["--mongodb://u:hunter2@h"])
    assert caught.value.problems[0].startswith("--*** is neither a parameter of this template nor an option of Beam")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("word", [":" * 1_000_000, "a:" * 500_000, "x://" + ":" * 1_000_000, "@" * 1_000_000])
def test_long_words_take_no_time(word: str) -> None:
    started = time.process_time()
    holds_password(word)
    without_passwords(f"{word} @ {word}")
    assert time.process_time() - started < 5


CLOUD_SQL = "my-project:us-central1:shop"
INSTANCE = {**POSTGRESQL, "postgresql_host": "", "postgresql_instance": CLOUD_SQL}
IAM = {**INSTANCE, "postgresql_password": "", "postgresql_iam_login": "true"}
CLUSTER = "projects/my-project/locations/us-central1/clusters/c/instances/shop"
IN_THE_CLEAR = (
    "postgresql_iam_login is true, and postgresql_sslmode is prefer: the token must not be sent unencrypted; use "
    "verify-full or verify-ca with postgresql_sslrootcert, or at least require"
)


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(INSTANCE, id="Cloud SQL"),
        pytest.param(INSTANCE | {"postgresql_instance": CLUSTER}, id="AlloyDB"),
        pytest.param(IAM, id="login"),
        pytest.param(IAM | {"postgresql_instance": CLUSTER, "postgresql_sslmode": "require"}, id="login at AlloyDB"),
        pytest.param(
            IAM | {"postgresql_instance": "", "postgresql_host": "h", "postgresql_sslmode": "require"},
            id="login at a host",
        ),
        pytest.param(IAM | {"postgresql_instance": "", "postgresql_host": "127.0.0.1"}, id="login by a proxy"),
    ],
)
def test_managed_instances(parameters: dict[str, str]) -> None:
    source = SyncConfig.from_parameters(parameters).source
    assert isinstance(source, PostgresqlConfig)
    assert source.server == (parameters["postgresql_instance"] or parameters["postgresql_host"])


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            INSTANCE | {"postgresql_instance": "shop"},
            "postgresql_instance is 'shop': use PROJECT:REGION:INSTANCE, or for AlloyDB "
            "projects/P/locations/L/clusters/C/instances/I",
            id="no instance",
        ),
        pytest.param(
            INSTANCE | {"postgresql_host": "h"},
            "postgresql_host and postgresql_instance are both given: omit one of them",
            id="host",
        ),
        pytest.param(
            INSTANCE | {"postgresql_sslmode": "require"},
            "postgresql_instance provides the certificate to verify the server: omit postgresql_sslmode",
            id="TLS mode",
        ),
        pytest.param(
            IAM | {"postgresql_password": "env:PASSWORD"},
            "postgresql_iam_login is true, and postgresql_password is given: omit one of them",
            id="password",
        ),
        pytest.param(
            IAM | {"postgresql_require_auth": "scram-sha-256"},
            "postgresql_iam_login is true, and its token does not work with postgresql_require_auth: omit the latter",
            id="SCRAM",
        ),
        pytest.param(IAM | {"postgresql_instance": CLUSTER}, IN_THE_CLEAR, id="AlloyDB in the clear"),
        pytest.param(IAM | {"postgresql_instance": "", "postgresql_host": "h"}, IN_THE_CLEAR, id="host in the clear"),
    ],
)
def test_contradictions_of_managed_instances(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]
