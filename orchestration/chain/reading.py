"""Reads a chain file and the launch files that it names, and reports every mistake in all of them together."""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.chain.flow.chain import Chain, Step
from orchestration.chain.flow.names import MAX_NAME_LENGTH, NAME
from orchestration.chain.flow.placeholders import OF_A_RUN, filled_in, placeholders_in, step_of
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.launching.requests import launch_request
from sync_pipeline.parameters.file_values import content_of, text_of
from sync_pipeline.parameters.identifiers import PROJECT_PATTERN
from sync_pipeline.parameters.outputs import OUTPUT_NAMES, OUTPUTS
from sync_pipeline.suggestions import did_you_mean

KEYS = ("name", "project", "region", "time_zone", "steps")
STEP_KEYS = ("launch", "template", "parameters", "environment", "next", "on_failure")
REGION_PATTERN = "[a-z]+-[a-z]+[0-9]+"
TEMPLATE_PATTERN = "gs://[^/]+/.+"
# Placeholders in a launch file, while its parameters are checked.
_SAMPLES = {
    "run": "20250722t130000",
    "date": "2025-07-22",
    "previous_date": "2025-07-21",
    "time": "2025-07-22T13:00:00Z",
}
_SAMPLE_OUTPUTS = {output.name: output.example for output in OUTPUTS}


def read_chain(path: Path) -> Chain:
    """Read a chain file.

    Raises:
        ConfigError: the file or a launch file has mistakes; holds all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"the file cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigError(["the file is not text in UTF-8"]) from None
    content = content_of(text)
    if not isinstance(content, dict):
        raise ConfigError([f"this is not a chain file: it has to be a mapping with {', '.join(KEYS)}"])
    return _Reader(path.parent, content).read()


class _Reader:
    def __init__(self, folder: Path, content: Mapping[Any, Any]) -> None:
        self._folder = folder
        self._content = content
        self._problems: list[str] = []

    def read(self) -> Chain:
        content, problems = self._content, self._problems
        problems += [f"{key} is not known{did_you_mean(str(key), KEYS)}" for key in content if key not in KEYS]
        name = self._text("name", NAME.pattern, "lower-case letters, digits and single hyphens, such as nightly-orders")
        project = self._text("project", PROJECT_PATTERN, "the id of the project in which the jobs run")
        region = self._text("region", REGION_PATTERN, "a region such as us-central1")
        time_zone = str(content.get("time_zone") or "UTC")
        try:
            zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(f"time_zone is {time_zone!r}: give a region's name such as Europe/Berlin, or UTC")
        given = content.get("steps")
        if not isinstance(given, dict) or not given:
            problems.append("steps is missing: give a mapping of names to steps")
            given = {}
        steps = {}
        for step_name, step in given.items():
            self._check_name(f"steps.{step_name}", str(step_name))
            if isinstance(step, dict):
                steps[str(step_name)] = self._step(str(step_name), step, project, region)
            else:
                problems.append(f"steps.{step_name} is not a mapping with {', '.join(STEP_KEYS)}")
                steps[str(step_name)] = Step(str(step_name), {})
        chain = Chain(name, project, region, time_zone, steps)
        problems += _order_problems(chain)
        problems += _placeholder_problems(chain)
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return chain

    def _text(self, key: str, pattern: str, example: str) -> str:
        text = str(self._content.get(key) or "")
        if not re.fullmatch(pattern, text) or (key == "name" and len(text) > MAX_NAME_LENGTH):
            given = f"is {text!r}" if text else "is missing"
            self._problems.append(f"{key} {given}: give {example}")
        return text

    def _check_name(self, place: str, name: str) -> None:
        if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
            self._problems.append(
                f"{place} is no name for a step: give at most {MAX_NAME_LENGTH} lower-case letters, digits and single "
                "hyphens, such as load-orders"
            )

    def _step(self, name: str, given: Mapping[Any, Any], project: str, region: str) -> Step:
        place, problems = f"steps.{name}", self._problems
        problems += [
            f"{place}.{key} is not known{did_you_mean(str(key), STEP_KEYS)}" for key in given if key not in STEP_KEYS
        ]
        parameters = self._mapping(place, "parameters", given)
        environment = self._mapping(place, "environment", given)
        if ("launch" in given) == ("template" in given):
            problems.append(
                f"{place} needs either launch, a launch file, or template, the file of a Flex Template in Cloud Storage"
            )
            launch: dict[str, Any] = {}
        elif "launch" in given:
            launch = self._of_launch_file(place, str(given["launch"]), parameters, environment, project, region)
        else:
            launch = self._of_template(place, str(given["template"]), parameters, environment)
        return Step(name, launch, self._names(place, "next", given), self._names(place, "on_failure", given))

    def _of_launch_file(
        self, place: str, file: str, parameters: dict[str, Any], environment: dict[str, Any], project: str, region: str
    ) -> dict[str, Any]:
        """Return the launch of a file, with the step's own parameters and settings over those of the file."""
        try:
            text = (self._folder / file).read_text(encoding="utf-8")
            content = content_of(text)
            if not isinstance(content, dict):
                raise ConfigError(["this is not a launch file"])
            for key, own in (("parameters", parameters), ("environment", environment)):
                if own and isinstance(content.get(key) or {}, dict):
                    content[key] = {**(content.get(key) or {}), **own}
            # The values of placeholders are not known yet; texts of their form stand for them where they are checked.
            launch = read_launch(json.dumps(filled_in(content, _sample), default=str))
        except (OSError, UnicodeDecodeError) as error:
            self._problems.append(f"{place}.launch: {file} cannot be read ({type(error).__name__})")
            return {}
        except ConfigError as error:
            self._problems += [f"{place}.launch: {file}: {problem}" for problem in error.problems]
            return {}
        if launch.cloud_run is not None:
            self._problems.append(f"{place}.launch: {file} is for Cloud Run, and a chain has jobs of Dataflow")
            return {}
        for key, expected, found in (("project", project, launch.project), ("region", region, launch.region)):
            if found != expected:
                self._problems.append(
                    f"{place}.launch: {file} is for the {key} {found}, the chain for {expected}: use one"
                )
        parameter: dict[str, Any] = launch_request(launch)["launchParameter"]
        parameter["parameters"] = {name: text_of(name, content["parameters"][name]) for name in parameter["parameters"]}
        own = content.get("environment") or {}
        parameter["environment"] |= {name: value for name, value in own.items() if placeholders_in(value)}
        del parameter["jobName"]
        return parameter

    def _of_template(
        self, place: str, template: str, parameters: dict[str, Any], environment: dict[str, Any]
    ) -> dict[str, Any]:
        if not re.fullmatch(TEMPLATE_PATTERN, template):
            self._problems.append(f"{place}.template is {template!r}: give gs://BUCKET/OBJECT")
        texts: dict[str, str] = {}
        for name, value in parameters.items():
            if isinstance(value, bool):
                texts[name] = str(value).lower()
            elif isinstance(value, str | int):
                texts[name] = str(value)
            else:
                self._problems.append(f"{place}.parameters.{name} is not a text: put its value in quotes")
        return {"containerSpecGcsPath": template, "parameters": texts, "environment": environment}

    def _mapping(self, place: str, key: str, given: Mapping[Any, Any]) -> dict[str, Any]:
        value = given.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            self._problems.append(f"{place}.{key} is not a mapping of names to values")
            return {}
        return value

    def _names(self, place: str, key: str, given: Mapping[Any, Any]) -> tuple[str, ...]:
        value = given.get(key)
        names = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(name, str) for name in names):
            self._problems.append(f"{place}.{key} is {value!r}: give the name of a step, or a list of names")
            return ()
        if len(set(names)) < len(names):
            self._problems.append(f"{place}.{key} names a step twice")
        return tuple(dict.fromkeys(names))


