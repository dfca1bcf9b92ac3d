"""Rollout and schedule manifests: what they may contain, and as values. All mistakes are reported together."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import keys
from .keys import Key, as_date, problems_of
from .yaml_text import read_yaml

RESTART, ROLLING = "restart", "rolling"
CANCEL, FINISH = "cancel", "finish"
DONE, RUNNING = "done", "running"
_A_WEEK = 7 * 24 * 60

_LAUNCH_FILE = "give the launch file's path, relative to the manifest, such as launches/orders.yaml"
_OVERRIDES = Key(
    "overrides",
    "What differs from the launch file.",
    "give it template, environment or parameters",
    section=(
        keys.text(
            "template",
            "gs://[^/]+/.+",
            "Another template file.",
            "give a template file, such as gs://my-templates/sync-to-bigquery.json",
        ),
        keys.mapping(
            "environment", "Settings of the machines that differ, with Dataflow's names.", "give Dataflow's settings"
        ),
        keys.mapping("parameters", "Parameters that differ; null removes one.", "give names of parameters"),
    ),
)
_VALIDATION = Key(
    "validation",
    "When a job counts as healthy.",
    "give it healthy_when, timeout_minutes, counters or reconcile",
    section=(
        keys.choice(
            "healthy_when",
            (DONE, RUNNING),
            "done waits for the job's end, running for its first minute on the workers. Default: done.",
        ),
        keys.number("timeout_minutes", 1, _A_WEEK, "How long to wait for that state. Default: 1440."),
        Key(
            "counters",
            "Limits of the job's counters, such as rows_loaded or dead_letters.",
            "give names of counters, each with min or max",
            section=(
                Key(
                    "*",
                    "The counter's limits. A counter that the job does not have is 0.",
                    "give it min or max",
                    section=(
                        keys.number("min", 0, 2**63 - 1, "The smallest value that is right."),
                        keys.number("max", 0, 2**63 - 1, "The largest value that is right."),
                    ),
                ),
            ),
        ),
        keys.flag("reconcile", "Whether a job with reconcile=report then compares the destination with the source."),
    ),
)
_DESCRIPTION = keys.text("description", "(?s:.{1,1000})", "A sentence for Airflow's pages.", "give a text")

ROLLOUT_KEYS: tuple[Key, ...] = (
    keys.text(
        "rollout",
        keys.NAME,
        "Name of the rollout. Its DAG is sync_rollout_NAME.",
        "give lower-case letters, digits, hyphens and underscores, such as orders",
        required=True,
    ),
    keys.text(
        "version",
        "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "What is rolled out, such as the tag of the image. Each version is rolled out once.",
        'give a text in quotes, such as "2026-11-30" or "1.4.0"',
        required=True,
    ),
    keys.text("launch_file", ".+", "Path of the launch file, relative to the manifest.", _LAUNCH_FILE, required=True),
    keys.choice(
        "strategy",
        (RESTART, ROLLING),
        "restart stops the old job before the new one starts; rolling stops it when the new one is healthy.",
        required=True,
    ),
    keys.choice(
        "old_job",
        (CANCEL, FINISH),
        "cancel ends the old job; finish waits for its own end. Default: cancel.",
    ),
    _OVERRIDES,
    Key(
        "candidate",
        "What differs for the job that rolling validates, and is not released.",
        "give it parameters",
        section=(
            keys.mapping(
                "parameters",
                "Parameters of that job alone, such as another destination_bigquery_table.",
                "give names of parameters",
            ),
        ),
    ),
    _VALIDATION,
    _DESCRIPTION,
)
SCHEDULE_KEYS: tuple[Key, ...] = (
    keys.text(
        "schedule",
        keys.NAME,
        "Name of the schedule. Its DAG is sync_schedule_NAME.",
        "give lower-case letters, digits, hyphens and underscores, such as orders",
        required=True,
    ),
    keys.text("launch_file", ".+", "Path of the launch file, relative to the manifest.", _LAUNCH_FILE),
    keys.text(
        "rollout",
        keys.NAME,
        "Name of a rollout, whose released version is launched.",
        "give the name of a rollout manifest, such as orders",
    ),
    keys.cron("cron", "Five fields, in the local time of time_zone."),
    keys.time_zone("time_zone", "Time zone of cron and of the dates. Default: UTC."),
    keys.date("start_date", "First day of the schedule, and of backfills. Default: 2026-01-01."),
    keys.date("end_date", "Last day of the schedule."),
    _OVERRIDES,
    _VALIDATION,
    _DESCRIPTION,
)


@dataclass(frozen=True)
class Validation:
    """When a job counts as healthy.

    Attributes:
        counters: limits by counter, (least, most); None is no limit.
    """

    healthy_when: str = DONE
    timeout_minutes: int = 24 * 60
    counters: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    reconcile: bool = False


@dataclass(frozen=True)
class Rollout:
    """A rollout manifest. `launch_file` is relative to the manifest's folder."""

    name: str
    version: str
    launch_file: str
    strategy: str
    old_job: str
    overrides: Mapping[str, Any]
    candidate: Mapping[str, Any]
    validation: Validation
    description: str


