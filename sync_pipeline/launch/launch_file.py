"""`Launch`: a sync, where it runs and when, read from a YAML or JSON file with every mistake reported at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sync_pipeline.config import SyncConfig
from sync_pipeline.errors import ConfigError
from sync_pipeline.identifiers import PROJECT_PATTERN
from sync_pipeline.launch import settings
from sync_pipeline.launch.schedule import Schedule, read_schedule
from sync_pipeline.parameters import BY_NAME, ParameterType
from sync_pipeline.secrets import Secret
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.values import read_json_object

_KEYS = ("job_name", "project", "region", "template", "environment", "parameters", "schedule")

# What a text must look like, and how to say so.
_TEXTS = {
    "job_name": ("[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", "lower-case letters, digits and hyphens, such as orders-sync"),
    "project": (PROJECT_PATTERN, "the id of the project in which the job runs, such as my-project"),
    "region": ("[a-z]+-[a-z]+[0-9]+", "a region such as us-central1"),
    "template": ("gs://[^/]+/.+", "the template file, gs://my-bucket/templates/sync-to-bigquery.json"),
}


@dataclass(frozen=True)
class Launch:
    """One sync as it is launched.

    Attributes:
        job_name: the same for every launch: Dataflow then refuses one while the previous job still runs.
        environment: Dataflow's own names and values for machines and network.
        parameters: the template's parameters, as text. No secret is among them, only names in Secret Manager.
        warnings: what the parameters are warned of.
    """

    job_name: str
    project: str
    region: str
    template: str
    environment: Mapping[str, Any]
    parameters: Mapping[str, str]
    schedule: Schedule | None
    warnings: tuple[str, ...]


def read_launch(text: str) -> Launch:
    """Read the text of a launch file.

    Raises:
        ConfigError: all problems of the file.
    """
    try:
        content = _content_of(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"this is not YAML: {_place_of(error)}"]) from None
    if not isinstance(content, dict):
        raise ConfigError([f"this is not a launch file: it has to be a mapping with {', '.join(_KEYS)}"])
    problems = [f"{key} is not known{did_you_mean(str(key), _KEYS)}" for key in content if key not in _KEYS]
    texts = {key: str(content.get(key) or "") for key in _TEXTS}
    for key, (pattern, example) in _TEXTS.items():
        if not re.fullmatch(pattern, texts[key]):
            given = f"is {texts[key]!r}" if texts[key] else "is missing"
            problems.append(f"{key} {given}: give {example}")
    environment = _mapping(content, "environment", problems)
    problems += settings.problems_of(environment)
    parameters, warnings = _read_parameters(_mapping(content, "parameters", problems), problems)
    schedule = None
    if content.get("schedule") is not None:
        schedule, found = read_schedule(content["schedule"], texts["job_name"], texts["region"])
        problems += found
    if problems:
        raise ConfigError(problems)
    return Launch(**texts, environment=environment, parameters=parameters, schedule=schedule, warnings=warnings)


def _content_of(text: str) -> Any:
    try:
        # YAML's reader takes most of JSON, but no tabs, and of a sign beyond 16 bits it makes two halves.
        return read_json_object(text)
    except ValueError:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, which refuses more than YAML's own


def _mapping(content: Mapping[str, Any], key: str, problems: list[str]) -> dict[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        problems.append(f"{key} is not a mapping of names to values")
        return {}
    return value


def _read_parameters(given: Mapping[str, Any], problems: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    texts: dict[str, str] = {}
    for name, value in given.items():
        text = _text_of(name, value)
        if text is None:
            problems.append(f"parameters.{name} is not a text: put its value in quotes")
        elif text.strip():
            texts[name] = text
            problems += _launch_problems(name, text)
    try:
        return texts, SyncConfig.from_parameters(texts).warnings
    except ConfigError as error:
        problems += error.problems
        return texts, ()


def _text_of(name: str, value: Any) -> str | None:
    """Return a value of YAML as a parameter's text, None when it has none that is certain."""
    kind = BY_NAME[name].type if name in BY_NAME else None
    if isinstance(value, dict) and kind is ParameterType.JSON:
        try:
            return json.dumps(value)
        except TypeError:
            # YAML has dates, JSON has none.
            return None
    if isinstance(value, list) and kind is ParameterType.COLUMNS:
        return ",".join(value) if all(isinstance(item, str) for item in value) else None
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, int | str):
        return "" if value is None else str(value)
    return None


def _launch_problems(name: str, text: str) -> Iterator[str]:
    """Yield what is right for a run at a keyboard, and wrong for one that is launched."""
    parameter = BY_NAME.get(name)
    if parameter is not None and parameter.secret and not Secret(name, text).is_name:
        yield (
            f"{name} is not the name of a secret: a launch is kept, with its parameters, by Dataflow and by Cloud "
            "Scheduler; store the value in Secret Manager and give projects/PROJECT/secrets/SECRET/versions/VERSION"
        )
    if name == "dry_run" and text.strip().lower() == "true":
        yield (
            "dry_run is true: the plan would be printed where nobody looks, and Dataflow counts a launch without a job "
            "as failed; run python main.py with these parameters instead"
        )


class _Loader(yaml.SafeLoader):
    """Refuses what YAML's own changes in silence, and reads all numbers of JSON.

    A key that is there twice, of which the last would stay; and texts without quotes that only YAML 1.1 takes for
    something else: `no` would become false, 0123 become 83, and 12:30 become 750.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for name, _ in node.value:
            if name.tag == "tag:yaml.org,2002:merge":
                continue
            keys.append(self.construct_object(name, deep=True))
            if keys[-1] in keys[:-1]:
                raise yaml.constructor.ConstructorError(None, None, f"{keys[-1]} is there twice", name.start_mark)
        return dict(super().construct_mapping(node, deep))

    def construct_truth_value(self, node: Any) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise _unclear(node, "a text or a truth value: put it in quotes, or write true or false")
        return bool(self.construct_yaml_bool(node))

    def construct_whole_number(self, node: Any) -> int:
        if not re.fullmatch("[-+]?(0|[1-9][0-9]*)", node.value):
            raise _unclear(node, "a text or a number: put it in quotes, or write the number in plain digits")
        return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_truth_value)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
# YAML 1.1 wants a point and a sign in it; elsewhere 1e6 is a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _unclear(node: Any, reading: str) -> ConfigError:
    # Without the value: it may be a secret.
    mark = node.start_mark
    return ConfigError([f"line {mark.line + 1}, column {mark.column + 1}, may be {reading}"])


def _place_of(error: yaml.YAMLError) -> str:
    # Without the excerpt that the error would show: it may be a secret.
    problem = getattr(error, "problem", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else problem
