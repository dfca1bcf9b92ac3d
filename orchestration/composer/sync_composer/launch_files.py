"""Launch files as requests. `sync_pipeline.launching` checks them; here they are only read, the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from .yaml_text import read_yaml

_NEEDED = ("job_name", "project", "region", "template")


@dataclass(frozen=True)
class Launch:
    """One launch of the template.

    Attributes:
        parameters: the template's parameters, as text. They have names of secrets, never secrets.
    """

    job_name: str
    project: str
    region: str
    template: str
    environment: Mapping[str, Any]
    launch_options: Mapping[str, str]
    parameters: Mapping[str, str]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Launch:
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return asdict(self)

    def request(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """Return the `LaunchFlexTemplateRequest`, with labels besides those of the launch file."""
        own = self.environment.get("additionalUserLabels") or {}
        parameter = {
            "jobName": self.job_name,
            "containerSpecGcsPath": self.template,
            "environment": {**self.environment, "additionalUserLabels": {**own, **labels}},
            "parameters": dict(self.parameters),
        }
        if self.launch_options:
            parameter["launchOptions"] = dict(self.launch_options)
        return {"launchParameter": parameter}

    def named(self, suffix: str) -> Launch:
        """Return the launch under a name of its own, so that it may run beside a job of the other name."""
        return replace(self, job_name=f"{self.job_name}-{re.sub('[^a-z0-9]+', '-', suffix.lower()).strip('-')}")

    def with_parameters(self, parameters: Mapping[str, Any]) -> Launch:
        """Return the launch with other parameters; None removes one."""
        return replace(self, parameters=_texts({**self.parameters, **parameters}))

    def for_slot(self, start: datetime, end: datetime) -> Launch:
        """Return the launch that loads one interval again, under a name of its own.

        Raises:
            ValueError: the launch is of a sync that has no intervals.
        """
        if self.parameters.get("enable_smart_sync", "").lower() != "true":
            raise ValueError(
                f"the launch of {self.job_name} has no enable_smart_sync: true, so a run cannot load one slot; start a "
                "run without a slot, which loads what the query reads"
            )
        if start >= end:
            raise ValueError(f"interval_start is {start.isoformat()}, and interval_end is not after it: correct them")
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        slot = {"interval_start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "interval_end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        return self.with_parameters(slot).named(f"{start:%Y%m%dt%H%M%S}")


def with_overrides(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a launch file with the overrides of a manifest."""
    changed = dict(content)
    if "template" in overrides:
        changed["template"] = overrides["template"]
    for key in ("environment", "parameters"):
        merged = {**(content.get(key) or {}), **overrides.get(key, {})}
        changed[key] = {name: value for name, value in merged.items() if value is not None}
    return changed


def read_launch_file(text: str, overrides: Mapping[str, Any]) -> tuple[Launch | None, list[str]]:
    """Return the launch of a launch file with overrides, and the problems that prevent one."""
    content, problems = read_yaml(text)
    if not problems and not isinstance(content, dict):
        problems = [f"this is not a launch file: it has to be a mapping with {', '.join(_NEEDED)}"]
    if not problems:
        problems = [f"{key} is missing" for key in _NEEDED if not isinstance(content.get(key), str)]
        for key in ("environment", "launch_options", "parameters"):
            if not isinstance(content.get(key) or {}, dict):
                problems.append(f"{key} is not a mapping of names to values")
        if content.get("cloud_run"):
            problems = ["cloud_run is there, and manifests launch jobs of Dataflow: give template instead"]
    if problems:
        return None, problems
    content = with_overrides(content, overrides)
    environment = dict(content["environment"])
    if content.get("max_run_seconds") is not None:
        others = environment.get("additionalExperiments") or []
        limit = f"max_workflow_runtime_walltime_seconds={content['max_run_seconds']}"
        environment["additionalExperiments"] = [*others, limit]
    return Launch(
        content["job_name"],
        content["project"],
        content["region"],
        content["template"],
        environment,
        _texts(content.get("launch_options") or {}),
        _texts(content["parameters"]),
    ), []


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: _text(value) for name, value in values.items()}
    return {name: value for name, value in texts.items() if value.strip()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
