"""Request bodies for Google's REST APIs that launch a sync, now and on a schedule."""

from __future__ import annotations

import base64
import json
from typing import Any

from sync_pipeline.launching import cloud_run
from sync_pipeline.launching.cloud_run import CloudRun
from sync_pipeline.launching.launch_file import Launch
from sync_pipeline.launching.schedule import Schedule
from sync_pipeline.printable import UNSAFE

# Cloud Scheduler retries a rejected launch after 30, 60, 120 … seconds, `Schedule.retries` times. No maximum duration:
# with one, Cloud Scheduler would retry until both the number and the duration are reached.
# https://cloud.google.com/scheduler/docs/configuring/retry-jobs
MIN_BACKOFF_SECONDS = 30
MAX_BACKOFF_SECONDS = 300
MAX_DOUBLINGS = 3
ATTEMPT_SECONDS = 180
CONTENT_TYPE = {"Content-Type": "application/json"}


def launch_url(launch: Launch) -> str:
    """Return the URL of the launch request. On Cloud Run the job has to exist."""
    if launch.cloud_run is not None:
        return f"https://run.googleapis.com/v2/{_cloud_run_parent(launch)}/{launch.job_name}:run"
    path = f"projects/{launch.project}/locations/{launch.region}/flexTemplates:launch"
    return f"https://dataflow.googleapis.com/v1b3/{path}"


def launch_request(launch: Launch, *, validate_only: bool = False) -> dict[str, Any]:
    """Return the `LaunchFlexTemplateRequest`, or Cloud Run's `RunJobRequest`.

    With `validate_only`, Google validates it and starts no job.
    """
    if launch.cloud_run is not None:
        return {"validateOnly": True} if validate_only else {}
    parameter: dict[str, Any] = {
        "jobName": launch.job_name,
        "containerSpecGcsPath": launch.template,
        "environment": dict(launch.environment),
        "parameters": dict(launch.parameters),
    }
    if launch.launch_options:
        parameter["launchOptions"] = dict(launch.launch_options)
    return {"launchParameter": parameter} | ({"validateOnly": True} if validate_only else {})


def cloud_run_url(launch: Launch) -> str:
    """Return the URL of the request that creates the job of Cloud Run."""
    return f"https://run.googleapis.com/v2/{_cloud_run_parent(launch)}?jobId={launch.job_name}"


def _cloud_run_parent(launch: Launch) -> str:
    return f"projects/{launch.project}/locations/{launch.region}/jobs"


def cloud_run_job(launch: Launch, job: CloudRun) -> dict[str, Any]:
    """Return Cloud Run's `Job`."""
    environment = launch.environment
    container = {
        "image": job.image,
        "args": cloud_run.arguments(launch.parameters, environment),
        "resources": {"limits": {"cpu": job.cpu, "memory": job.memory}},
    }
    task: dict[str, Any] = {"containers": [container], "maxRetries": job.max_retries, "timeout": f"{job.seconds}s"}
    if environment.get("serviceAccountEmail"):
        task["serviceAccount"] = environment["serviceAccountEmail"]
    if network := cloud_run.network_of(environment):
        task["vpcAccess"] = {"egress": cloud_run.egress_of(environment), "networkInterfaces": [network]}
    body: dict[str, Any] = {"template": {"taskCount": 1, "template": task}}
    if environment.get("additionalUserLabels"):
        body["labels"] = dict(environment["additionalUserLabels"])
    return body


def scheduler_job(launch: Launch, schedule: Schedule) -> dict[str, Any]:
    """Return the Cloud Scheduler `Job` that posts the launch request.

    The job authenticates with an OAuth token, because Google's own APIs do not accept OIDC tokens.
    """
    job = {
        "name": f"projects/{launch.project}/locations/{schedule.location}/jobs/{schedule.name}",
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone,
        "attemptDeadline": f"{ATTEMPT_SECONDS}s",
        "retryConfig": {
            "retryCount": schedule.retries,
            "minBackoffDuration": f"{MIN_BACKOFF_SECONDS}s",
            "maxBackoffDuration": f"{MAX_BACKOFF_SECONDS}s",
            "maxDoublings": MAX_DOUBLINGS,
        },
        "httpTarget": {
            "uri": launch_url(launch),
            "httpMethod": "POST",
            "headers": dict(CONTENT_TYPE),
            "body": base64.b64encode(as_json(launch_request(launch)).encode()).decode(),
            "oauthToken": {"serviceAccountEmail": schedule.service_account},
        },
    }
    return job | ({"description": schedule.description} if schedule.description else {})


def as_json(body: Any) -> str:
    """Return `body` as indented JSON with a final newline. Escapes characters that are unsafe on a terminal."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
