"""A local Secret Manager: global and regional secrets, in the memory of the server.

gcloud uses its REST API. Google's client reads versions through its gRPC service.
"""

import base64
import binascii
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud.secretmanager import AccessSecretVersionRequest, AccessSecretVersionResponse

from sandbox.flex_templates import InvalidRequestError

_SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
_VERSION = re.compile("projects/([^/]+)(?:/locations/([^/]+))?/secrets/([^/]+)/versions/([^/]+)")


class SecretNotFoundError(Exception):
    """The secret or the version does not exist."""


class SecretExistsError(Exception):
    """A secret of that name exists."""


class VersionNotEnabledError(Exception):
    """The version is disabled or destroyed."""


@dataclass
class _Secret:
    body: dict[str, Any]
    versions: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    policy: dict[str, Any] = field(default_factory=lambda: {"etag": "ACAB"})


class Secrets:
    """All secrets. `location` is None for a global secret. Permissions are not checked."""

    def __init__(self, read: Callable[[str, str, Any], dict[str, Any]]) -> None:
        self._read = read
        self._secrets: dict[str, _Secret] = {}

    def create(self, request: Any, project: str, location: str | None) -> dict[str, Any]:
        body = self._read("secretmanager.v1", "Secret", request.body)
        name = f"{_parent(project, location)}/secrets/{request.query.get('secretId', '')}"
        if name in self._secrets:
            raise SecretExistsError(f"Secret [{name}] already exists.")
        if location is None and not body.get("replication"):
            raise InvalidRequestError("The Secret.replication field must be set for a global secret.")
        self._secrets[name] = _Secret(body | _new(name))
        return self._secrets[name].body

    def list_all(self, _request: Any, project: str, location: str | None) -> dict[str, Any]:
        prefix = f"{_parent(project, location)}/secrets/"
        return {"secrets": [secret.body for name, secret in self._secrets.items() if name.startswith(prefix)]}

    def get(self, _request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        return self._find(project, location, secret).body

    def delete(self, _request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        del self._secrets[self._find(project, location, secret).body["name"]]
        return {}

    def add_version(self, request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        body = self._read("secretmanager.v1", "AddSecretVersionRequest", request.body)
        try:
            # Like all Google APIs, it accepts both Base64 alphabets.
            data = base64.b64decode(body.get("payload", {}).get("data", "").translate(str.maketrans("-_", "+/")))
        except binascii.Error:
            raise InvalidRequestError("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed") from None
        has_checksum = "dataCrc32c" in body.get("payload", {})
        return _add(self._find(project, location, secret), data) | {"clientSpecifiedPayloadChecksum": has_checksum}

    def list_versions(self, _request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        return {"versions": self._find(project, location, secret).versions[::-1]}

    def get_version(
        self, _request: Any, project: str, location: str | None, secret: str, version: str
    ) -> dict[str, Any]:
        found = self._find(project, location, secret)
        return found.versions[_index(found, version)]

    def access(self, _request: Any, project: str, location: str | None, secret: str, version: str) -> dict[str, Any]:
        found = self._find(project, location, secret)
        index = _index(found, version)
        about = found.versions[index]
        if about["state"] != "ENABLED":
            raise VersionNotEnabledError(f"Secret Version [{about['name']}] is in {about['state']} state.")
        return {"name": about["name"], "payload": {"data": base64.b64encode(found.payloads[index]).decode()}}

    def change_version(
        self, _request: Any, project: str, location: str | None, secret: str, version: str, action: str
    ) -> dict[str, Any]:
        found = self._find(project, location, secret)
        index = _index(found, version)
        found.versions[index]["state"] = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[action]
        if action == "destroy":
            found.payloads[index] = b""
        return found.versions[index]

    def get_policy(self, _request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        return self._find(project, location, secret).policy

    def set_policy(self, request: Any, project: str, location: str | None, secret: str) -> dict[str, Any]:
        body = self._read("secretmanager.v1", "SetIamPolicyRequest", request.body)
        self._find(project, location, secret).policy = body.get("policy", {})
        return dict(body.get("policy", {}))

    def _find(self, project: str, location: str | None, secret: str) -> _Secret:
        name = f"{_parent(project, location)}/secrets/{secret}"
        if name not in self._secrets:
            raise SecretNotFoundError(f"Secret [{name}] not found or has no versions.")
        return self._secrets[name]


def serve(secrets: Secrets, port: int) -> grpc.Server:
    """Start the gRPC service on a local port, without TLS. Its only method is AccessSecretVersion."""

    def access(request: AccessSecretVersionRequest, context: grpc.ServicerContext) -> AccessSecretVersionResponse:
        match = _VERSION.fullmatch(request.name)
        try:
            if match is None:
                raise InvalidRequestError(f"Invalid resource name: {request.name}")
            found = secrets.access(request, match[1], match[2], match[3], match[4])
        except InvalidRequestError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except SecretNotFoundError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except VersionNotEnabledError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        data = base64.b64decode(found["payload"]["data"])
        return AccessSecretVersionResponse(name=found["name"], payload={"data": data})

    handler = grpc.unary_unary_rpc_method_handler(
        access,
        request_deserializer=AccessSecretVersionRequest.deserialize,
        response_serializer=AccessSecretVersionResponse.serialize,
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, {"AccessSecretVersion": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def _new(name: str) -> dict[str, Any]:
    return {"name": name, "createTime": _now(), "etag": '"1"'}


def _add(secret: _Secret, data: bytes) -> dict[str, Any]:
    name = f"{secret.body['name']}/versions/{len(secret.versions) + 1}"
    secret.payloads.append(data)
    secret.versions.append(_new(name) | {"state": "ENABLED"})
    return secret.versions[-1]


def _index(secret: _Secret, version: str) -> int:
    count = len(secret.versions)
    number = count if version == "latest" else int(version) if version.isdecimal() else 0
    if not 1 <= number <= count:
        raise SecretNotFoundError(f"Secret Version [{secret.body['name']}/versions/{version}] not found.")
    return number - 1


def _parent(project: str, location: str | None) -> str:
    return f"projects/{project}" + (f"/locations/{location}" if location else "")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
