"""Run the Cloud Storage emulator: python storage_server.py PORT FOLDER BUCKET."""

import http.server
import logging
import sys
from collections.abc import Callable
from typing import Any

from gcp_storage_emulator import server, storage
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import create_server


def _no_seconds(*_: object) -> int:
    """Return zero as the retention of deleted objects; the default, seven days, would fill the disk."""
    return 0


def _unquoting(read_data: Callable[..., Any]) -> Callable[..., Any]:
    """Make `read_data` accept a multipart boundary in single quotes, as gcloud writes it."""

    def read_unquoted(request_handler: Any, query: Any) -> Any:
        content_type = request_handler.headers.get("Content-Type", "")
        if content_type.startswith("multipart/"):
            request_handler.headers.replace_header("Content-Type", content_type.replace("'", ""))
        return read_data(request_handler, query)

    return read_unquoted


def _create_where_asked(request: Any, response: Any, storage: Any, *_: object, **__: object) -> None:
    """Create a bucket in the location that the request names; the emulator creates all buckets in US."""
    name = request.data.get("name")
    exists = bool(name and storage.get_bucket(name))
    buckets.insert(request, response, storage)
    if name and not exists:
        bucket = {**storage.get_bucket(name), "location": request.data.get("location", "US").upper()}
        storage.create_bucket(name, bucket)
        response.json(bucket)


def main(port: str, folder: str, bucket: str) -> None:
    """Serve until killed."""
    logging.basicConfig(level=logging.WARNING)
    storage.Storage._bucket_soft_delete_retention_seconds = _no_seconds
    for _, handlers in server.HANDLERS:
        for method, handler in handlers.items():
            if handler is buckets.insert:
                handlers[method] = _create_where_asked
    server._read_data = _unquoting(server._read_data)
    # The server handles one request at a time. With the default queue of five it resets connections of parallel
    # writers.
    http.server.HTTPServer.request_queue_size = 128
    # Its own `run` serves in a thread and waits for ever if the port is taken.
    create_server("127.0.0.1", int(port), data_dir=folder, default_bucket=bucket)._api.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
