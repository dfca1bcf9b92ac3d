"""Run the Cloud Storage emulator: python storage_server.py PORT FOLDER BUCKET."""

import http.server
import logging
import sys
from collections.abc import Callable
from typing import Any

from gcp_storage_emulator import server, storage
from gcp_storage_emulator.server import create_server


def _no_seconds(*_: object) -> int:
    """Say how long a deleted object is kept: seven days, as in Cloud Storage, would only fill the disk."""
    return 0


def _unquoting(read_data: Callable[..., Any]) -> Callable[..., Any]:
    """Let `read_data` understand gcloud, which puts a multipart body's boundary in single quotes."""

    def read_unquoted(request_handler: Any, query: Any) -> Any:
        content_type = request_handler.headers.get("Content-Type", "")
        if content_type.startswith("multipart/"):
            request_handler.headers.replace_header("Content-Type", content_type.replace("'", ""))
        return read_data(request_handler, query)

    return read_unquoted


def main(port: str, folder: str, bucket: str) -> None:
    """Serve until killed."""
    logging.basicConfig(level=logging.WARNING)
    storage.Storage._bucket_soft_delete_retention_seconds = _no_seconds
    server._read_data = _unquoting(server._read_data)
    # The server takes one request at a time; with the usual queue of five, parallel writers get their connection reset.
    http.server.HTTPServer.request_queue_size = 128
    create_server("127.0.0.1", int(port), data_dir=folder, default_bucket=bucket).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
