"""The local Dataflow and its neighbours answer as Google's: what they take, what they refuse, and how they say it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam
import pytest

import sandbox
from sandbox import Endpoints
from sandbox.discovery import read_body
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.secrets import Secret
from tests.integration.launching import HAS_GCLOUD, REGION, Launching
from tests.integration.syncing import Syncing

PARAMETERS = {
    "data_source": "postgresql",
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "analytics",
    "destination_bigquery_table": "orders",
}


def body(launching: Launching, **changes: Any) -> dict[str, Any]:
    launch = {"jobName": "orders", "containerSpecGcsPath": launching.template, "parameters": PARAMETERS}
    return {"launchParameter": launch | changes, "validateOnly": True}


def launch(launching: Launching, **changes: Any) -> Any:
    return launching.call("POST", "flexTemplates:launch", body(launching, **changes))


def check(document: str, schema: str, answer: Any) -> None:
    assert answer.status == 200, answer
    assert read_body(document, schema, answer.body)[1] == []


def test_a_launch_may_be_validated_only(launching: Launching) -> None:
    answer = launch(launching)
    assert (answer.status, answer.body) == (200, {})
    assert launching.jobs("orders") == []


def test_names_in_snake_case_are_taken(launching: Launching) -> None:
    told = body(launching)
    snake = {"launch_parameter": told["launchParameter"], "validate_only": True}
    assert launching.call("POST", "flexTemplates:launch", snake).status == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"environment": {"disablePublicIps": True}},
            "Invalid JSON payload received. Unknown name \"disablePublicIps\" at 'launch_parameter.environment': "
            "Cannot find field.",
            id="unknown field",
        ),
        pytest.param(
            {"environment": {"maxWorkers": "five"}},
            "Invalid value at 'launch_parameter.environment.max_workers' (TYPE_INT32), \"five\"",
            id="wrong type",
        ),
        pytest.param(
            {"parameters": PARAMETERS | {"postgresql_port": 5432}},
            "Invalid value at 'launch_parameter.parameters[postgresql_port]' (TYPE_STRING), 5432",
            id="number for a parameter",
        ),
        pytest.param(
            {"jobName": "Orders_Sync"},
            "The job name 'Orders_Sync' is invalid. The name must consist of only the characters [-a-z0-9], starting "
            "with a letter and ending with a letter or number.",
            id="job name",
        ),
        pytest.param(
            {"containerSpecGcsPath": "gs://nowhere/t.json"},
            "Unable to open template file: gs://nowhere/t.json.",
            id="no template",
        ),
        pytest.param(
            {
                "parameters": {"data_source": "mysql", "fallback_days": "x"}
                | {"destination_bigquery_table": "t", "a": "b"}
            },
            "The template parameters are invalid. Details: "
            "\na: Unrecognized parameter"
            "\ndata_source: Parameter didn't match regex '^(postgresql|mongodb|bigquery)$'"
            "\ndestination_bigquery_project: Missing required parameter"
            "\ndestination_bigquery_dataset: Missing required parameter"
            "\nfallback_days: Parameter didn't match regex '^([0-9]+)?$'",
            id="parameters",
        ),
    ],
)
def test_what_is_refused(launching: Launching, changes: dict[str, Any], message: str) -> None:
    answer = launch(launching, **changes)
    assert (answer.status, answer.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.message == message


def test_refused_parameters_are_listed_for_programs(launching: Launching) -> None:
    answer = launch(launching, parameters=PARAMETERS | {"a": "b"})
    assert answer.body["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.dataflow.v1beta3.InvalidTemplateParameters",
            "parameterViolations": [{"parameter": "a", "description": "Unrecognized parameter"}],
        }
    ]


def test_what_is_no_template(launching: Launching, syncing: Syncing) -> None:
    from apache_beam.io.filesystems import FileSystems

    path = f"{syncing.folder}/other.json"
    for text, problem in (("{}", "it names no image"), ("not JSON", "it is not JSON"), ('{"img": 1}', "Invalid JSON")):
        with FileSystems.create(path, mime_type="application/json") as file:
            file.write(text.encode())
        assert launch(launching, containerSpecGcsPath=path).message.startswith(
            f"Invalid template file {path}: {problem}"
        )


@pytest.fixture
def waiting(syncing: Syncing, launching: Launching) -> Iterator[dict[str, Any]]:
    """A job that reads, and waits for a lock."""
    syncing.execute("CREATE VIEW gate AS SELECT 1 AS id FROM (SELECT pg_advisory_xact_lock_shared(7)) l")
    syncing.execute("SELECT pg_advisory_lock(7)")
    parameters = syncing.parameters(postgresql_query="SELECT id FROM gate")
    answer = launching.launch(
        "waiting", parameters, tempLocation=syncing.folder, additionalUserLabels={"team": "data"}, maxWorkers=2
    )
    check("dataflow.v1b3", "LaunchFlexTemplateResponse", answer)
    yield answer.body["job"]
    if any(job["currentState"] != "JOB_STATE_CANCELLED" for job in launching.jobs("waiting")):
        cancel = {"requestedState": "JOB_STATE_CANCELLED", "labels": {"force_cancel_job": "true"}}
        launching.call("PUT", f"jobs/{answer.body['job']['id']}", cancel)
        launching.wait("waiting", "CANCELLED")


def test_the_life_of_a_job(syncing: Syncing, launching: Launching, waiting: dict[str, Any]) -> None:
    path = f"jobs/{waiting['id']}"
    assert "currentState" not in waiting
    assert launching.jobs("waiting")[0]["currentState"] == "JOB_STATE_QUEUED"
    refused = launching.launch("waiting", syncing.parameters())
    assert (refused.status, refused.body["error"]["status"]) == (409, "ALREADY_EXISTS")
    launching.wait("waiting", "RUNNING")

    summary, whole = launching.call("GET", path), launching.call("GET", f"{path}?view=JOB_VIEW_ALL")
    for answer in (summary, whole):
        check("dataflow.v1b3", "Job", answer)
    assert "environment" not in summary.body
    assert {key: whole.body[key] for key in ("name", "type", "labels", "location", "projectId")} == {
        "name": "waiting",
        "type": "JOB_TYPE_BATCH",
        "labels": {
            "team": "data",
            "goog-dataflow-provided-template-type": "flex",
            "template": "sync-to-bigquery",
            "template_version": "1_0_0",
            "data_source": "postgresql",
            "destination_project": launching.endpoints.project,
            "destination_dataset": syncing.dataset,
            "destination_table": syncing.parameters()["destination_bigquery_table"],
        },
        "location": REGION,
        "projectId": launching.endpoints.project,
    }
    agent = whole.body["environment"]["userAgent"]
    assert agent["name"].startswith("Apache Beam Python 3.")
    assert agent["version"] == apache_beam.__version__
    options = whole.body["environment"]["sdkPipelineOptions"]["options"]
    assert (
        options.items()
        >= {
            "job_name": "waiting",
            "temp_location": syncing.folder,
            "labels": ['{"team": "data"}'],
            "max_num_workers": 2,
            "postgresql_query": "SELECT id FROM gate",
            "enable_smart_sync": "false",
        }.items()
    )
    assert "postgresql_password" not in options
    assert None not in options.values()

    messages = launching.call("GET", f"{path}/messages?minimumImportance=JOB_MESSAGE_BASIC")
    check("dataflow.v1b3", "ListJobMessagesResponse", messages)
    assert any(message["messageText"].startswith("plan: ") for message in messages.body["jobMessages"])
    for which, is_there in (("filter=ACTIVE", True), ("filter=TERMINATED", False), ("filter=ALL", True)):
        listed = launching.call("GET", f"jobs?{which}")
        check("dataflow.v1b3", "ListJobsResponse", listed)
        assert (waiting["id"] in [job["id"] for job in listed.body["jobs"]]) is is_there
    assert launching.call("GET", "/v1b3/projects/other-project/jobs:aggregated").body == {"jobs": []}
    assert launching.call("GET", f"/v1b3/projects/other-project/locations/{REGION}/{path}").status == 404

    check("dataflow.v1b3", "Job", launching.call("PUT", path, {"requestedState": "JOB_STATE_CANCELLED"}))
    launching.wait("waiting", "CANCELLED")
    assert launching.call("PUT", path, {"requestedState": "JOB_STATE_CANCELLED"}).status == 400
    assert launching.call("PUT", path, {"requestedState": "JOB_STATE_DRAINED"}).status == 400


def test_a_job_ends_with_its_server(launching: Launching, waiting: dict[str, Any], endpoints: Endpoints) -> None:
    deadline = time.monotonic() + 10
    while not _processes("--job_name=waiting"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sandbox.stop_server(endpoints.folder, "dataflow")
    try:
        deadline = time.monotonic() + 10
        while _processes("--job_name=waiting"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        sandbox.start_server(endpoints.folder, "dataflow")


def _processes(word: str) -> list[str]:
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if word in _words(path)]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\0")
    except OSError:
        return []


def test_schedules(launching: Launching) -> None:
    parent = f"projects/{launching.endpoints.project}/locations/{REGION}/jobs"
    uri = f"https://dataflow.googleapis.com/v1b3/projects/{launching.endpoints.project}/locations/{REGION}/flexTemplates:launch"
    job = {
        "name": f"{parent}/nightly",
        "schedule": "0 2 * * *",
        "httpTarget": {"uri": uri, "oauthToken": {"serviceAccountEmail": "a@b.iam.gserviceaccount.com"}},
    }
    anonymous = launching.call("POST", f"/v1/{parent}", job | {"httpTarget": {"uri": uri}})
    assert anonymous.message == "A request to Dataflow needs an OAuth token: name a service account."
    unknown = launching.call("POST", f"/v1/{parent}", job | {"crontab": "x"})
    assert unknown.message == 'Invalid JSON payload received. Unknown name "crontab": Cannot find field.'
    assert launching.call("POST", f"/v1/{parent}", job | {"name": "nightly"}).status == 400
    check("cloudscheduler.v1", "Job", launching.call("POST", f"/v1/{parent}", job))
    check("cloudscheduler.v1", "ListJobsResponse", launching.call("GET", f"/v1/{parent}"))
    run = launching.call("POST", f"/v1/{parent}/nightly:run", {})
    check("cloudscheduler.v1", "Job", run)
    assert run.body["status"]["code"] == 3, "it has no body, and so launches nothing"
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        told = json.dumps(body(launching, parameters=PARAMETERS | {"postgresql_query": "?>?>~~"}), ensure_ascii=False)
        target = job["httpTarget"] | {"body": encode(told.encode()).decode()}
        launching.call("POST", f"/v1/{parent}", job | {"httpTarget": target})
        assert launching.call("POST", f"/v1/{parent}/nightly:run", {}).body["status"] == {}
    assert launching.call("DELETE", f"/v1/{parent}/nightly").status == 200
    assert launching.call("GET", f"/v1/{parent}/nightly").message == "Job not found."


def test_a_schedule_is_changed_paused_and_resumed(launching: Launching) -> None:
    parent = f"projects/{launching.endpoints.project}/locations/{REGION}/jobs"
    target = {
        "uri": "https://dataflow.googleapis.com/v1b3/projects/p/locations/l/flexTemplates:launch",
        "headers": {"a": "b"},
        "oauthToken": {"serviceAccountEmail": "a@b.iam.gserviceaccount.com"},
    }
    job = {"name": f"{parent}/changing", "schedule": "0 2 * * *", "description": "old", "httpTarget": target}
    launching.call("POST", f"/v1/{parent}", job)
    path = f"/v1/{parent}/changing"
    changes = {"schedule": "0 3 * * *", "timeZone": "UTC", "httpTarget": {"headers": {"c": "d"}}}
    changed = launching.call("PATCH", f"{path}?updateMask=schedule,description,http_target.headers", changes)
    check("cloudscheduler.v1", "Job", changed)
    assert changed.body == {
        "name": job["name"],
        "schedule": "0 3 * * *",
        "httpTarget": target | {"headers": {"c": "d"}},
        "state": "ENABLED",
    }
    refused = launching.call("PATCH", path, {"httpTarget": target | {"oauthToken": {}}})
    assert refused.message == "A request to Dataflow needs an OAuth token: name a service account."
    for action, state in (("pause", "PAUSED"), ("resume", "ENABLED")):
        assert launching.call("POST", f"{path}:{action}", {}).body["state"] == state
    assert launching.call("GET", path).body == changed.body
    launching.call("DELETE", path)


@pytest.mark.parametrize("place", ["", f"/locations/{REGION}"], ids=["global", "regional"])
def test_secrets(launching: Launching, place: str) -> None:
    path = f"/v1/projects/{launching.endpoints.project}{place}/secrets"
    body = {} if place else {"replication": {"automatic": {}}}
    check("secretmanager.v1", "Secret", launching.call("POST", f"{path}?secretId=s", body))
    assert launching.call("POST", f"{path}?secretId=s", body).status == 409
    assert launching.call("GET", f"{path}/s/versions/latest").status == 404
    for value in (b"first", b"second"):
        payload = {"payload": {"data": base64.b64encode(value).decode()}}
        check("secretmanager.v1", "SecretVersion", launching.call("POST", f"{path}/s:addVersion", payload))
    answer = launching.call("GET", f"{path}/s/versions/latest:access")
    check("secretmanager.v1", "AccessSecretVersionResponse", answer)
    name = f"projects/{launching.endpoints.project}{place}/secrets/s/versions/2"
    assert answer.body["name"] == name

    # As the product asks, with Google's client.
    assert Secret("postgresql_password", name.replace("/2", "/1")).resolve() == "first"
    assert Secret("postgresql_password", name.replace("/2", "/latest")).resolve() == "second"
    launching.call("POST", f"{path}/s/versions/2:disable", {})
    with pytest.raises(ConfigError, match="the version is disabled or destroyed"):
        Secret("postgresql_password", name).resolve()
    with pytest.raises(ConfigError, match="there is no such secret or version"):
        Secret("postgresql_password", name.replace("/2", "/3")).resolve()
    listed = launching.call("GET", path)
    check("secretmanager.v1", "ListSecretsResponse", listed)
    assert [secret["name"].rpartition("/")[2] for secret in listed.body["secrets"]][-1] == "s"
    assert launching.call("DELETE", f"{path}/s").status == 200
    assert launching.call("GET", f"{path}/s").status == 404


def test_logs_of_jobs_and_of_schedules(launching: Launching, syncing: Syncing) -> None:
    launched = launching.launch(
        "logged", syncing.parameters(postgresql_query="SELECT 1 AS a"), tempLocation=syncing.folder
    )
    launching.wait("logged", "DONE")
    job = launched.body["job"]["id"]

    def read(text: str) -> list[str]:
        body = {
            "resourceNames": [f"projects/{launching.endpoints.project}"],
            "filter": text,
            "orderBy": "timestamp desc",
        }
        answer = launching.call("POST", "/v2/entries:list", body)
        check("logging.v2", "ListLogEntriesResponse", answer)
        return [entry["jsonPayload"].get("message", "") for entry in answer.body["entries"]]

    of_job = f'resource.type="dataflow_step" AND resource.labels.job_id="{job}"'
    everything = read(of_job)
    assert read(f'({of_job}) AND timestamp>="2020-01-01T00:00:00Z"') == everything
    launcher = read(f'{of_job} AND log_id("dataflow.googleapis.com/launcher")')
    assert launcher[-1].startswith("plan: Append about 1 row ")
    assert launcher == everything[-len(launcher) :]
    (report,) = read(f'{of_job} AND jsonPayload.message:"sync report:"')
    assert report == everything[0]
    assert read(f"{of_job} AND severity>=ERROR") == []
    assert read(f'{of_job} AND NOT log_id("dataflow.googleapis.com/launcher")') == everything[: -len(launcher)]
    wrong = {"resourceNames": [], "filter": 'a="1" OR b="2"'}
    refused = launching.call("POST", "/v2/entries:list", wrong)
    assert refused.message == 'The sandbox does not read this part of a filter: a="1" OR b="2"'


GCLOUD = """
gcloud scheduler jobs create http orders --location=us-central1 --schedule="0 2 * * *" --http-method=POST \\
  --uri=https://dataflow.googleapis.com/v1b3/projects/p/locations/us-central1/flexTemplates:launch \\
  --oauth-service-account-email=a@b.iam.gserviceaccount.com --message-body={} --max-retry-duration=600s
