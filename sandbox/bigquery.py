"""The BigQuery emulator `local-bigquery`, in a Python environment of its own."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from sandbox.processes import Process, SandboxError, wait_until_ready

_ROOT = Path(__file__).resolve().parent.parent
_PROGRAM = Path(__file__).with_name("bigquery_server.py")


def environment_folder() -> Path:
    """Return the emulator's virtual environment: SANDBOX_BIGQUERY_ENVIRONMENT, by default `.venv-bigquery`."""
    return Path(os.environ.get("SANDBOX_BIGQUERY_ENVIRONMENT") or _ROOT / ".venv-bigquery")


def prepare(
    folder: Path, ports: tuple[int, int], project: str, dataset: str, storage_url: str, storage_root: Path | None
) -> Process:
    """Return the server process, not yet started; it creates `dataset`.

    `ports` are the ports of the REST and the gRPC service. The server reads gs:// files from `storage_root`, which has
    one folder per bucket; if that is None, it reads them over HTTP from `storage_url`.
    """
    python = environment_folder() / "bin" / "python"
    if not python.exists():
        raise SandboxError(f"the BigQuery emulator is not installed in {python.parent.parent}; run `make install`")
    command = [str(python), "-I", str(_PROGRAM), f"--port={ports[0]}", f"--grpc-port={ports[1]}"]
    command += [f"--project={project}", f"--dataset={dataset}", f"--data={folder / 'bigquery'}"]
    command += [f"--storage-url={storage_url}"] + ([f"--storage-root={storage_root}"] if storage_root else [])
    return Process(name="bigquery", command=tuple(command), log=folder / "bigquery.log")


def wait(process: Process, url: str, project: str, dataset: str) -> None:
    """Wait until the emulator answers a query; raise SandboxError when it never does.

    An open port proves nothing: if a DuckDB extension is missing, the emulator listens but fails at the first request.
    """
    wait_until_ready(
        process, lambda: _query(url, project, f"SELECT COUNT(*) FROM `{dataset}`.INFORMATION_SCHEMA.TABLES")
    )


def _query(url: str, project: str, query: str) -> None:
    body = json.dumps({"query": query, "useLegacySql": False}).encode()
    request = urllib.request.Request(
        f"{url}/bigquery/v2/projects/{project}/queries", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            response.read()
    except urllib.error.HTTPError as error:
        with error:
            raise SandboxError(f"HTTP {error.code}: {error.read().decode(errors='replace')[:300]}") from None
