"""Shell commands that launch a sync: gcloud where it has the flags, otherwise curl.

Parameters travel in a here-document, where commas, quotes and line breaks need no escaping.
"""

from __future__ import annotations

import shlex
from typing import Any

from sync_pipeline.launching import cloud_run, requests, settings
from sync_pipeline.launching.cloud_run import CloudRun
from sync_pipeline.launching.launch_file import Launch
from sync_pipeline.launching.schedule import Schedule

# The end marker of the here-document. No line of JSON consists of this word alone.
_END = "END"


def run_command(launch: Launch) -> str:
    """Return the command that launches now.

    The command is `gcloud dataflow flex-template run`, or curl if gcloud has no flag for a setting or launch option. A
    job of Cloud Run has to exist.
    """
    if launch.cloud_run is not None:
        words = ["gcloud", "run", "jobs", "execute", launch.job_name]
        return shlex.join([*words, f"--project={launch.project}", f"--region={launch.region}", "--wait"]) + "\n"
    if launch.launch_options or not settings.gcloud_can_say(launch.environment):
        return _request_command(launch)
    flags: dict[str, Any] = {
        "--project": launch.project,
        "--region": launch.region,
        "--template-file-gcs-location": launch.template,
        **settings.gcloud_flags(launch.environment),
        "--parameters": dict(launch.parameters),
    }
    words = ["gcloud", "dataflow", "flex-template", "run", launch.job_name, "--flags-file=-"]
    return _with_input([words], requests.as_json(flags))


def cloud_run_command(launch: Launch, job: CloudRun, *, update: bool = False) -> str:
    """Return the `gcloud run jobs create` command; with `update`, `gcloud run jobs update`."""
    environment = launch.environment
    flags: dict[str, Any] = {
        "--project": launch.project,
        "--region": launch.region,
        "--image": job.image,
        "--args": cloud_run.arguments(launch.parameters, environment),
        "--cpu": job.cpu,
        "--memory": job.memory,
        "--tasks": 1,
        "--max-retries": job.max_retries,
        "--task-timeout": f"{job.seconds}s",
    }
    if environment.get("serviceAccountEmail"):
        flags["--service-account"] = environment["serviceAccountEmail"]
    if network := cloud_run.network_of(environment):
        names = {"network": "--network", "subnetwork": "--subnet"}
        flags |= {names[name]: value for name, value in network.items()}
        flags["--vpc-egress"] = cloud_run.egress_of(environment).lower().replace("_", "-")
    if environment.get("additionalUserLabels"):
        flags["--update-labels" if update else "--labels"] = dict(environment["additionalUserLabels"])
    words = ["gcloud", "run", "jobs", "update" if update else "create", launch.job_name, "--flags-file=-"]
    return _with_input([words], requests.as_json(flags))


def schedule_command(launch: Launch, schedule: Schedule, *, update: bool = False) -> str:
    """Return the `gcloud scheduler jobs create http` command; with `update`, `gcloud scheduler jobs update http`."""
    headers = ",".join(f"{name}={value}" for name, value in requests.CONTENT_TYPE.items())
    lines = [
        ["gcloud", "scheduler", "jobs", "update" if update else "create", "http", schedule.name],
        [f"--project={launch.project}", f"--location={schedule.location}"],
        [f"--schedule={schedule.cron}", f"--time-zone={schedule.time_zone}"],
        [f"--description={schedule.description}"] if schedule.description else [],
        [f"--uri={requests.launch_url(launch)}"],
        ["--http-method=POST", f"--{'update-headers' if update else 'headers'}={headers}"],
        [f"--oauth-service-account-email={schedule.service_account}"],
        [f"--attempt-deadline={requests.ATTEMPT_SECONDS}s", f"--max-retry-attempts={schedule.retries}"],
        [f"--min-backoff={requests.MIN_BACKOFF_SECONDS}s", f"--max-backoff={requests.MAX_BACKOFF_SECONDS}s"],
        # Without the flag, an update keeps the max-retry-duration of the existing job.
        [f"--max-doublings={requests.MAX_DOUBLINGS}", *(["--clear-max-retry-duration"] if update else [])],
        ["--message-body-from-file=-"],
    ]
    return _with_input(lines, requests.as_json(requests.launch_request(launch)))


def _request_command(launch: Launch) -> str:
    headers = [f"{name}: {value}" for name, value in requests.CONTENT_TYPE.items()]
    lines = [
        "curl --fail-with-body --silent --show-error",
        '--header="Authorization: Bearer $(gcloud auth print-access-token)"',
        *(shlex.join([f"--header={header}"]) for header in headers),
        f"--data-binary=@- {shlex.quote(requests.launch_url(launch))} <<'{_END}'",
    ]
    return " \\\n  ".join(lines) + f"\n{requests.as_json(requests.launch_request(launch))}{_END}\n"


def _with_input(lines: list[list[str]], text: str) -> str:
    words = " \\\n  ".join(shlex.join(line) for line in lines if line)
    return f"{words} <<'{_END}'\n{text}{_END}\n"
