"""A launch file with `cloud_run`: its requests are those that Google describes, and gcloud sends the same."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.discovery import read_body
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching import commands, requests
from sync_pipeline.launching.__main__ import main
from sync_pipeline.launching.launch_file import Launch, read_launch
from sync_pipeline.launching.settings import DEFAULT_ACCOUNT
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.run_config import RunConfig
from tests.http_servers import refusing

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/cloud-run/hourly-events.yaml"
IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1.0.0"
QUERY = "SELECT 'it''s', \"~^~\", `a`, $b, '\\n', ','\nFROM t -- END"


def launch(**changes: Any) -> Launch:
    content = yaml.safe_load(EXAMPLE.read_text())
    content["parameters"]["source_bigquery_query"] = QUERY
    return read_launch(yaml.safe_dump(content | changes))


NETWORK = {
    "tempLocation": "gs://my-bucket/tmp",
    "serviceAccountEmail": "sync@my-project.iam.gserviceaccount.com",
    "network": "my-network",
    "subnetwork": "regions/us-central1/subnetworks/my-subnet",
    "ipConfiguration": "WORKER_IP_PRIVATE",
    "additionalUserLabels": {"team": "data"},
}


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, id="example"), pytest.param({"environment": NETWORK}, id="network")],
)
def test_requests_are_those_that_google_takes(changes: dict[str, Any]) -> None:
    made = launch(**changes)
    assert made.cloud_run is not None
    assert made.schedule is not None
    job = requests.cloud_run_job(made, made.cloud_run)
    assert read_body("run.v2", "GoogleCloudRunV2Job", job) == (job, [])
    for only in (False, True):
        body = requests.launch_request(made, validate_only=only)
        assert read_body("run.v2", "GoogleCloudRunV2RunJobRequest", body) == (body, [])
    scheduled = requests.scheduler_job(made, made.schedule)
    assert read_body("cloudscheduler.v1", "Job", scheduled) == (scheduled, [])
    assert scheduled["httpTarget"]["uri"] == (
        "https://run.googleapis.com/v2/projects/my-project/locations/us-central1/jobs/hourly-events:run"
    )
    assert json.loads(base64.b64decode(scheduled["httpTarget"]["body"])) == {}
    assert scheduled["httpTarget"]["oauthToken"] == {"serviceAccountEmail": made.schedule.service_account}


def test_job_is_in_the_network_of_the_workers() -> None:
    made = launch(environment=NETWORK, max_run_seconds=7200)
    assert made.cloud_run is not None
    job = requests.cloud_run_job(made, made.cloud_run)
    task = job["template"]["template"]
    assert task["vpcAccess"] == {
        "egress": "ALL_TRAFFIC",
        "networkInterfaces": [{"network": "my-network", "subnetwork": "my-subnet"}],
    }
    assert (task["maxRetries"], task["timeout"], task["serviceAccount"]) == (1, "7200s", NETWORK["serviceAccountEmail"])
    assert job["labels"] == {"team": "data"}
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("subnetwork", "expected"),
    [
        ("projects/host/regions/us-central1/subnetworks/s", "projects/host/regions/us-central1/subnetworks/s"),
        (
            "https://www.googleapis.com/compute/v1/projects/host/regions/us-central1/subnetworks/s",
            "projects/host/regions/us-central1/subnetworks/s",
        ),
        ("s", "s"),
    ],
    ids=["shared", "address", "name"],
)
def test_subnetwork(subnetwork: str, expected: str) -> None:
    made = launch(environment={"tempLocation": "gs://b/t", "subnetwork": subnetwork})
    assert made.cloud_run is not None
    access = requests.cloud_run_job(made, made.cloud_run)["template"]["template"]["vpcAccess"]
    assert access == {"egress": "PRIVATE_RANGES_ONLY", "networkInterfaces": [{"subnetwork": expected}]}


def test_container_runs_what_the_file_says() -> None:
    made = launch()
    assert made.cloud_run is not None
    (container,) = requests.cloud_run_job(made, made.cloud_run)["template"]["template"]["containers"]
    parsed = parse_command_line(container["args"])
    assert RunConfig.from_parameters(parsed.parameters) == RunConfig.from_parameters(made.parameters)
    assert parsed.parameters["source_bigquery_query"] == QUERY
    assert parsed.beam_arguments == ["--temp_location=gs://my-bucket/tmp"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"cloud_run": "yes"}, "cloud_run is not a mapping: give image, cpu, memory, max_retries", id="no"),
        pytest.param({"cloud_run": {}}, "cloud_run.image is missing: give the template's image, such as", id="image"),
        pytest.param({"cloud_run": {"image": "x"}}, "cloud_run.image is 'x': give the template's", id="name alone"),
        pytest.param({"cloud_run": {"image": IMAGE, "cpus": 2}}, "cloud_run.cpus is not known; did you", id="unknown"),
        pytest.param({"cloud_run": {"image": IMAGE, "cpu": 3}}, "cloud_run.cpu is '3': give one of 1, 2", id="cpu"),
        pytest.param({"cloud_run": {"image": IMAGE, "memory": "2 GB"}}, "give a size such as 2Gi", id="memory"),
        pytest.param({"cloud_run": {"image": IMAGE, "max_retries": 11}}, "give a whole number from 0", id="retries"),
        pytest.param({"max_run_seconds": 604801}, "Cloud Run allows at most 604800, which is 168 hours", id="long"),
        pytest.param({"job_name": "a" * 50}, "a job of Cloud Run has a name of at most 49 characters", id="name"),
        pytest.param({"launch_options": {"a": "b"}}, "launch_options are Dataflow's: omit them", id="options"),
        pytest.param({"template": "x"}, "template is 'x': give the template file", id="template"),
    ],
)
def test_mistake(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        launch(**changes)
    (found,) = caught.value.problems
    assert problem in found


def test_settings_without_effect_are_told() -> None:
    environment = {"tempLocation": "gs://b/t", "maxWorkers": 3, "machineType": "e2-standard-2"}
    assert launch(environment=environment).warnings == (
        "environment.machineType has no effect on Cloud Run",
        "environment.maxWorkers has no effect on Cloud Run",
        DEFAULT_ACCOUNT,
    )


def test_append_that_is_requested_twice_is_told() -> None:
    content = yaml.safe_load(EXAMPLE.read_text())
    plain = {name: value for name, value in content["parameters"].items() if name != "enable_smart_sync"}
    del plain["primary_key"]
    # By default, a second execution ends with an error.
    assert launch(parameters=plain).warnings == ()
    plain["write_disposition"] = "WRITE_APPEND"
    (warning,) = launch(parameters=plain).warnings
    assert warning.startswith("schedule.retries: if an answer of Cloud Run is lost")
    for changes in (
        {"parameters": plain | {"write_disposition": "WRITE_TRUNCATE"}},
        {"parameters": plain | {"primary_key": "event_id"}},
        {"parameters": plain, "schedule": content["schedule"] | {"retries": 0}},
        {"parameters": plain, "schedule": None},
    ):
        assert launch(**changes).warnings == ()


def test_parts_of_cloud_run_need_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "examples/daily-reports.yaml"), "--only=create"]) == 2
    assert "cloud_run is missing: give it the image" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_sends_what_the_requests_are(tmp_path: Path) -> None:
    made = launch(environment=NETWORK)
    assert made.cloud_run is not None
    assert made.schedule is not None
    parts = (
        commands.cloud_run_command(made, made.cloud_run),
        commands.run_command(made),
        commands.schedule_command(made, made.schedule),
    )
    script = "".join(f"if\n{command}then exit 1; fi\n" for command in parts)
    # A proxy: gcloud puts the region before Cloud Run's host, which no name of this machine has.
    with refusing() as (url, sent):
        environment = {
            **os.environ,
            "http_proxy": url,
            "no_proxy": "",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.invalid/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDSCHEDULER": "http://scheduler.invalid/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CONFIG": str(tmp_path),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        }
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    created, executed, scheduled = sent
    jobs = "http://us-central1-run.invalid/apis/run.googleapis.com/v1/namespaces/my-project/jobs"
    assert (created[:2], executed[:2]) == (("POST", jobs), ("POST", f"{jobs}/hourly-events:run"))
    # gcloud writes version 1 of the API, where the requests are of version 2.
    job = requests.cloud_run_job(made, made.cloud_run)
    task, expected = created[2]["spec"]["template"]["spec"]["template"]["spec"], job["template"]["template"]
    (container,), (expected_container,) = task["containers"], expected["containers"]
    assert (container["image"], container["args"]) == (expected_container["image"], expected_container["args"])
    assert container["resources"]["limits"] == expected_container["resources"]["limits"]
    assert (task["maxRetries"], f"{task['timeoutSeconds']}s") == (expected["maxRetries"], expected["timeout"])
    assert task["serviceAccountName"] == expected["serviceAccount"]
    annotations = created[2]["spec"]["template"]["metadata"]["annotations"]
    interfaces = json.loads(annotations["run.googleapis.com/network-interfaces"])
    assert interfaces == expected["vpcAccess"]["networkInterfaces"]
    assert annotations["run.googleapis.com/vpc-access-egress"] == "all-traffic"
    assert created[2]["metadata"]["labels"] == job["labels"]
    body = scheduled[2]
    assert body["httpTarget"]["uri"] == requests.launch_url(made)
    assert json.loads(base64.b64decode(body["httpTarget"]["body"].translate(str.maketrans("-_", "+/")))) == {}
