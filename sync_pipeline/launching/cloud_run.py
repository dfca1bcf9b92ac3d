"""`cloud_run` of a launch file: the sync as a job of Cloud Run, in one container, without Dataflow.

https://cloud.google.com/run/docs/create-jobs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync_pipeline.launching import settings
from sync_pipeline.suggestions import did_you_mean

KEYS = ("image", "cpu", "memory", "max_retries")
# With the execution's id, an attempt that comes after a successful one publishes nothing, so that all may be repeated.
DEFAULT_RETRIES = 1
DEFAULT_CPU = "2"
DEFAULT_MEMORY = "2Gi"
# https://cloud.google.com/run/docs/configuring/task-timeout
DEFAULT_SECONDS = 3600
MAX_SECONDS = 168 * 3600
_NAME = re.compile("[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
# https://cloud.google.com/run/docs/configuring/services/cpu
_CPUS = ("1", "2", "4", "6", "8")
_MEMORY = re.compile("[1-9][0-9]*(Mi|Gi)")
_IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?/[^\s@]+([:@][^\s]+)?")
# Settings of a launch that apply to Cloud Run as well.
USED_SETTINGS = (
    "additionalUserLabels",
    "ipConfiguration",
    "network",
    "serviceAccountEmail",
    "subnetwork",
    "tempLocation",
)


@dataclass(frozen=True)
class CloudRun:
    """A job of Cloud Run.

    Attributes:
        image: the template's image.
        cpu, memory: as Cloud Run writes them.
        max_retries: how often Cloud Run repeats a run that failed.
        seconds: after this time Cloud Run ends an attempt.
    """

    image: str
    cpu: str
    memory: str
    max_retries: int
    seconds: int


def read_cloud_run(given: Any, job_name: str, max_run_seconds: Any) -> tuple[CloudRun | None, list[str]]:
    """Return the job of a launch file, and a sentence for each error in it."""
    if not isinstance(given, dict):
        return None, [f"cloud_run is not a mapping: give {', '.join(KEYS)}"]
    problems = [f"cloud_run.{key} is not known{did_you_mean(key, KEYS)}" for key in map(str, given) if key not in KEYS]
    image = str(given.get("image") or "")
    if not _IMAGE.fullmatch(image):
        shown = f"is {image!r}" if image else "is missing"
        problems.append(
            f"cloud_run.image {shown}: give the template's image, such as "
            "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1.0.0"
        )
    cpu = str(given.get("cpu") or DEFAULT_CPU)
    if cpu not in _CPUS:
        problems.append(f"cloud_run.cpu is {cpu!r}: give one of {', '.join(_CPUS)}")
    memory = str(given.get("memory") or DEFAULT_MEMORY)
    if not _MEMORY.fullmatch(memory):
        problems.append(f"cloud_run.memory is {memory!r}: give a size such as {DEFAULT_MEMORY}")
    retries = given.get("max_retries", DEFAULT_RETRIES)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 10:
        problems.append(f"cloud_run.max_retries is {retries!r}: give a whole number from 0 to 10")
        retries = DEFAULT_RETRIES
    seconds = max_run_seconds if isinstance(max_run_seconds, int) else DEFAULT_SECONDS
    if seconds > MAX_SECONDS:
        problems.append(f"max_run_seconds is {seconds}: Cloud Run allows at most {MAX_SECONDS}, which is 168 hours")
    if job_name and not _NAME.fullmatch(job_name):
        problems.append(f"job_name is {job_name!r}: a job of Cloud Run has a name of at most 49 characters")
    return CloudRun(image, cpu, memory, retries, seconds), problems


def arguments(parameters: Mapping[str, str], environment: Mapping[str, Any]) -> list[str]:
    """Return the arguments of the container: the parameters, and where to stage files."""
    given = {**parameters, "temp_location": environment["tempLocation"]}
    return [f"--{name}={value}" for name, value in given.items()]


def network_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return `network` and `subnetwork` as Cloud Run takes them; a subnetwork of the region by its name alone."""
    found = {name: environment[name] for name in ("network", "subnetwork") if environment.get(name)}
    if "subnetwork" in found:
        path = found["subnetwork"].removeprefix("https://www.googleapis.com/compute/v1/")
        found["subnetwork"] = path if path.startswith("projects/") else path.rpartition("/")[2]
    return found


def egress_of(environment: Mapping[str, Any]) -> str:
    """Return which traffic goes through the network: all of it, where machines get no public addresses."""
    return "ALL_TRAFFIC" if environment.get("ipConfiguration") == "WORKER_IP_PRIVATE" else "PRIVATE_RANGES_ONLY"


def warnings_of(environment: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting that has no effect on Cloud Run, and for one that is rarely left out."""
    warnings = [f"environment.{name} has no effect on Cloud Run" for name in environment if name not in USED_SETTINGS]
    if not environment.get("serviceAccountEmail"):
        warnings.append(settings.DEFAULT_ACCOUNT)
    return warnings