gcloud scheduler jobs update http orders --location=us-central1 --schedule="0 */4 * * *" --clear-max-retry-duration
gcloud scheduler jobs pause orders --location=us-central1
gcloud scheduler jobs describe orders --location=us-central1 \\
  --format="value(schedule,state,retryConfig.maxRetryDuration)"
gcloud scheduler jobs resume orders --location=us-central1
gcloud scheduler jobs run orders --location=us-central1
gcloud logging read 'resource.type="cloud_scheduler_job" AND severity>=ERROR AND NOT httpRequest.status=409' \\
  --format="value(resource.labels.job_id,httpRequest.status)"
gcloud scheduler jobs delete orders --location=us-central1
printf %s one | gcloud secrets create by-hand --data-file=-
gcloud secrets add-iam-policy-binding by-hand --member=user:a@b.c --role=roles/secretmanager.secretAccessor >policy
gcloud secrets versions access latest --secret=by-hand
echo
gcloud secrets delete by-hand
gcloud dataflow jobs list --region=us-central1 --status=terminated --filter="state=Failed" --format="value(name)"
if gcloud services list; then exit 1; fi
"""


@pytest.mark.skipif(not HAS_GCLOUD, reason="gcloud is not installed")
def test_gcloud_is_served_or_refused_at_once(launching: Launching, syncing: Syncing) -> None:
    launching.launch("broken", syncing.parameters(postgresql_query="SELEC"), tempLocation=syncing.folder)
    launching.wait("broken", "FAILED")
    done = launching.shell(GCLOUD.replace("\\\\", "\\"))
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert [word for word in ("PAUSED", "orders", "400", "one", "broken") if word not in words] == []
    assert "0 */4 * * *\tPAUSED\t\n" in done.stdout
    assert "waiting" not in words
    assert "The sandbox does not serve this: GET " in done.stderr


@pytest.mark.parametrize("path", ["/v1b3/projects/p/templates:launch", "/v1b3/projects/p/locations/l/jobs/unknown"])
def test_what_is_not_there(launching: Launching, path: str) -> None:
    answer = launching.call("GET", path)
    assert (answer.status, answer.body["error"]["status"]) == (404, "NOT_FOUND")