def _order_problems(chain: Chain) -> Iterator[str]:
    known = True
    for step in chain.steps.values():
        for key, names in (("next", step.next), ("on_failure", step.on_failure)):
            for name in names:
                if name not in chain.steps:
                    known = False
                    yield f"steps.{step.name}.{key}: there is no step {name}{did_you_mean(name, chain.steps)}"
        for name in set(step.next) & set(step.on_failure):
            yield f"steps.{step.name} has {name} in next and in on_failure: it would start in any case; use one"
    for name in chain.steps:
        successes, failures = chain.before(name), chain.failures_before(name)
        if successes and failures and not set(successes) & set(failures):
            yield (
                f"steps.{name} follows the success of {', '.join(successes)} and the failure of {', '.join(failures)}: "
                "make it two steps"
            )
    if known and chain.steps and (circle := _circle(chain)):
        yield f"steps go in a circle: {' -> '.join(circle)}"


def _circle(chain: Chain) -> list[str]:
    """Return the steps of a circle, with its first step at both ends; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            step = chain.steps[name]
            for other in (*step.next, *step.on_failure):
                if found := walk(other, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in chain.steps if (found := walk(name, []))), [])


def _placeholder_problems(chain: Chain) -> Iterator[str]:
    for step in chain.steps.values():
        for placeholder in placeholders_in(step.launch):
            other = step_of(placeholder)
            if other is None and placeholder not in OF_A_RUN:
                yield (
                    f"steps.{step.name}: ${{{placeholder}}} is not known: use {', '.join(OF_A_RUN)} or "
                    f"steps.STEP.OPTION{did_you_mean(placeholder, OF_A_RUN)}"
                )
            elif other is not None and other[0] not in chain.steps:
                yield f"steps.{step.name}: ${{{placeholder}}}: there is no step {other[0]}"
            elif other is not None and other[0] not in chain.ancestors(step.name):
                yield f"steps.{step.name}: ${{{placeholder}}}: {other[0]} has not ended by then"
            elif other is not None and other[1].startswith("output_") and other[1] not in OUTPUT_NAMES:
                yield f"steps.{step.name}: ${{{placeholder}}} is no output{did_you_mean(other[1], OUTPUT_NAMES)}"


def _sample(placeholder: str) -> str:
    step_option = step_of(placeholder)
    return _SAMPLES.get(placeholder) or _SAMPLE_OUTPUTS.get(step_option[1] if step_option else "", "1")
