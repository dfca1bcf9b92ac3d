"""Flex Templates as Dataflow launches them: the template file, its parameters and the launcher's command line."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.discovery import read_body

# The flag of the Python launcher for each setting of the runtime environment. Labels are passed as one JSON object, a
# form that Beam's option accepts for this purpose. The launcher's own machine type does not concern the pipeline.
_FLAGS = {
    "autoscalingAlgorithm": "autoscaling_algorithm",
    "diskSizeGb": "disk_size_gb",
    "flexrsGoal": "flexrs_goal",
    "kmsKeyName": "dataflow_kms_key",
    "machineType": "machine_type",
    "maxWorkers": "max_num_workers",
    "network": "network",
    "numWorkers": "num_workers",
    "sdkContainerImage": "sdk_container_image",
    "serviceAccountEmail": "service_account_email",
    "stagingLocation": "staging_location",
    "subnetwork": "subnetwork",
    "tempLocation": "temp_location",
    "workerRegion": "worker_region",
    "workerZone": "worker_zone",
    "zone": "zone",
}


class InvalidRequestError(Exception):
    """A request that Dataflow answers with 400. `details` is the structured `details` field of Google's errors."""

    def __init__(self, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.details = details or []


@dataclass(frozen=True)
class Template:
    """A template file as written by `gcloud dataflow flex-template build`."""

    metadata: Mapping[str, Any]
    default_environment: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The template's metadata of its parameters, by name."""
        return {parameter["name"]: parameter for parameter in self.metadata.get("parameters", [])}

    def check(self, given: Mapping[str, str]) -> None:
        """Raise InvalidRequestError when a parameter is unknown, missing, or does not match its regex."""
        violations = [(name, "Unrecognized parameter") for name in given if name not in self.parameters]
        for name, parameter in self.parameters.items():
            if name not in given:
                if not parameter.get("isOptional", False):
                    violations.append((name, "Missing required parameter"))
                continue
            violations += [
                (name, f"Parameter didn't match regex '{regex}'")
                for regex in parameter.get("regexes", [])
                if not re.search(regex, given[name])
            ]
        if violations:
            lines = "".join(f"\n{name}: {description}" for name, description in violations)
            kind = "type.googleapis.com/google.dataflow.v1beta3.InvalidTemplateParameters"
            told = [{"parameter": name, "description": description} for name, description in violations]
            raise InvalidRequestError(
                f"The template parameters are invalid. Details: {lines}", [{"@type": kind, "parameterViolations": told}]
            )


def read_template(storage_host: str, path: str) -> Template:
    """Read a template file from Cloud Storage. Raises InvalidRequestError when it is not a template."""
    match = re.fullmatch("gs://([^/]+)/(.+)", path)
    if match is None:
        raise InvalidRequestError(f"Template file name '{path}' is not a Cloud Storage path.")
    url = f"{storage_host}/storage/v1/b/{match[1]}/o/{urllib.parse.quote(match[2], safe='')}?alt=media"
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            raise InvalidRequestError(f"Unable to open template file: {path}.") from None
    try:
        container, problems = read_body("dataflow.v1b3", "ContainerSpec", json.loads(text))
    except ValueError:
        container, problems = {}, ["it is not JSON"]
    if problems or not container.get("image"):
        raise InvalidRequestError(f"Invalid template file {path}: {'; '.join(problems) or 'it names no image'}")
    return Template(container.get("metadata", {}), container.get("defaultEnvironment", {}))


def launcher_flags(
    project: str,
    location: str,
    job_name: str,
    bucket: str,
    environment: Mapping[str, Any],
    parameters: Mapping[str, str],
) -> list[str]:
    """Return the flags with which the launcher calls `python main.py`, in alphabetical order.

    They leave out `--runner=DataflowRunner` and `--template_location`: with these the process would only write the job
    graph for the service; without them it runs the job itself.
    """
    default = f"gs://{bucket}/dataflow-staging-{location}"
    flags = {
        "job_name": job_name,
        "project": project,
        "region": location,
        "staging_location": f"{default}/staging",
        "temp_location": f"{default}/tmp",
    }
    flags |= {flag: str(environment[name]) for name, flag in _FLAGS.items() if environment.get(name)}
    if environment.get("additionalUserLabels"):
        flags["labels"] = json.dumps(environment["additionalUserLabels"])
    words = [f"--{name}={value}" for name, value in {**flags, **parameters}.items()]
    words += [f"--experiments={experiment}" for experiment in environment.get("additionalExperiments", [])]
    words += [f"--{option}" for option in environment.get("additionalPipelineOptions", [])]
    if environment.get("ipConfiguration") == "WORKER_IP_PRIVATE":
        words.append("--no_use_public_ips")
    if environment.get("enableStreamingEngine"):
        words.append("--enable_streaming_engine")
    return sorted(words)
