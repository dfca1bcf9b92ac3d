"""Run the Cloud Storage emulator: python storage_server.py PORT FOLDER BUCKET."""

import http.server
import logging
import sys

from gcp_storage_emulator import storage
from gcp_storage_emulator.server import create_server


def _no_seconds(*_: object) -> int:
    """Say how long a deleted object is kept: seven days, as in Cloud Storage, would only fill the disk."""
    return 0


def main(port: str, folder: str, bucket: str) -> None:
    """Serve until killed."""
    logging.basicConfig(level=logging.WARNING)
    storage.Storage._bucket_soft_delete_retention_seconds = _no_seconds
    # The server takes one request at a time; with the usual queue of five, parallel writers get their connection reset.
    http.server.HTTPServer.request_queue_size = 128
    create_server("127.0.0.1", int(port), data_dir=folder, default_bucket=bucket).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
