from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.secretmanager import SecretManagerServiceClient

from sync_pipeline.errors import ConfigError, SourceUnavailableError
from sync_pipeline.secrets import Secret, looks_like_a_name
from tests.secret_manager import secret_manager

NAME = "projects/my-project/secrets/postgresql-password/versions/latest"
ANSWERS: dict[str, bytes | grpc.StatusCode] = {
    NAME: b"hunter2",
    "projects/p/secrets/newline/versions/1": b"hunter2\n",
    "projects/p/secrets/bytes/versions/1": b"hunter2\xff",
    "projects/p/secrets/denied/versions/1": grpc.StatusCode.PERMISSION_DENIED,
    "projects/p/secrets/missing/versions/1": grpc.StatusCode.NOT_FOUND,
    "projects/p/secrets/disabled/versions/1": grpc.StatusCode.FAILED_PRECONDITION,
    "projects/p/secrets/anonymous/versions/1": grpc.StatusCode.UNAUTHENTICATED,
    "projects/p/secrets/invalid/versions/1": grpc.StatusCode.INVALID_ARGUMENT,
    "projects/p/secrets/broken/versions/1": grpc.StatusCode.DATA_LOSS,
    "projects/p/secrets/slow/versions/1": grpc.StatusCode.DEADLINE_EXCEEDED,
}


@pytest.fixture(scope="module")
def connect() -> Iterator[Callable[[], SecretManagerServiceClient]]:
    """Returns a client of a server that speaks Secret Manager's protocol."""
    with secret_manager(ANSWERS.__getitem__) as connect:
        yield connect


@pytest.mark.parametrize("value", ["hunter2", NAME], ids=["plain", "name"])
def test_value_is_never_shown(value: str) -> None:
    secret = Secret("postgresql_password", value)
    for text in (repr(secret), str(secret), f"{secret}", repr([secret]), repr(pickle.loads(pickle.dumps(secret)))):
        assert value not in text
    assert repr(secret) == "Secret('postgresql_password', ***)"


def test_value_is_not_shown_by_a_dataclass_around_it() -> None:
    @dataclasses.dataclass(frozen=True)
    class Server:
        password: Secret

    assert "hunter2" not in str(dataclasses.asdict(Server(Secret("postgresql_password", "hunter2"))))


def test_does_not_change() -> None:
    secret = Secret("postgresql_password", "hunter2")
    with pytest.raises(AttributeError, match="does not change"):
        secret._value = "other"
    assert secret.resolve() == "hunter2"


def test_equality() -> None:
    secret = Secret("postgresql_password", "hunter2")
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert hash(pickle.loads(pickle.dumps(secret))) == hash(secret)
    assert secret != Secret("postgresql_password", "other")
    assert secret != Secret("mongodb_password", "hunter2")
    assert secret != "hunter2"


@pytest.mark.parametrize(
    ("value", "is_name", "looks_like_one"),
    [
        pytest.param(NAME, True, True, id="name"),
        pytest.param("projects/123/secrets/s/versions/7", True, True, id="numbers"),
        pytest.param("projects/p/secrets/s", False, True, id="without a version"),
        pytest.param(f" {NAME}\n/", False, True, id="with more around"),
        pytest.param("projects/p/locations/l/secrets/s/versions/1", False, True, id="regional"),
        pytest.param("hunter2", False, False, id="password"),
        pytest.param("projects/p", False, False, id="password like a path"),
        pytest.param("hunter2/secrets/x", False, False, id="password with a path in it"),
    ],
)
def test_is_name(value: str, is_name: bool, looks_like_one: bool) -> None:
    assert Secret("postgresql_password", value).is_name is is_name
    assert looks_like_a_name(value) is looks_like_one


def test_plain_value_needs_no_connection() -> None:
    def connect() -> SecretManagerServiceClient:
        raise AssertionError

    assert Secret("postgresql_password", " hunter2\n").resolve(connect) == " hunter2\n"


def test_name_is_resolved(connect: Callable[[], SecretManagerServiceClient]) -> None:
    assert Secret("postgresql_password", NAME).resolve(connect) == "hunter2"


def test_client_is_opened_where_none_is_handed_in(
    connect: Callable[[], SecretManagerServiceClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.cloud.secretmanager.SecretManagerServiceClient", connect)
    assert Secret("postgresql_password", NAME).resolve() == "hunter2"


def test_line_end_that_was_stored_with_the_secret(connect: Callable[[], SecretManagerServiceClient]) -> None:
    assert Secret("postgresql_password", "projects/p/secrets/newline/versions/1").resolve(connect) == "hunter2"


@pytest.mark.parametrize(
    ("secret", "remedy"),
    [
        ("denied", "grant the role roles/secretmanager.secretAccessor on it to the job's service account"),
        ("missing", "there is no such secret or version; check project, secret and version"),
        ("disabled", "the version is disabled or destroyed; enable it or name another one"),
        ("anonymous", "run the job with a service account, or with application default credentials"),
        ("invalid", "the name is not valid; write projects/PROJECT/secrets/SECRET/versions/VERSION"),
        ("broken", "DataLoss"),
    ],
)
def test_refusal_names_parameter_and_remedy(
    secret: str, remedy: str, connect: Callable[[], SecretManagerServiceClient]
) -> None:
    name = f"projects/p/secrets/{secret}/versions/1"
    with pytest.raises(ConfigError) as caught:
        Secret("postgresql_password", name).resolve(connect)
    assert caught.value.problems == (f"postgresql_password: {name} cannot be read: {remedy}",)


def test_secret_that_is_not_text(connect: Callable[[], SecretManagerServiceClient]) -> None:
    name = "projects/p/secrets/bytes/versions/1"
    with pytest.raises(ConfigError) as caught:
        Secret("mongodb_password", name).resolve(connect)
    assert caught.value.problems == (f"mongodb_password: {name} does not hold text in UTF-8",)
    assert caught.value.__suppress_context__


def test_secret_manager_is_out_of_reach(connect: Callable[[], SecretManagerServiceClient]) -> None:
    name = "projects/p/secrets/slow/versions/1"
    with pytest.raises(SourceUnavailableError, match=f"postgresql_password: Secret Manager .* for {name}"):
        Secret("postgresql_password", name).resolve(connect)


def test_no_credentials() -> None:
    def connect() -> SecretManagerServiceClient:
        raise DefaultCredentialsError("none")

    with pytest.raises(ConfigError, match="run the job with a service account"):
        Secret("postgresql_password", NAME).resolve(connect)
