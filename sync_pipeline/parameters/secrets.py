"""Secret parameters: a plain value, or a name that is resolved where the secret is used.

A name is a version in Secret Manager, `projects/P/secrets/S/versions/V` or, for a regional secret,
`projects/P/locations/L/secrets/S/versions/V`; or an environment variable, `env:NAME`. A certificate or key may also be
in a file: `gs://BUCKET/OBJECT`, or a path.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sync_pipeline.errors import ConfigError, SourceUnavailableError
from sync_pipeline.parameters.files import read_file

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

_NAME = re.compile("projects/([^/]+)/(?:locations/([a-z0-9-]+)/)?secrets/([^/]+)/versions/([^/]+)")
# `host:port` of an emulator without TLS, for all regions. Google's client has no such variable.
EMULATOR_VARIABLE = "SECRET_MANAGER_EMULATOR_HOST"
# The syntax of the shell.
_VARIABLE = re.compile("env:([A-Za-z_][A-Za-z0-9_]*)")
# Certificates and keys have a few thousand.
_MAX_FILE_BYTES = 10_000_000
NAME_FORM = "projects/PROJECT/secrets/SECRET/versions/VERSION"
REGIONAL_NAME_FORM = "projects/PROJECT/locations/LOCATION/secrets/SECRET/versions/VERSION"

# Remedies by the class name of Google's error; the library is imported only when a secret is resolved.
_REMEDIES = {
    "PermissionDenied": "grant the role roles/secretmanager.secretAccessor on it to the job's service account",
    "Unauthenticated": "run the job with a service account, or with application default credentials",
    "NotFound": "there is no such secret or version; check project, secret and version",
    "FailedPrecondition": "the version is disabled or destroyed; enable it or name another one",
    "InvalidArgument": f"the name is not valid; write {NAME_FORM}",
}


def looks_like_a_name(value: str) -> bool:
    """Whether `value` begins like the name of a secret. If it is not a valid name, it is a mistake, not a password."""
    text = value.strip()
    return text.startswith("env:") or (text.startswith("projects/") and "/secrets/" in text)


class VersionName(NamedTuple):
    """The parts of the name of a version in Secret Manager; `location` is None for a global secret."""

    project: str
    location: str | None
    secret: str
    version: str


class Secret:
    """The value of a secret parameter. Neither `repr` nor `str` nor `dataclasses.asdict` shows it.

    Pickling includes a plain value, because workers need it; of a named secret it includes only the name. With
    `may_be_file`, the value may be the path of a file with a certificate or key.
    """

    __slots__ = ("_value", "may_be_file", "parameter")

    parameter: str
    may_be_file: bool
    _value: str

    def __init__(self, parameter: str, value: str, *, may_be_file: bool = False) -> None:
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "may_be_file", may_be_file)
        object.__setattr__(self, "_value", value)

    @property
    def is_name(self) -> bool:
        """Whether the value is the name of a version in Secret Manager."""
        return self.version_name is not None

    @property
    def version_name(self) -> VersionName | None:
        """The name of the version in Secret Manager that holds the secret, or None."""
        match = _NAME.fullmatch(self._value)
        return VersionName(*match.groups()) if match else None

    @property
    def variable(self) -> str | None:
        """The environment variable that holds the secret, or None."""
        match = _VARIABLE.fullmatch(self._value)
        return match.group(1) if match else None

    @property
    def is_plain(self) -> bool:
        """Whether the value is the secret itself."""
        return not self.is_name and self.variable is None and not self.is_location

    @property
    def is_location(self) -> bool:
        """Whether the value is the path of a file with a certificate or key; never true for a password."""
        return self.may_be_file and self._value.startswith(("gs://", "/"))

    def resolve(self, connect: Callable[[], SecretManagerServiceClient] | None = None) -> str:
        """Return the secret: the plain value, or the value of the name.

        Raises:
            ConfigError: the variable or file does not exist, or Secret Manager rejected the request; names the
                parameter and the remedy.
            SourceUnavailableError: Secret Manager could not be reached, or failed.
        """
        text = self._resolved(connect)
        if "\0" in text:
            raise ConfigError([f"{self.parameter}: the secret has a NUL character, which no server accepts"])
        return text

    def _resolved(self, connect: Callable[[], SecretManagerServiceClient] | None) -> str:
        if self.variable is not None:
            return _variable(self.parameter, self.variable)
        if self.is_location:
            return _file(self.parameter, self._value)
        name = self.version_name
        if name is None:
            return self._value
        return _access(self.parameter, self._value, connect or partial(_connect, name.location))

    def __repr__(self) -> str:
        return f"Secret({self.parameter!r}, ***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.parameter, self._value) == (other.parameter, other._value)

    def __hash__(self) -> int:
        return hash((self.parameter, self._value))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Secret is immutable; {name} cannot be set")

    def __reduce__(self) -> tuple[Callable[..., Secret], tuple[str, str]]:
        return partial(Secret, may_be_file=self.may_be_file), (self.parameter, self._value)


def secrets_in(value: object) -> Iterator[Secret]:
    """Yield the secrets in a dataclass and in nested dataclasses."""
    if isinstance(value, Secret):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from secrets_in(getattr(value, field.name))


def _variable(parameter: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError([f"{parameter}: the environment has no variable {name}: set it where the run is started"])
    return value


def _file(parameter: str, location: str) -> str:
    return read_file(parameter, location, _MAX_FILE_BYTES).decode(errors="replace")


def _connect(location: str | None) -> SecretManagerServiceClient:
    from google.cloud.secretmanager import SecretManagerServiceClient

    emulator = os.environ.get(EMULATOR_VARIABLE)
    if emulator:
        return _connect_to(emulator)
    if location is None:
        return SecretManagerServiceClient()
    # Only its own region has a regional secret:
    # https://cloud.google.com/secret-manager/regional-secrets/create-regional-secret
    return SecretManagerServiceClient(client_options={"api_endpoint": f"secretmanager.{location}.rep.googleapis.com"})


def _connect_to(emulator: str) -> SecretManagerServiceClient:
    import grpc
    from google.cloud.secretmanager import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    return SecretManagerServiceClient(
        transport=SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(emulator))
    )


def _access(parameter: str, name: str, connect: Callable[[], SecretManagerServiceClient]) -> str:
    from google.api_core.exceptions import ClientError, GoogleAPIError, TooManyRequests
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        response = connect().access_secret_version(name=name)
    except TooManyRequests as error:
        raise SourceUnavailableError(f"{parameter}: Secret Manager's quota is used up for {name}") from error
    except ClientError as error:
        kind = type(error).__name__
        raise ConfigError([f"{parameter}: {name} cannot be read: {_REMEDIES.get(kind, kind)}"]) from error
    except (GoogleAPIError, TransportError) as error:
        kind = type(error).__name__
        raise SourceUnavailableError(f"{parameter}: Secret Manager could not be reached for {name} ({kind})") from error
    except GoogleAuthError as error:
        raise ConfigError([f"{parameter}: {name} cannot be read: {_REMEDIES['Unauthenticated']}"]) from error
    try:
        text = response.payload.data.decode()
    except UnicodeDecodeError:
        # `from None`, because the codec's error contains the bytes.
        raise ConfigError([f"{parameter}: {name} does not hold text in UTF-8"]) from None
    # `echo … | gcloud secrets versions add` stores the final line break with the secret.
    return text.rstrip("\r\n")
