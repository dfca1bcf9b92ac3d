"""Dataflow, Cloud Scheduler and Secret Manager on this machine; jobs start `main.py` as Google's launcher does."""

import base64
import json
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from sandbox.processes import Process, wait_until_ready

_PROGRAM = Path(__file__).with_name("dataflow_server.py")

# The APIs that this server has. gcloud would send requests for any other API to Google, and wait: so the environment
# points the ones below to this server too, which refuses them.
_SERVED = ("cloudscheduler", "dataflow", "logging", "secretmanager")
_NOT_SERVED = (
    "artifactregistry",
    "bigquery",
    "cloudbuild",
    "cloudresourcemanager",
    "compute",
    "iam",
    "iamcredentials",
    "monitoring",
    "run",
    "serviceusage",
)


def prepare(folder: Path, ports: tuple[int, int], bucket: str, environment: Mapping[str, str]) -> Process:
    """Return the server process, not yet started; its jobs get `environment`, which points to all servers.

    `ports` are the ports of the REST APIs and of Secret Manager's gRPC service.
    """
    command = (sys.executable, str(_PROGRAM), str(ports[0]), str(ports[1]), bucket)
    return Process(name="dataflow", command=command, log=folder / "dataflow.log", environment=environment)


def wait(process: Process, url: str, project: str, secrets: Mapping[str, str]) -> None:
    """Wait until the server lists its jobs, then store `secrets` under their names.

    Raises:
        SandboxError: the server never answers.
    """

    def probe() -> None:
        with urllib.request.urlopen(f"{url}/v1b3/projects/{project}/jobs:aggregated", timeout=5) as response:
            response.read()

    wait_until_ready(process, probe)
    for name, value in secrets.items():
        place = f"{url}/v1/projects/{project}/secrets"
        _post(f"{place}?secretId={name}", {"replication": {"automatic": {}}})
        _post(f"{place}/{name}:addVersion", {"payload": {"data": base64.b64encode(value.encode()).decode()}})


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        response.read()


def gcloud_environment(folder: Path, dataflow_host: str, storage_host: str, project: str) -> dict[str, str]:
    """Return the variables with which gcloud talks to these servers, without an account or the user's settings.

    gcloud keeps its own files in a subfolder of `folder`, the sandbox's folder.
    """
    overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"{dataflow_host}/" for api in _SERVED + _NOT_SERVED}
    return overrides | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{storage_host}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_PROJECT": project,
    }
