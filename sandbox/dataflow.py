"""Dataflow and Cloud Scheduler on this machine: servers of our own that start `main.py` as Google's launcher does."""

import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from sandbox.processes import Process, wait_until_ready

_PROGRAM = Path(__file__).with_name("dataflow_server.py")


def prepare(folder: Path, port: int, bucket: str, environment: Mapping[str, str]) -> Process:
    """Return the server process, not yet started; its jobs get `environment`, which points to the other servers."""
    command = (sys.executable, str(_PROGRAM), str(port), bucket)
    return Process(name="dataflow", command=command, log=folder / "dataflow.log", environment=environment)


def wait(process: Process, url: str, project: str) -> None:
    """Wait until the server lists its jobs; raise SandboxError when it never does."""

    def probe() -> None:
        with urllib.request.urlopen(f"{url}/v1b3/projects/{project}/jobs:aggregated", timeout=5) as response:
            response.read()

    wait_until_ready(process, probe)


def gcloud_environment(folder: Path, dataflow_host: str, storage_host: str, project: str) -> dict[str, str]:
    """Return the variables with which gcloud talks to these servers, without an account and without anybody's settings.

    `folder` is the sandbox's; gcloud keeps its own files in a folder there.
    """
    return {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": f"{dataflow_host}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDSCHEDULER": f"{dataflow_host}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{storage_host}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_PROJECT": project,
    }
