"""The Cloud Storage emulator `gcp-storage-emulator`, which stores objects as plain files."""

import importlib.util
import sys
import urllib.request
from pathlib import Path

from sandbox.processes import Process, SandboxError, wait_until_ready

_PROGRAM = Path(__file__).with_name("storage_server.py")


def prepare(folder: Path, port: int, bucket: str) -> Process:
    """Return the server process, not yet started; it creates `bucket`."""
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        raise SandboxError("the package gcp-storage-emulator is not installed; run `make install`")
    command = (sys.executable, str(_PROGRAM), str(port), str(folder / "storage"), bucket)
    return Process(name="storage", command=command, log=folder / "storage.log")


def objects_folder(folder: Path) -> Path:
    """Return the folder with one subfolder of plain files per bucket."""
    return folder / "storage" / ".cloudstorage"


def wait(process: Process, url: str, bucket: str) -> None:
    """Wait until the emulator returns its bucket. Raises SandboxError when it never does."""

    def probe() -> None:
        with urllib.request.urlopen(f"{url}/storage/v1/b/{bucket}", timeout=5) as response:
            response.read()

    wait_until_ready(process, probe)
