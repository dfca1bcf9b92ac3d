"""A server that speaks Secret Manager's protocol, and holds what a test gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.cloud.secretmanager import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    SecretManagerServiceClient,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

_SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


@contextmanager
def secret_manager(
    answer: Callable[[str], bytes | grpc.StatusCode],
) -> Iterator[Callable[[], SecretManagerServiceClient]]:
    """Serve what `answer` says for the name of a version: its payload, or how it is refused; yield how to connect."""

    def access(request: AccessSecretVersionRequest, context: grpc.ServicerContext) -> AccessSecretVersionResponse:
        found = answer(request.name)
        if isinstance(found, grpc.StatusCode):
            context.abort(found, "refused")
        return AccessSecretVersionResponse(name=request.name, payload={"data": found})

    handler = grpc.unary_unary_rpc_method_handler(
        access,
        request_deserializer=AccessSecretVersionRequest.deserialize,
        response_serializer=AccessSecretVersionResponse.serialize,
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, {"AccessSecretVersion": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
        yield lambda: client
    server.stop(None)
