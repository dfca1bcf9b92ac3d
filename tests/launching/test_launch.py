"""Launch files: what they say is accepted by Google's own descriptions of its APIs, and every mistake is told."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.discovery import read_body, schemas
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching import commands, requests
from sync_pipeline.launching.__main__ import main
from sync_pipeline.launching.launch_file import Launch, read_launch
from sync_pipeline.launching.settings import SETTINGS, gcloud_flags

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PASSWORD = "hunter2-in-plain"

LAUNCH: dict[str, Any] = {
    "job_name": "orders-sync",
    "project": "my-project",
    "region": "us-central1",
    "template": "gs://my-templates/sync-to-bigquery.json",
    "environment": {"tempLocation": "gs://my-bucket/tmp"},
    "parameters": {
        "data_source": "postgresql",
        "postgresql_host": "10.0.0.5",
        "postgresql_database": "shop",
        "postgresql_username": "sync",
        "postgresql_password": "projects/my-project/secrets/postgresql-password/versions/latest",
        "postgresql_query": "SELECT 'it''s', \"a\" FROM orders\nWHERE x > '^~^,;' -- END",
        "destination_bigquery_project": "my-project",
        "destination_bigquery_dataset": "analytics",
        "destination_bigquery_table": "orders",
    },
}
# Ten levels of ten aliases each stand for ten billion texts.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
SCHEDULE = {"cron": "0 2 * * *", "service_account": "scheduler@my-project.iam.gserviceaccount.com"}


def launch(**changes: Any) -> Launch:
    return read_launch(yaml.safe_dump(LAUNCH | {"schedule": SCHEDULE} | changes))


def launch_file(**changes: Any) -> dict[str, Any]:
    return LAUNCH | parameters(**changes)


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        launch(**changes)
    return list(raised.value.problems)


def environment(**settings: Any) -> dict[str, Any]:
    return {"environment": LAUNCH["environment"] | settings}


def parameters(**changes: Any) -> dict[str, Any]:
    return {"parameters": LAUNCH["parameters"] | changes}


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_the_bodies_of_the_examples_are_googles(example: Path) -> None:
    told = read_launch(example.read_text())
    assert told.warnings == ()
    request = requests.launch_request(told)
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", request) == (request, [])
    if "schedule" not in yaml.safe_load(example.read_text()):
        return
    assert told.schedule is not None
    job = requests.scheduler_job(told, told.schedule)
    assert read_body("cloudscheduler.v1", "Job", job) == (job, [])
    assert json.loads(base64.b64decode(job["httpTarget"]["body"])) == request
    assert job["httpTarget"]["oauthToken"] == {"serviceAccountEmail": told.schedule.service_account}


@pytest.mark.parametrize("name", ["disablePublicIps", "workerMachineType"])
def test_names_that_dataflow_refuses(name: str) -> None:
    body = {"launch_parameter": {"jobName": "x", "environment": {name: "x"}}}
    _, (found,) = read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", body)
    where = "'launch_parameter.environment'"
    assert found == f'Invalid JSON payload received. Unknown name "{name}" at {where}: Cannot find field.'


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_settings_are_dataflows(setting: Any) -> None:
    described = schemas("dataflow.v1b3")["FlexTemplateRuntimeEnvironment"]["properties"][setting.name]
    kinds = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}
    assert kinds[setting.type] == described["type"]
    if setting.choices:
        assert set(setting.choices) < set(described["enum"])


def test_every_setting_of_dataflow_is_known() -> None:
    described = schemas("dataflow.v1b3")["FlexTemplateRuntimeEnvironment"]["properties"]
    assert {setting.name for setting in SETTINGS} == described.keys()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"zone": "us-central1-a"}, {"zone": "us-central1-a"}, id="zone"),
        pytest.param({"enableStreamingEngine": True}, {"enableStreamingEngine": True}, id="streaming engine"),
        pytest.param({"diskSizeGb": 50}, {"diskSizeGb": 50}, id="disk"),
        pytest.param(
            {"autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE"},
            {"autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE"},
            id="autoscaling",
        ),
        pytest.param({"sdkContainerImage": "i:1"}, {"sdkContainerImage": "i:1"}, id="image"),
    ],
)
def test_settings_of_the_request(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    request = requests.launch_request(launch(**environment(**changes)))
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", request) == (request, [])
    assert request["launchParameter"]["environment"] == LAUNCH["environment"] | expected


def test_a_job_may_have_a_longest_time_and_so_may_its_launch() -> None:
    told = launch(
        max_run_seconds=7200,
        launch_options={"ft_launch_timeout_secs": 1800},
        **environment(additionalExperiments=["a"]),
    )
    request = requests.launch_request(told)
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", request) == (request, [])
    parameter = request["launchParameter"]
    assert parameter["launchOptions"] == {"ft_launch_timeout_secs": "1800"}
    assert parameter["environment"]["additionalExperiments"] == ["a", "max_workflow_runtime_walltime_seconds=7200"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"launch_options": {"ft_launch_timeout_secs": "1800"}}, id="launch option"),
        pytest.param(environment(diskSizeGb=50, serviceAccountEmail="it's"), id="setting"),
    ],
)
def test_what_gcloud_has_no_flag_for_is_sent_by_curl(changes: dict[str, Any], tmp_path: Path) -> None:
    told = launch(**changes)
    for name, script in (("gcloud", "echo token"), ("curl", 'printf "%s\\n" "$@" >words; cat >body')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    subprocess.run(
        ["bash", "-euc", commands.run_command(told)],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    assert (tmp_path / "words").read_text().splitlines() == [
        "--fail-with-body",
        "--silent",
        "--show-error",
        "--header=Authorization: Bearer token",
        "--header=Content-Type: application/json",
        "--data-binary=@-",
        requests.launch_url(told),
    ]
    assert json.loads((tmp_path / "body").read_text()) == requests.launch_request(told)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        pytest.param({}, ["serviceAccountEmail is missing", "ipConfiguration is missing"], id="nothing is said"),
        pytest.param({"serviceAccountEmail": "a@b", "ipConfiguration": "WORKER_IP_PUBLIC"}, [], id="public is meant"),
        pytest.param(
            {"serviceAccountEmail": "a@b", "additionalPipelineOptions": ["use_public_ips=False"]}, [], id="by an option"
        ),
        pytest.param(
            {"serviceAccountEmail": "a@b", "additionalPipelineOptions": ["use_public_ips=true"]},
            ["ipConfiguration is missing"],
            id="public by an option",
        ),
        pytest.param(
            {"serviceAccountEmail": "a@b", "ipConfiguration": "WORKER_IP_PRIVATE", "enableStreamingEngine": True},
            ["enableStreamingEngine has no effect"],
            id="no effect",
        ),
    ],
)
def test_settings_that_are_hardly_meant_are_warned_of(settings: dict[str, Any], warned: list[str]) -> None:
    found = launch(**environment(**settings)).warnings
    assert [text.startswith(f"environment.{begin}") for text, begin in zip(found, warned, strict=True)] == [True] * len(
        warned
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("America/New_York", None, id="region"),
        pytest.param("UTC", None, id="UTC"),
        pytest.param("Etc/GMT+5", None, id="fixed"),
        pytest.param(
            "EST",
            "an abbreviation may not follow daylight saving time; give a region's name such as Europe/Berlin, or UTC, "
            "America/New_York for example",
            id="EST",
        ),
        pytest.param(
            "Japan",
            "an abbreviation may not follow daylight saving time; give a region's name such as Europe/Berlin, or UTC",
            id="country",
        ),
        pytest.param("PST", "give a region's name such as Europe/Berlin, or UTC", id="no name"),
        pytest.param("../etc/passwd", "give a region's name such as Europe/Berlin, or UTC", id="path"),
    ],
)
def test_time_zones_are_regions(name: str, expected: str | None) -> None:
    if expected is None:
        assert launch(schedule=SCHEDULE | {"time_zone": name}).schedule is not None
    else:
        assert problems(schedule=SCHEDULE | {"time_zone": name}) == [f"schedule.time_zone is {name!r}: {expected}"]


def test_jobs_keep_one_name_and_are_tried_again() -> None:
    told = launch()
    assert told.schedule is not None
    job = requests.scheduler_job(told, told.schedule)
    assert job["name"] == "projects/my-project/locations/us-central1/jobs/orders-sync"
    assert (job["timeZone"], job["retryConfig"]["retryCount"]) == ("UTC", 3)
    # With one, Cloud Scheduler would go on beyond the number of retries.
    assert "maxRetryDuration" not in job["retryConfig"]
    assert json.loads(base64.b64decode(job["httpTarget"]["body"]))["launchParameter"]["jobName"] == "orders-sync"


def test_the_command_that_runs_has_its_flags_in_a_here_document() -> None:
    told = launch(**environment(ipConfiguration="WORKER_IP_PRIVATE", flexrsGoal="FLEXRS_COST_OPTIMIZED", maxWorkers=3))
    command, text = commands.run_command(told).split(" <<'END'\n")
    assert shlex.split(command) == [
        "gcloud", "dataflow", "flex-template", "run", "orders-sync", "--flags-file=-",
    ]  # fmt: skip
    assert text.endswith("\nEND\n")
    assert text.count("\nEND") == 1
    assert yaml.safe_load(text.removesuffix("END\n")) == {
        "--project": "my-project",
        "--region": "us-central1",
        "--template-file-gcs-location": "gs://my-templates/sync-to-bigquery.json",
        "--temp-location": "gs://my-bucket/tmp",
        "--disable-public-ips": True,
        "--max-workers": 3,
        "--flexrs-goal": "COST_OPTIMIZED",
        "--parameters": LAUNCH["parameters"],
    }


def test_public_addresses_need_no_flag() -> None:
    assert gcloud_flags({"ipConfiguration": "WORKER_IP_PUBLIC", "additionalExperiments": []}) == {}


def test_the_command_that_schedules_has_the_request_in_a_here_document() -> None:
    told = launch(schedule=SCHEDULE | {"description": "it's nightly"})
    assert told.schedule is not None
    command, text = commands.schedule_command(told, told.schedule).split(" <<'END'\n")
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:6] == ["gcloud", "scheduler", "jobs", "create", "http", "orders-sync"]
    assert "--schedule=0 2 * * *" in words
    assert "--description=it's nightly" in words
    assert "--headers=Content-Type=application/json" in words
    assert json.loads(text.removesuffix("END\n")) == requests.launch_request(told)
    assert "max-retry-duration" not in command
    changed = commands.schedule_command(told, told.schedule, update=True)
    assert " --clear-max-retry-duration " in changed
    assert changed.startswith("gcloud scheduler jobs update http orders-sync")
    assert "--update-headers=Content-Type=application/json" in changed


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        pytest.param("enable_auto_schema", True, "true", id="true"),
        pytest.param("postgresql_port", 5433, "5433", id="number"),
        pytest.param("clustering_fields", ["id", "status"], "id,status", id="list"),
        pytest.param("tables_file", "gs://my-bucket/tables.yaml", "gs://my-bucket/tables.yaml", id="tables file"),
        pytest.param("transformation_config", {"exclude_fields": ["a"]}, '{"exclude_fields": ["a"]}', id="JSON"),
    ],
)
def test_values_may_be_written_as_yaml_does(name: str, value: Any, text: str) -> None:
    changes = {name: value} | ({"enable_auto_schema": True} if name == "clustering_fields" else {})
    changes |= {"postgresql_query": None} if name == "tables_file" else {}
    assert launch(**parameters(**changes)).parameters[name] == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("on", "a text or a truth value: put it in quotes, or write true or false", id="on"),
        pytest.param("No", "a text or a truth value: put it in quotes, or write true or false", id="Norway"),
        pytest.param("0123", "a text or a number: put it in quotes, or write the number in plain digits", id="octal"),
        pytest.param("12:30", "a text or a number: put it in quotes, or write the number in plain digits", id="time"),
        pytest.param("1_000", "a text or a number: put it in quotes, or write the number in plain digits", id="groups"),
        pytest.param("0x1F", "a text or a number: put it in quotes, or write the number in plain digits", id="base 16"),
    ],
)
@pytest.mark.parametrize("place", ["postgresql_database: {}", "transformation_config: {{constant_fields: {{a: {}}}}}"])
def test_texts_that_yaml_would_change_are_refused(place: str, written: str, expected: str) -> None:
    line = place.format(written)
    column = line.rindex(written) + 3
    with pytest.raises(ConfigError) as raised:
        read_launch(f"parameters:\n  {line}\n")
    assert raised.value.problems == (f"line 2, column {column}, may be {expected}",)


@pytest.mark.parametrize("name", ["on", "No", "0123", "12:30"])
def test_texts_in_quotes_stay(name: str) -> None:
    assert launch(**parameters(postgresql_database=name)).parameters["postgresql_database"] == name


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("1e6", "1000000.0", id="exponent"),
        pytest.param("1.5E3", "1500.0", id="fraction and exponent"),
        pytest.param("-12", "-12", id="negative"),
        pytest.param("0.5", "0.5", id="fraction"),
        pytest.param("True", "true", id="truth value"),
        pytest.param("e6", '"e6"', id="text"),
    ],
)
def test_values_in_a_json_parameter(written: str, expected: str) -> None:
    text = yaml.safe_dump(launch_file(transformation_config=None))
    changed = text.replace(
        "transformation_config: null", f"transformation_config: {{constant_fields: {{a: {written}}}}}"
    )
    told = read_launch(changed).parameters["transformation_config"]
    assert told == f'{{"constant_fields": {{"a": {expected}}}}}'


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_a_file_may_be_json(indent: int | str | None) -> None:
    changes = {"postgresql_database": "\N{GRINNING FACE}", "transformation_config": {"constant_fields": {"a": 1e22}}}
    told = read_launch(json.dumps(launch_file(**changes), indent=indent))
    assert told.parameters["postgresql_database"] == "\N{GRINNING FACE}"
    assert told.parameters["transformation_config"] == '{"constant_fields": {"a": 1e+22}}'
    assert "\N{GRINNING FACE}" in commands.run_command(told)


@pytest.mark.parametrize("name", ["maxWorkers", "numWorkers"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_job_has_a_worker(name: str, number: int) -> None:
    assert problems(**environment(**{name: number})) == [
        f"environment.{name} is {number}: give a whole number of at least 1"
    ]


def test_a_list_of_columns_holds_texts() -> None:
    assert problems(**parameters(primary_key=["id", True])) == [
        "parameters.primary_key is not a text: put its value in quotes"
    ]


def test_a_list_of_tables() -> None:
    names = ["public.*", "!public.audit_*"]
    changed = launch(**parameters(postgresql_query=None, destination_bigquery_table=None, postgresql_table=names))
    assert changed.parameters["postgresql_table"] == "public.*,!public.audit_*"


def test_parts_may_be_shared_by_anchors() -> None:
    text = json.dumps(LAUNCH | {"parameters": None}).replace(
        '"parameters": null', '"parameters": &all {"a": 1, "b": 2}'
    )
    shared = text.replace('"a": 1, "b": 2', f"<<: {json.dumps(LAUNCH['parameters'])}, batch_size: 500")
    assert read_launch(shared).parameters["batch_size"] == "500"
    assert read_launch(shared).parameters["postgresql_host"] == "10.0.0.5"


def test_merged_parts_may_be_shared_within_parts() -> None:
    text = yaml.safe_dump(LAUNCH | {"parameters": None, "environment": None})
    text = text.replace("environment: null", "environment: {tempLocation: gs://b/t, additionalUserLabels: LABELS}")
    text = text.replace("LABELS", "&labels {<<: &team {team: data, stage: test}, stage: live}")
    given = json.dumps(LAUNCH["parameters"])[:-1] + ', "transformation_config": {constant_fields: {<<: *labels}}}'
    told = read_launch(text.replace("parameters: null", f"parameters: {given}"))
    assert told.environment["additionalUserLabels"] == {"team": "data", "stage": "live"}
    assert json.loads(told.parameters["transformation_config"]) == {
        "constant_fields": {"team": "data", "stage": "live"}
    }


@pytest.mark.parametrize("key", ["environment", "parameters"])
def test_a_part_that_is_no_mapping(key: str) -> None:
    assert f"{key} is not a mapping of names to values" in problems(**{key: ["a"]})


def test_nothing_is_not_sent() -> None:
    assert "postgresql_port" not in launch(**parameters(postgresql_port=None)).parameters


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"job_name": "Orders_Sync"},
            "job_name is 'Orders_Sync': give lower-case letters, digits and hyphens, such as orders-sync",
            id="job name",
        ),
        pytest.param({"region": ""}, "region is missing: give a region such as us-central1", id="no region"),
        pytest.param({"regoin": "x"}, "regoin is not known; did you mean region?", id="unknown key"),
        pytest.param(
            environment(disablePublicIps=True),
            "environment.disablePublicIps is not Dataflow's name: write ipConfiguration: WORKER_IP_PRIVATE",
            id="gcloud's name",
        ),
        pytest.param(
            environment(machinType="n2"),
            "environment.machinType is not a setting of a launch; did you mean machineType?",
            id="misspelt setting",
        ),
        pytest.param(
            environment(maxWorkers="5"), "environment.maxWorkers is '5': give a whole number", id="text for a number"
        ),
        pytest.param(
            environment(numWorkers=True), "environment.numWorkers is True: give a whole number", id="true for a number"
        ),
        pytest.param(
            environment(ipConfiguration="PRIVATE"),
            "environment.ipConfiguration is 'PRIVATE': give one of WORKER_IP_PRIVATE, WORKER_IP_PUBLIC",
            id="choice",
        ),
        pytest.param(
            environment(additionalUserLabels={"team": 1}),
            "environment.additionalUserLabels has an entry that is not a text: put it in quotes",
            id="label",
        ),
        pytest.param(
            environment(enableStreamingEngine="yes"),
            "environment.enableStreamingEngine is 'yes': give true or false",
            id="text for a truth value",
        ),
        pytest.param(
            {"max_run_seconds": "2h"},
            "max_run_seconds is '2h': give a whole number of seconds, such as 7200",
            id="longest time",
        ),
        pytest.param(
            environment(additionalExperiments=["max_workflow_runtime_walltime_seconds=1"]) | {"max_run_seconds": 2},
            "max_run_seconds and max_workflow_runtime_walltime_seconds in environment.additionalExperiments: keep one",
            id="two longest times",
        ),
        pytest.param(
            {"launch_options": {"ft_launch_timeout_secs": "10m"}},
            "launch_options.ft_launch_timeout_secs is '10m': give a whole number of seconds, such as 1800",
            id="longest launch",
        ),
        pytest.param(
            {"launch_options": {"a": [1]}},
            "launch_options.a is [1]: give a text or a whole number",
            id="launch option",
        ),
        pytest.param(
            environment(zone="a", workerZone="b"),
            "environment.workerZone and environment.zone exclude each other: keep one",
            id="two zones",
        ),
        pytest.param(
            environment(workerRegion="a", workerZone="b"),
            "environment.workerRegion and environment.workerZone exclude each other: keep one",
            id="region and zone",
        ),
        pytest.param(
            {"environment": {"tempLocation": "/tmp"}},
            "environment.tempLocation is '/tmp': give a folder in Cloud Storage, in the location of the dataset, such "
            "as gs://my-bucket/tmp",
            id="temp location",
        ),
        pytest.param(
            parameters(postgresql_qeury="x"),
            "postgresql_qeury is not a parameter of this template; did you mean postgresql_query?",
            id="misspelt parameter",
        ),
        pytest.param(
            parameters(postgresql_port=1.5),
            "parameters.postgresql_port is not a text: put its value in quotes",
            id="fraction",
        ),
        pytest.param(
            parameters(transformation_config={"constant_fields": {"day": datetime.date(2026, 1, 1)}}),
            "parameters.transformation_config is not a text: put its value in quotes",
            id="date in JSON",
        ),
        pytest.param(
            parameters(dry_run=True),
            "dry_run is true: the launcher would print the plan to its log, and Dataflow reports a launch without a "
            "job as failed; run python main.py with these parameters instead",
            id="dry run",
        ),
        pytest.param(
            parameters(postgresql_password=PASSWORD),
            "postgresql_password is not the name of a secret: Dataflow and Cloud Scheduler store a launch with its "
            "parameters; store the value in Secret Manager and give "
            "projects/PROJECT/secrets/SECRET/versions/VERSION",
            id="secret in plain text",
        ),
        pytest.param(
            parameters(postgresql_password="env:PASSWORD"),
            "postgresql_password is not the name of a secret: Dataflow and Cloud Scheduler store a launch with its "
            "parameters; store the value in Secret Manager and give "
            "projects/PROJECT/secrets/SECRET/versions/VERSION",
            id="secret of this environment",
        ),
        pytest.param(
            environment(additionalPipelineOptions=["x=1", f"--postgresql_password={PASSWORD}"]),
            "environment.additionalPipelineOptions has postgresql_password, which is a parameter: write it under "
            "parameters",
            id="parameter among Beam's options",
        ),
        pytest.param(
            {"launch_options": {"postgresql_password": PASSWORD}},
            "launch_options.postgresql_password is a parameter: write it under parameters",
            id="parameter among the launch options",
        ),
        pytest.param(
            {"schedule": SCHEDULE | {"description": "\x1b[2Jnightly"}},
            "schedule.description has a control character: take it out",
            id="escape sequence",
        ),
        pytest.param(
            environment(additionalUserLabels={"team\u202e": "a"}),
            "environment.additionalUserLabels has a control character: take it out",
            id="direction of writing in a label",
        ),
        pytest.param(
            environment(additionalExperiments=["a\ud800"]),
            "environment.additionalExperiments has a control character: take it out",
            id="half a character",
        ),
        pytest.param(
            parameters(postgresql_query=None, tables_file="tables.yaml"),
            "tables_file is 'tables.yaml': the job cannot read files of this machine; upload it with gcloud storage "
            "cp, and give gs://BUCKET/OBJECT",
            id="tables file of this machine",
        ),
        pytest.param(
            {"schedule": "0 2 * * *"},
            "schedule is not a mapping: give it cron, time_zone and service_account",
            id="schedule of one text",
        ),
        pytest.param(
            {"schedule": SCHEDULE | {"retry": 3}}, "schedule.retry is not known; did you mean retries?", id="retry"
        ),
        pytest.param(
            {"schedule": SCHEDULE | {"retries": 6}},
            "schedule.retries is 6: give a whole number from 0 to 5",
            id="retries",
        ),
        pytest.param(
            {"schedule": SCHEDULE | {"time_zone": "Europe/Atlantis"}},
            "schedule.time_zone is 'Europe/Atlantis': give a region's name such as Europe/Berlin, or UTC",
            id="time zone",
        ),
        pytest.param(
            {"schedule": {"cron": "0 2 * * *"}},
            "schedule.service_account is missing: Dataflow accepts a launch only from an authenticated caller; give "
            "the address "
            "of a service account, NAME@PROJECT.iam.gserviceaccount.com",
            id="nobody launches",
        ),
        pytest.param(
            {"schedule": SCHEDULE | {"name": "a b"}},
            "schedule.name is 'a b': only letters, digits, hyphens and underscores are allowed",
            id="name of the schedule",
        ),
    ],
)
def test_each_mistake_has_its_sentence(changes: dict[str, Any], expected: str) -> None:
    found = problems(**changes)
    assert found == [expected]
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        pytest.param("0 2 * *", "it needs five fields, minute hour day-of-month month day-of-week", id="four fields"),
        pytest.param("60 * * * *", "'60' is not a minute, from 0 to 59", id="minute"),
        pytest.param("0 9-25 * * *", "'9-25' is not a hour, from 0 to 23", id="hour"),
        pytest.param("0 0 0 * *", "'0' is not a day of the month, from 1 to 31", id="day"),
        pytest.param("0 0 * FOO *", "'FOO' is not a month, from 1 to 12", id="month"),
        pytest.param("0 0 * * MON-SUN", "'MON-SUN' is not a day of the week, from 0 to 7", id="backwards"),
        pytest.param("*/0 * * * *", "'*/0' is not a minute, from 0 to 59", id="no step"),
    ],
)
def test_wrong_patterns(cron: str, expected: str) -> None:
    assert problems(schedule=SCHEDULE | {"cron": cron}) == [f"schedule.cron is {cron!r}: {expected}"]


@pytest.mark.parametrize("cron", ["*/15 * * * *", "0,30 8-18/2 1 jan-jun MON-FRI", "5 4 * * 7", "0 9-17 * * 1-5"])
def test_right_patterns(cron: str) -> None:
    told = launch(schedule=SCHEDULE | {"cron": cron})
    assert told.schedule is not None
    assert told.schedule.cron == cron


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: [", "this is not YAML: expected the node content, but found '<stream end>'", id="cut off"),
        pytest.param("a: 1\nb: 2\na: 3", "this is not YAML: a is a duplicate key (line 3, column 1)", id="repeated"),
        pytest.param("- a", "this is not a launch file: it has to be a mapping with job_name", id="list"),
        pytest.param("", "this is not a launch file: it has to be a mapping with job_name", id="nothing"),
        pytest.param("a: &a\n  b: *a", "this is not YAML: it refers to itself (line 1, column 4)", id="cycle"),
        pytest.param("a: &a [1, *a]", "this is not YAML: it refers to itself (line 1, column 4)", id="cyclic list"),
        pytest.param("a: &a\n  <<: *a", "this is not YAML: it refers to itself (line 1, column 4)", id="cyclic merge"),
        pytest.param("{[" * 5000, "this is not YAML: it is nested too deeply", id="deep"),
        pytest.param('{"a":' * 100000, "this is not YAML: it is nested too deeply", id="deep JSON"),
        pytest.param("a: 1\nb: \x1b", "this is not YAML: an unprintable character (line 2)", id="escape sequence"),
        pytest.param(BOMB, "this is not YAML: its aliases expand to too many values (line 5, column 5)", id="bomb"),
        pytest.param(
            "a: 2026-13-01", "this is not YAML: a date or a number cannot be read; put it in quotes", id="no date"
        ),
        pytest.param(
            "a: !!float x", "this is not YAML: a date or a number cannot be read; put it in quotes", id="no number"
        ),
        pytest.param(f"a: {'9' * 5000}", "this is not YAML: a date or a number cannot be read", id="long number"),
    ],
)
def test_texts_that_are_no_launch_file(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}"):
        read_launch(text)


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(json.dumps(LAUNCH | parameters(postgresql_password=PASSWORD, fallback_days="x") | {"region": ""}))
    assert main([str(path)]) == 2
    printed, complained = capsys.readouterr()
    assert printed == ""
    assert [line.removeprefix(f"error: {path}: ").split(" ")[0] for line in complained.splitlines()] == [
        "region",
        "postgresql_password",
        "fallback_days",
    ]
    assert PASSWORD not in complained


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "orders.yaml"
    query = "SELECT '\x1b[2J\x9b31m\u202e' AS note\tFROM orders"
    path.write_text(yaml.safe_dump(LAUNCH | parameters(postgresql_query=query)))
    assert main([str(path)]) == 0
    assert "SELECT '\\u001b[2J\\u009b31m\\u202e' AS note\\tFROM orders" in capsys.readouterr().out
    assert main([str(path), "--only=request"]) == 0
    sent = json.loads(capsys.readouterr().out)["launchParameter"]["parameters"]
    assert sent["postgresql_query"] == query
    path.write_text(yaml.safe_dump(LAUNCH | parameters(**{"\x1b[2J\n": "x"})))
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: \\x1b[2J\\n is not a parameter of this template\n"


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "error: nowhere.yaml: the file cannot be read (No such file or directory)\n"


def test_everything_is_printed(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(example)]) == 0
    everything = capsys.readouterr()
    assert everything.err == ""
    is_scheduled = "schedule" in yaml.safe_load(example.read_text())
    for part in ("run", "schedule", "request") if is_scheduled else ("run", "request"):
        assert main([str(example), f"--only={part}"]) == 0
        assert capsys.readouterr().out in everything.out
    if not is_scheduled:
        return
    assert main([str(example), "--only=job"]) == 0
    assert json.loads(capsys.readouterr().out)["httpTarget"]["httpMethod"] == "POST"


def test_a_request_may_be_checked_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(EXAMPLES[0]), "--only=request", "--validate-only"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert request["validateOnly"] is True
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", request)[1] == []


def test_without_a_schedule_there_is_none_to_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(json.dumps(LAUNCH))
    assert main([str(path)]) == 0
    assert "scheduler" not in capsys.readouterr().out
    assert main([str(path), "--only=schedule"]) == 2
    expected = "schedule is missing: give it cron, time_zone and service_account"
    assert capsys.readouterr().err == f"error: {path}: {expected}\n"


def test_warnings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(json.dumps(LAUNCH | parameters(mongodb_host="elsewhere")))
    assert main([str(path), "--only=run"]) == 0
    begins = ("environment.serviceAccountEmail", "environment.ipConfiguration", "mongodb_host")
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"warning: {path}: {begin}") for line, begin in zip(told, begins, strict=True)] == [
        True
    ] * 3