@dataclass(frozen=True)
class Schedule:
    """A schedule manifest. Either `launch_file` or `rollout` is "". The dates are days in `time_zone`."""

    name: str
    launch_file: str
    rollout: str
    cron: str
    time_zone: str
    start_date: datetime.date
    end_date: datetime.date | None
    overrides: Mapping[str, Any]
    validation: Validation
    description: str


def read_rollout(text: str) -> tuple[Rollout | None, list[str]]:
    """Return the manifest, and a sentence for each mistake; with a mistake there is no manifest."""
    content, problems = _content(text, "rollout", ROLLOUT_KEYS)
    if not isinstance(content, dict):
        return None, problems
    problems += _contradictions(content)
    if content.get("strategy") == RESTART and content.get("candidate"):
        problems.append(
            "candidate and strategy restart exclude each other: remove candidate, or give strategy: rolling"
        )
    if problems:
        return None, problems
    return Rollout(
        content["rollout"],
        content["version"],
        content["launch_file"],
        content["strategy"],
        content.get("old_job", CANCEL),
        content.get("overrides", {}),
        content.get("candidate", {}),
        _validation(content.get("validation", {})),
        content.get("description", ""),
    ), []


def read_schedule(text: str) -> tuple[Schedule | None, list[str]]:
    """Return the manifest, and a sentence for each mistake; with a mistake there is no manifest."""
    content, problems = _content(text, "schedule", SCHEDULE_KEYS)
    if not isinstance(content, dict):
        return None, problems
    problems += _contradictions(content)
    launched = [name for name in ("launch_file", "rollout") if content.get(name)]
    if len(launched) == 2:
        problems.append("launch_file and rollout exclude each other: keep rollout, whose manifest has the launch file")
    elif not launched:
        problems.append(f"launch_file and rollout are missing: {_LAUNCH_FILE}, or the name of a rollout")
    if content.get("rollout") and content.get("overrides"):
        problems.append("overrides and rollout exclude each other: write overrides in the rollout manifest")
    if problems:
        return None, problems
    end = content.get("end_date")
    return Schedule(
        content["schedule"],
        content.get("launch_file", ""),
        content.get("rollout", ""),
        content["cron"],
        content.get("time_zone", "UTC"),
        as_date(content.get("start_date", "2026-01-01")),
        None if end is None else as_date(end),
        content.get("overrides", {}),
        _validation(content.get("validation", {})),
        content.get("description", ""),
    ), []


def _content(text: str, kind: str, allowed: tuple[Key, ...]) -> tuple[Any, list[str]]:
    content, problems = read_yaml(text)
    if problems:
        return None, problems
    if not isinstance(content, dict):
        names = ", ".join(key.name for key in allowed if key.required)
        return None, [f"this is not a {kind} manifest: give it a mapping with {names}"]
    # A date without quotes is a date to YAML, and a version to its author.
    if isinstance(content.get("version"), datetime.date):
        content["version"] = str(content["version"])
    return content, list(problems_of(content, allowed))


def _contradictions(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of two keys together, each of which may be wrong by itself."""
    try:
        start, end = as_date(content["start_date"]), as_date(content["end_date"])
    except (KeyError, ValueError):
        pass
    else:
        if end < start:
            yield f"end_date is {end}, before start_date {start}: exchange or correct them"
    validation = content.get("validation")
    if not isinstance(validation, dict):
        return
    counters = validation.get("counters")
    for name, limits in counters.items() if isinstance(counters, dict) else ():
        least, most = (limits.get("min"), limits.get("max")) if isinstance(limits, dict) else (None, None)
        if isinstance(least, int) and isinstance(most, int) and most < least:
            yield f"validation.counters.{name} has max {most} below min {least}: exchange or correct them"
    late = [name for name in ("counters", "reconcile") if validation.get(name)]
    if validation.get("healthy_when") == RUNNING and late:
        yield (
            f"validation.{late[0]} needs the job's end, and healthy_when is running: give healthy_when: done, or "
            f"remove {late[0]}"
        )


def _validation(content: Mapping[str, Any]) -> Validation:
    default = Validation()
    return Validation(
        content.get("healthy_when", default.healthy_when),
        content.get("timeout_minutes", default.timeout_minutes),
        {name: (each.get("min"), each.get("max")) for name, each in content.get("counters", {}).items()},
        content.get("reconcile", default.reconcile),
    )
