"""`Launch`: one sync with its machines and schedule, read from a YAML or JSON file. Reports all errors together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.launching import cloud_run, settings
from sync_pipeline.launching.cloud_run import CloudRun, read_cloud_run
from sync_pipeline.launching.schedule import Schedule, read_schedule
from sync_pipeline.parameters.file_values import content_of, text_of
from sync_pipeline.parameters.identifiers import PROJECT_PATTERN
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.rows import TABLES_FILE
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.printable import UNSAFE
from sync_pipeline.suggestions import did_you_mean

KEYS = (
    "job_name",
    "project",
    "region",
    "template",
    "max_run_seconds",
    "launch_options",
    "cloud_run",
    "environment",
    "parameters",
    "schedule",
)
# Templates take service options as experiments. https://cloud.google.com/dataflow/docs/reference/service-options
_RUN_TIME_OPTION = "max_workflow_runtime_walltime_seconds"

# Dataflow refuses a second active job of a name; Cloud Run starts another execution for every request.
_REPEATED = (
    "schedule.retries: if an answer of Cloud Run is lost, Cloud Scheduler starts a second execution, which appends all "
    "rows again; give retries: 0, or use enable_smart_sync or write_disposition: WRITE_TRUNCATE"
)

# The pattern of each text, and its description for the error message.
_TEXTS = {
    "job_name": ("[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", "lower-case letters, digits and hyphens, such as orders-sync"),
    "project": (PROJECT_PATTERN, "the id of the project in which the job runs, such as my-project"),
    "region": ("[a-z]+-[a-z]+[0-9]+", "a region such as us-central1"),
    "template": ("gs://[^/]+/.+", "the template file, gs://my-templates/sync-to-bigquery.json"),
}


@dataclass(frozen=True)
class Launch:
    """The definition of one sync.

    Attributes:
        job_name: the same for every launch, so that Dataflow rejects a launch while the previous job still runs.
        environment: settings of machines and network, with Dataflow's own names.
        launch_options: settings of the launch itself, such as ft_launch_timeout_secs.
        parameters: the template's parameters, as text. They contain no secrets, only names in Secret Manager.
        warnings: warnings about settings and parameters.
        cloud_run: the job of Cloud Run that runs the sync instead of a job of Dataflow; None for Dataflow.
    """

    job_name: str
    project: str
    region: str
    template: str
    environment: Mapping[str, Any]
    launch_options: Mapping[str, str]
    parameters: Mapping[str, str]
    schedule: Schedule | None
    warnings: tuple[str, ...]
    cloud_run: CloudRun | None = None


def read_launch(text: str, changes: Mapping[str, str] | None = None) -> Launch:
    """Read the text of a launch file. `changes` are parameters that replace those of the file.

    Raises:
        ConfigError: the file has errors; holds all of them.
    """
    content = content_of(text)
    if not isinstance(content, dict):
        raise ConfigError([f"this is not a launch file: it has to be a mapping with {', '.join(KEYS)}"])
    problems = [f"{key} is not known{did_you_mean(str(key), KEYS)}" for key in content if key not in KEYS]
    texts = {key: str(content.get(key) or "") for key in _TEXTS}
    on_cloud_run = content.get("cloud_run") is not None
    for key, (pattern, example) in _TEXTS.items():
        if key == "template" and on_cloud_run and not texts[key]:
            continue
        if not re.fullmatch(pattern, texts[key]):
            given = f"is {texts[key]!r}" if texts[key] else "is missing"
            problems.append(f"{key} {given}: give {example}")
    # The check of the parameters covers their values.
    rest = {key: value for key, value in content.items() if key != "parameters"}
    problems += [f"{place} has a control character: take it out" for place in _unsafe_places(rest)]
    environment = _mapping(content, "environment", problems)
    problems += settings.problems_of(environment)
    limit = _run_time_limit(content, environment, problems)
    job = None
    if on_cloud_run:
        job, found = read_cloud_run(content["cloud_run"], texts["job_name"], content.get("max_run_seconds"))
        problems += found
    else:
        environment |= limit
    launch_options = _launch_options(_mapping(content, "launch_options", problems), problems)
    parameters, config = _read_parameters({**_mapping(content, "parameters", problems), **(changes or {})}, problems)
    schedule = None
    if content.get("schedule") is not None:
        schedule, found = read_schedule(content["schedule"], texts["job_name"], texts["region"])
        problems += found
    if on_cloud_run and launch_options:
        problems.append("launch_options are Dataflow's: omit them with cloud_run")
    if problems:
        raise ConfigError(problems)
    warnings = cloud_run.warnings_of(environment) if on_cloud_run else settings.warnings_of(environment)
    if on_cloud_run and schedule is not None and schedule.retries and config is not None and _appends_all(config):
        warnings.append(_REPEATED)
    return Launch(
        **texts,
        environment=environment,
        launch_options=launch_options,
        parameters=parameters,
        schedule=schedule,
        warnings=(*warnings, *(config.warnings if config is not None else ())),
        cloud_run=job,
    )


def _run_time_limit(
    content: Mapping[str, Any], environment: Mapping[str, Any], problems: list[str]
) -> Mapping[str, list[str]]:
    """Return the setting that makes Dataflow end a job after `max_run_seconds`; empty if the file sets no limit."""
    seconds = content.get("max_run_seconds")
    if seconds is None:
        return {}
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        problems.append(f"max_run_seconds is {seconds!r}: give a whole number of seconds, such as 7200")
        return {}
    others = environment.get("additionalExperiments") or []
    if any(str(other).startswith(_RUN_TIME_OPTION) for other in others):
        problems.append(f"max_run_seconds and {_RUN_TIME_OPTION} in environment.additionalExperiments: keep one")
    return {"additionalExperiments": [*others, f"{_RUN_TIME_OPTION}={seconds}"]}


def _launch_options(given: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    options = {}
    for name, value in given.items():
        if name in BY_NAME:
            problems.append(f"launch_options.{name} is a parameter: write it under parameters")
        elif isinstance(value, bool) or not isinstance(value, int | str):
            problems.append(f"launch_options.{name} is {value!r}: give a text or a whole number")
        elif name == "ft_launch_timeout_secs" and not re.fullmatch("[1-9][0-9]*", str(value)):
            problems.append(f"launch_options.{name} is {value!r}: give a whole number of seconds, such as 1800")
        else:
            options[name] = str(value)
    return options


def _unsafe_places(value: Any, place: str = "") -> Iterator[str]:
    """Yield the path of each text with control characters, which would affect a terminal that shows the commands."""
    if isinstance(value, str) and UNSAFE.search(value):
        yield place
    elif isinstance(value, list):
        for item in value:
            yield from _unsafe_places(item, place)
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = f"{place}.{name}" if place else str(name)
            yield from _unsafe_places(str(name), place or inner)
            yield from _unsafe_places(item, inner)


def _mapping(content: Mapping[str, Any], key: str, problems: list[str]) -> dict[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        problems.append(f"{key} is not a mapping of names to values")
        return {}
    return value


def _appends_all(config: RunConfig) -> bool:
    """Whether each run appends all rows of its query, as it was asked to."""
    single = config.single
    if single is None or single.smart_sync is not None or single.primary_key:
        return False
    destination = single.destination
    return destination.write_disposition_given and destination.write_disposition == "WRITE_APPEND"


def _read_parameters(given: Mapping[str, Any], problems: list[str]) -> tuple[dict[str, str], RunConfig | None]:
    texts: dict[str, str] = {}
    for name, value in given.items():
        text = text_of(name, value)
        if text is None:
            problems.append(f"parameters.{name} is not a text: put its value in quotes")
        elif text.strip():
            texts[name] = text
            problems += _launch_problems(name, text)
    try:
        # The machine that launches may not read the tables file.
        return texts, RunConfig.from_parameters(texts, reads_file=False)
    except ConfigError as error:
        problems += error.problems
        return texts, None


def _launch_problems(name: str, text: str) -> Iterator[str]:
    """Yield the problems of a value that a local run accepts and a launched run must not have."""
    parameter = BY_NAME.get(name)
    is_pem = parameter is not None and parameter.type is ParameterType.PEM
    secret = Secret(name, text, may_be_file=is_pem)
    if parameter is not None and parameter.secret and (secret.is_plain or secret.variable):
        yield (
            f"{name} is not the name of a secret: Dataflow and Cloud Scheduler store a launch with its parameters; "
            "store the value in Secret Manager and give projects/PROJECT/secrets/SECRET/versions/VERSION"
        )
    if name == TABLES_FILE and not text.startswith("gs://"):
        yield (
            f"{TABLES_FILE} is {text!r}: the job cannot read files of this machine; upload it with gcloud storage "
            "cp, and give gs://BUCKET/OBJECT"
        )
    if name == "dry_run" and text.strip().lower() == "true":
        yield (
            "dry_run is true: the launcher would print the plan to its log, and Dataflow reports a launch without a "
            "job as failed; run python main.py with these parameters instead"
        )
