"""The settings of a job's machines and network: Dataflow's names and gcloud's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync_pipeline.parameters.table import BY_NAME as PARAMETERS
from sync_pipeline.suggestions import did_you_mean


@dataclass(frozen=True)
class Setting:
    """One setting of `FlexTemplateRuntimeEnvironment`.

    https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.flexTemplates/launch

    Attributes:
        flag: the flag of `gcloud dataflow flex-template run`; None if gcloud has none.
        type: the Python type of its value in YAML and JSON.
        choices: the allowed values, each with gcloud's value for the flag. None is a flag without a value, "" is no
            flag at all.
    """

    name: str
    flag: str | None
    type: type = str
    choices: Mapping[str, str | None] | None = None


SETTINGS: tuple[Setting, ...] = (
    Setting("tempLocation", "--temp-location"),
    Setting("stagingLocation", "--staging-location"),
    Setting("serviceAccountEmail", "--service-account-email"),
    Setting("network", "--network"),
    Setting("subnetwork", "--subnetwork"),
    Setting("ipConfiguration", "--disable-public-ips", choices={"WORKER_IP_PRIVATE": None, "WORKER_IP_PUBLIC": ""}),
    Setting("numWorkers", "--num-workers", int),
    Setting("maxWorkers", "--max-workers", int),
    Setting("machineType", "--worker-machine-type"),
    Setting("launcherMachineType", "--launcher-machine-type"),
    Setting("workerRegion", "--worker-region"),
    Setting("workerZone", "--worker-zone"),
    Setting("zone", None),
    Setting("diskSizeGb", None, int),
    Setting(
        "autoscalingAlgorithm",
        None,
        choices={"AUTOSCALING_ALGORITHM_NONE": None, "AUTOSCALING_ALGORITHM_BASIC": None},
    ),
    Setting("sdkContainerImage", None),
    Setting("kmsKeyName", "--dataflow-kms-key"),
    Setting(
        "flexrsGoal",
        "--flexrs-goal",
        choices={"FLEXRS_COST_OPTIMIZED": "COST_OPTIMIZED", "FLEXRS_SPEED_OPTIMIZED": "SPEED_OPTIMIZED"},
    ),
    Setting("additionalUserLabels", "--additional-user-labels", dict),
    Setting("additionalExperiments", "--additional-experiments", list),
    Setting("additionalPipelineOptions", "--additional-pipeline-options", list),
    Setting("enableStreamingEngine", "--enable-streaming-engine", bool),
    Setting(
        "streamingMode",
        None,
        choices={"STREAMING_MODE_EXACTLY_ONCE": None, "STREAMING_MODE_AT_LEAST_ONCE": None},
    ),
    Setting("enableLauncherVmSerialPortLogging", None, bool),
    Setting("dumpHeapOnOom", None, bool),
    Setting("saveHeapDumpsToGcsPath", None),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}

# Common wrong names, from the command line of gcloud or Beam, with the remedy.
_MISNAMED = {
    "disablePublicIps": "write ipConfiguration: WORKER_IP_PRIVATE",
    "usePublicIps": "write ipConfiguration: WORKER_IP_PRIVATE, or WORKER_IP_PUBLIC",
    "workerMachineType": "write machineType",
}
_TYPE_NAMES = {str: "a text", int: "a whole number", bool: "true or false", dict: "a mapping", list: "a list"}
DEFAULT_ACCOUNT = (
    "environment.serviceAccountEmail is missing: the job runs as the project's default account, which often has broad "
    "permissions; give a dedicated account, such as sync@my-project.iam.gserviceaccount.com"
)
# Settings of the workers' location, which exclude each other.
_PLACES = ("workerRegion", "workerZone", "zone")
# Settings without effect on a batch job in Python, such as a sync.
_WITHOUT_EFFECT = ("enableStreamingEngine", "streamingMode", "dumpHeapOnOom", "saveHeapDumpsToGcsPath")
_PRIVATE_BY_OPTION = ("no_use_public_ips", "no_use_public_ips=true", "use_public_ips=false")


def problems_of(environment: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting that Dataflow would reject, and for each required setting that is missing."""
    problems = [problem for name, value in environment.items() if (problem := _problem(name, value))]
    location = environment.get("tempLocation", "")
    if not str(location).startswith("gs://"):
        given = f"is {location!r}" if location else "is missing"
        problems.append(
            f"environment.tempLocation {given}: give a folder in Cloud Storage, in the location of the dataset, such "
            "as gs://my-bucket/tmp"
        )
    places = [f"environment.{name}" for name in _PLACES if name in environment]
    if len(places) > 1:
        problems.append(f"{' and '.join(places)} exclude each other: keep one")
    return problems


def warnings_of(environment: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting that Dataflow accepts, but that is rarely intended."""
    warnings = []
    if not environment.get("serviceAccountEmail"):
        warnings.append(DEFAULT_ACCOUNT)
    options = [str(option).lower() for option in environment.get("additionalPipelineOptions") or ()]
    if not environment.get("ipConfiguration") and not any(option in _PRIVATE_BY_OPTION for option in options):
        warnings.append(
            "environment.ipConfiguration is missing: the machines get public addresses; give WORKER_IP_PRIVATE and a "
            "subnetwork with Private Google Access, or WORKER_IP_PUBLIC for public addresses"
        )
    warnings += [
        f"environment.{name} has no effect: the job is a batch job in Python"
        for name in _WITHOUT_EFFECT
        if environment.get(name)
    ]
    return warnings


def _problem(name: str, value: Any) -> str | None:
    if name in _MISNAMED:
        return f"environment.{name} is not Dataflow's name: {_MISNAMED[name]}"
    setting = BY_NAME.get(name)
    if setting is None:
        return f"environment.{name} is not a setting of a launch{did_you_mean(name, BY_NAME)}"
    if not isinstance(value, setting.type) or isinstance(value, bool) is not (setting.type is bool):
        return f"environment.{name} is {value!r}: give {_TYPE_NAMES[setting.type]}"
    if setting.type is int and isinstance(value, int) and value < 1:
        return f"environment.{name} is {value!r}: give a whole number of at least 1"
    if setting.choices is not None and value not in setting.choices:
        return f"environment.{name} is {value!r}: give one of {', '.join(setting.choices)}"
    entries = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    if not all(isinstance(entry, str) for entry in entries):
        return f"environment.{name} has an entry that is not a text: put it in quotes"
    if name == "additionalPipelineOptions":
        # Dataflow would store the value, which may be a secret, with the launch.
        options = [entry.strip().lstrip("-").partition("=")[0] for entry in entries]
        if (parameter := next((option for option in options if option in PARAMETERS), None)) is not None:
            return f"environment.{name} has {parameter}, which is a parameter: write it under parameters"
    return None


def gcloud_can_say(environment: Mapping[str, Any]) -> bool:
    """Whether `gcloud dataflow flex-template run` has a flag for each of the settings."""
    return all(BY_NAME[name].flag for name in environment)


def gcloud_flags(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as flags of `gcloud dataflow flex-template run`. A flag without a value is True."""
    flags: dict[str, Any] = {}
    for setting in SETTINGS:
        value = environment.get(setting.name)
        if setting.choices is not None and value is not None:
            choice = setting.choices[value]
            value = True if choice is None else choice
        if setting.flag is not None and value not in (None, "", [], {}, False):
            flags[setting.flag] = value
    return flags
