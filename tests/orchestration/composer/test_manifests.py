"""What a manifest may contain, and what is said about one with mistakes."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
import yaml

from orchestration.composer.__main__ import FOLDER, SCHEMAS, schema_text
from orchestration.composer.sync_composer.manifests import (
    Rollout,
    Schedule,
    Validation,
    read_rollout,
    read_schedule,
)

ROLLOUT = {"rollout": "orders", "version": "1.4.0", "launch_file": "orders.yaml", "strategy": "restart"}
SCHEDULE = {"schedule": "orders", "launch_file": "orders.yaml", "cron": "0 2 * * *"}


def rollout_problems(**changed: Any) -> list[str]:
    return read_rollout(yaml.safe_dump({**ROLLOUT, **changed}))[1]


def schedule_problems(**changed: Any) -> list[str]:
    return read_schedule(yaml.safe_dump({**SCHEDULE, **changed}))[1]


def test_the_shortest_manifests() -> None:
    assert read_rollout(yaml.safe_dump(ROLLOUT)) == (
        Rollout("orders", "1.4.0", "orders.yaml", "restart", "cancel", {}, {}, Validation(), ""),
        [],
    )
    start = datetime.date(2026, 1, 1)
    assert read_schedule(yaml.safe_dump(SCHEDULE)) == (
        Schedule("orders", "orders.yaml", "", "0 2 * * *", "UTC", start, None, {}, Validation(), ""),
        [],
    )


def test_ten_mistakes_are_reported_together() -> None:
    text = """
rollout: Orders
launch_file: ""
strategy: blue-green
old_jobs: cancel
overrides:
  template: a.json
validation:
  timeout_minutes: 0
  counters:
    rows_loaded: {least: 1}
    dead_letters: {min: 2, max: 1}
  reconcile: perhaps
"""
    manifest, problems = read_rollout(text)
    assert manifest is None
    assert problems == [
        "rollout is 'Orders': give lower-case letters, digits, hyphens and underscores, such as orders",
        "launch_file is '': give the launch file's path, relative to the manifest, such as launches/orders.yaml",
        "strategy is 'blue-green': give restart or rolling",
        "old_jobs is not known: did you mean old_job?",
        "overrides.template is 'a.json': give a template file, such as gs://my-templates/sync-to-bigquery.json",
        "validation.timeout_minutes is 0: give a whole number from 1 to 10080",
        "validation.counters.rows_loaded.least is not known: remove it",
        "validation.reconcile is 'perhaps': give true or false",
        'version is missing: give a text in quotes, such as "2026-11-30" or "1.4.0"',
        "validation.counters.dead_letters has max 1 below min 2: exchange or correct them",
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param({"cron": "0 2 * *"}, "cron is '0 2 * *': give five fields", id="four fields"),
        pytest.param({"cron": "0 25 * * *"}, "cron is '0 25 * * *': give five fields", id="no such hour"),
        pytest.param({"cron": "0 2 * * FOO"}, "cron is '0 2 * * FOO': give five fields", id="no such day"),
        pytest.param({"time_zone": "EST"}, "time_zone is 'EST': give a region's name", id="abbreviation"),
        pytest.param({"time_zone": "Europe/Bern"}, "time_zone is 'Europe/Bern': give a region", id="no such zone"),
        pytest.param({"start_date": "soon"}, "start_date is 'soon': give a date such as 2026-11-30", id="no date"),
        pytest.param(
            {"start_date": datetime.date(2026, 2, 1), "end_date": "2026-01-01"},
            "end_date is 2026-01-01, before start_date 2026-02-01: exchange or correct them",
            id="ends before it starts",
        ),
        pytest.param({"rollout": "orders"}, "launch_file and rollout exclude each other: keep rollout", id="both"),
        pytest.param({"launch_file": None}, "launch_file has no value: give the launch file's path", id="null"),
        pytest.param(
            {"validation": {"healthy_when": "running", "reconcile": True}},
            "validation.reconcile needs the job's end, and healthy_when is running: give healthy_when: done",
            id="reconcile while running",
        ),
        pytest.param({"validation": True}, "validation is not a mapping: give it healthy_when", id="no mapping"),
    ],
)
def test_a_mistake_in_a_schedule(changed: dict[str, Any], problem: str) -> None:
    assert [each for each in schedule_problems(**changed) if each.startswith(problem)]


def test_what_is_launched_is_missing() -> None:
    _, problems = read_schedule("{schedule: orders, cron: 0 2 * * *}")
    told = "launch_file and rollout are missing: give the launch file's path, relative to the manifest, such as "
    assert problems == [f"{told}launches/orders.yaml, or the name of a rollout"]


def test_a_candidate_needs_rolling() -> None:
    assert rollout_problems(candidate={"parameters": {"x": "y"}}) == [
        "candidate and strategy restart exclude each other: remove candidate, or give strategy: rolling"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a: [", "this is not YAML: ", id="syntax"),
        pytest.param("a: 1\na: 2", "this is not YAML: a is there twice (line 2, column 1)", id="twice"),
        pytest.param("a: no", "this is not YAML: a value is unclear: put it in quotes, or write", id="no"),
        pytest.param("a: 012", "this is not YAML: a value is unclear: put it in quotes, or write", id="octal"),
        pytest.param("[]", "this is not a rollout manifest: give it a mapping with rollout, version", id="a list"),
        pytest.param("", "this is not a rollout manifest: give it a mapping with rollout, version", id="empty"),
    ],
)
def test_what_is_no_manifest(text: str, problem: str) -> None:
    manifest, problems = read_rollout(text)
    assert manifest is None
    assert problems[0].startswith(problem)


@pytest.mark.parametrize("version", ["2026-11-30", '"1.10"'])
def test_a_version_keeps_its_digits(version: str) -> None:
    manifest, _ = read_rollout(f"{{rollout: a, version: {version}, launch_file: a.yaml, strategy: restart}}")
    assert manifest is not None
    assert manifest.version == version.strip('"')
    _, problems = read_rollout("{rollout: a, version: 1.10, launch_file: a.yaml, strategy: restart}")
    assert problems == ['version is 1.1: give a text in quotes, such as "2026-11-30" or "1.4.0"']


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 9-17 * * 1-5", "0 0 1 JAN,JUL *", "30 6 * * mon-fri", "0 0 * * 7"])
def test_schedules_that_are_right(cron: str) -> None:
    assert schedule_problems(cron=cron) == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schemas_are_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == schema_text(SCHEMAS[name]), "run python -m orchestration.composer schemas"


def test_the_schemas_have_every_key_with_its_help() -> None:
    for schema in SCHEMAS.values():
        assert all(described["description"] for described in schema["properties"].values())
        assert schema["additionalProperties"] is False
    limits = SCHEMAS["rollout.schema.json"]["properties"]["validation"]["properties"]["counters"]
    assert json.loads(json.dumps(limits))["additionalProperties"]["properties"].keys() == {"min", "max"}
