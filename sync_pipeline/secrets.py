"""Secret parameters: a plain value, or the name of one in Secret Manager that is resolved where it is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sync_pipeline.errors import ConfigError, SourceUnavailableError

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

_NAME = re.compile("projects/[^/]+/secrets/[^/]+/versions/[^/]+")

# Google's error, by its class name (the library is imported only when a secret is resolved) → what to do about it.
_REMEDIES = {
    "PermissionDenied": "grant the role roles/secretmanager.secretAccessor on it to the job's service account",
    "Unauthenticated": "run the job with a service account, or with application default credentials",
    "NotFound": "there is no such secret or version; check project, secret and version",
    "FailedPrecondition": "the version is disabled or destroyed; enable it or name another one",
    "InvalidArgument": "the name is not valid; write projects/PROJECT/secrets/SECRET/versions/VERSION",
}


def looks_like_a_name(value: str) -> bool:
    """Whether `value` begins like a name in Secret Manager; what does so and is none is a slip, hardly a password."""
    return value.strip().startswith("projects/") and "/secrets/" in value


class Secret:
    """The value of a secret parameter. Neither `repr` nor `str` nor `dataclasses.asdict` shows it.

    Pickling keeps a plain value, because workers need it; of a name in Secret Manager only the name travels.
    """

    __slots__ = ("_value", "parameter")

    parameter: str
    _value: str

    def __init__(self, parameter: str, value: str) -> None:
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "_value", value)

    @property
    def is_name(self) -> bool:
        """Whether the value is the name of a version in Secret Manager."""
        return _NAME.fullmatch(self._value) is not None

    def resolve(self, connect: Callable[[], SecretManagerServiceClient] | None = None) -> str:
        """Return the secret: the plain value, or what Secret Manager holds under the name.

        Raises:
            ConfigError: Secret Manager refused; names the parameter and the remedy.
            SourceUnavailableError: Secret Manager could not be reached.
        """
        if not self.is_name:
            return self._value
        return _access(self.parameter, self._value, connect or _connect)

    def __repr__(self) -> str:
        return f"Secret({self.parameter!r}, ***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.parameter, self._value) == (other.parameter, other._value)

    def __hash__(self) -> int:
        return hash((self.parameter, self._value))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Secret does not change; {name} cannot be set")

    def __reduce__(self) -> tuple[type[Secret], tuple[str, str]]:
        return Secret, (self.parameter, self._value)


def _connect() -> SecretManagerServiceClient:
    from google.cloud.secretmanager import SecretManagerServiceClient

    return SecretManagerServiceClient()


def _access(parameter: str, name: str, connect: Callable[[], SecretManagerServiceClient]) -> str:
    from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, RetryError, ServiceUnavailable
    from google.auth.exceptions import GoogleAuthError

    try:
        response = connect().access_secret_version(name=name)
    except (ServiceUnavailable, DeadlineExceeded, RetryError) as error:
        raise SourceUnavailableError(f"{parameter}: Secret Manager could not be reached for {name}") from error
    except GoogleAPICallError as error:
        kind = type(error).__name__
        raise ConfigError([f"{parameter}: {name} cannot be read: {_REMEDIES.get(kind, kind)}"]) from error
    except GoogleAuthError as error:
        raise ConfigError([f"{parameter}: {name} cannot be read: {_REMEDIES['Unauthenticated']}"]) from error
    try:
        text = response.payload.data.decode()
    except UnicodeDecodeError:
        # Without its cause: the codec's error carries the bytes.
        raise ConfigError([f"{parameter}: {name} does not hold text in UTF-8"]) from None
    # `echo … | gcloud secrets versions add` stores the line's end with the secret.
    return text.rstrip("\r\n")
