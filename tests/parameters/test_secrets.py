from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import ResourceExhausted, RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.cloud.secretmanager import AccessSecretVersionResponse, SecretManagerServiceClient

from sync_pipeline.errors import ConfigError, SourceUnavailableError
from sync_pipeline.parameters.secrets import EMULATOR_VARIABLE, Secret, looks_like_a_name, secrets_in
from tests.secret_manager import secret_manager

NAME = "projects/my-project/secrets/postgresql-password/versions/latest"
REGIONAL = "projects/p/locations/europe-west3/secrets/s/versions/1"
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
    "projects/p/secrets/internal/versions/1": grpc.StatusCode.INTERNAL,
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
    with pytest.raises(AttributeError, match="is immutable"):
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
        pytest.param(REGIONAL, True, True, id="regional"),
        pytest.param("projects/p/locations/evil.com#/secrets/s/versions/1", False, True, id="no location"),
        pytest.param("env:PASSWORD", False, True, id="variable"),
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
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
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


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("slow", "Secret Manager could not be reached for {} (DeadlineExceeded)"),
        ("broken", "Secret Manager could not be reached for {} (DataLoss)"),
        ("internal", "Secret Manager could not be reached for {} (InternalServerError)"),
    ],
)
def test_what_may_pass(secret: str, reason: str, connect: Callable[[], SecretManagerServiceClient]) -> None:
    name = f"projects/p/secrets/{secret}/versions/1"
    with pytest.raises(SourceUnavailableError) as caught:
        Secret("postgresql_password", name).resolve(connect)
    assert str(caught.value) == f"postgresql_password: {reason.format(name)}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransportError("metadata"), "Secret Manager could not be reached for {} (TransportError)"),
        (ResourceExhausted("quota"), "Secret Manager's quota is used up for {}"),
        (RetryError("given up", None), "Secret Manager could not be reached for {} (RetryError)"),
    ],
)
def test_what_may_pass_before_there_is_an_answer(error: Exception, reason: str) -> None:
    def connect() -> SecretManagerServiceClient:
        raise error

    with pytest.raises(SourceUnavailableError) as caught:
        Secret("postgresql_password", NAME).resolve(connect)
    assert str(caught.value) == f"postgresql_password: {reason.format(NAME)}"


def test_regional_secret_is_asked_for_in_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client(SecretManagerServiceClient):
        def __init__(self, **given: Any) -> None:
            super().__init__(credentials=AnonymousCredentials(), **given)

        def access_secret_version(self, name: str) -> AccessSecretVersionResponse:  # type: ignore[override]
            return AccessSecretVersionResponse(payload={"data": f"{self.api_endpoint} {name}".encode()})

    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    monkeypatch.setattr("google.cloud.secretmanager.SecretManagerServiceClient", Client)
    assert Secret("p", REGIONAL).resolve() == f"secretmanager.europe-west3.rep.googleapis.com {REGIONAL}"
    assert Secret("p", NAME).resolve() == f"secretmanager.googleapis.com {NAME}"


def test_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("postgresql_password", "env:PASSWORD_OF_TEST")
    assert (secret.variable, secret.is_plain, secret.is_name) == ("PASSWORD_OF_TEST", False, False)
    monkeypatch.setenv("PASSWORD_OF_TEST", " hunter2 ")
    assert b"hunter2" not in pickle.dumps(secret)
    assert secret.resolve() == " hunter2 "
    monkeypatch.setenv("PASSWORD_OF_TEST", "")
    with pytest.raises(ConfigError) as caught:
        secret.resolve()
    assert caught.value.problems == (
        "postgresql_password: the environment has no variable PASSWORD_OF_TEST: set it where the run is started",
    )


def test_secrets_are_found_wherever_they_are() -> None:
    @dataclasses.dataclass(frozen=True)
    class Server:
        host: str
        password: Secret | None

    @dataclasses.dataclass(frozen=True)
    class Config:
        server: Server
        key: Secret

    key = Secret("key", "k")
    password = Secret("password", "p")
    assert list(secrets_in(Config(Server("h", password), key))) == [password, key]
    assert list(secrets_in(Config(Server("h", None), key))) == [key]


def test_no_credentials() -> None:
    def connect() -> SecretManagerServiceClient:
        raise DefaultCredentialsError("none")

    with pytest.raises(ConfigError, match="run the job with a service account"):
        Secret("postgresql_password", NAME).resolve(connect)
