"""What the tests need of gcloud, where it is not installed: the same words, the same requests.

    python gcloud_stand_in.py dataflow flex-template run NAME --flags-file=FILE

`test_commands_send_what_the_requests_are` holds for the one as for the other.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from sync_pipeline.launching.settings import SETTINGS


def main(words: list[str]) -> int:
    names = [word for word in words if not word.startswith("--")]
    flags: dict[str, Any] = {}
    for word in (word for word in words if word.startswith("--")):
        flag, equals, value = word.partition("=")
        flags[flag] = value if equals else True
    source = flags.pop("--flags-file", None)
    if source is not None:
        flags |= yaml.safe_load(sys.stdin if source == "-" else Path(source).read_text())
    project = flags.get("--project") or os.environ["CLOUDSDK_CORE_PROJECT"]
    path = f"/v1b3/projects/{project}/locations/{flags.get('--region', 'us-central1')}"
    match names:
        case ["dataflow", "flex-template", "run", name]:
            return _send("DATAFLOW", "POST", f"{path}/flexTemplates:launch", _launch(name, flags))
        case ["dataflow", "jobs", "cancel", job]:
            force = {"labels": {"force_cancel_job": "true"}} if "--force" in flags else {}
            return _send("DATAFLOW", "PUT", f"{path}/jobs/{job}", {"requestedState": "JOB_STATE_CANCELLED", **force})
        case ["scheduler", "jobs", "create", "http", name]:
            parent = f"projects/{project}/locations/{flags['--location']}/jobs"
            return _send("CLOUDSCHEDULER", "POST", f"/v1/{parent}", _job(f"{parent}/{name}", flags))
        case ["scheduler", "jobs", "run", name]:
            return _send(
                "CLOUDSCHEDULER", "POST", f"/v1/projects/{project}/locations/{flags['--location']}/jobs/{name}:run", {}
            )
    raise SystemExit(f"the stand-in of gcloud does not know {' '.join(names)}")


def _launch(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    parameters = flags.get("--parameters", {})
    if isinstance(parameters, str):
        delimiter = ","
        if parameters.startswith("^"):
            _, delimiter, parameters = parameters.split("^", 2)
        parameters = dict(pair.split("=", 1) for pair in parameters.split(delimiter))
    environment: dict[str, Any] = {"enableStreamingEngine": False}
    for setting in SETTINGS:
        if setting.flag in flags:
            value = flags[setting.flag]
            by_flag = {told: chosen for chosen, told in (setting.choices or {}).items()}
            environment[setting.name] = by_flag[None if value is True else value] if by_flag else setting.type(value)
    return {
        "launchParameter": {
            "jobName": name,
            "containerSpecGcsPath": flags["--template-file-gcs-location"],
            "environment": environment,
            "parameters": parameters,
        }
    }


def _job(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    assert flags["--message-body-from-file"] == "-"
    return {
        "name": name,
        "schedule": flags["--schedule"],
        "timeZone": flags["--time-zone"],
        "attemptDeadline": flags["--attempt-deadline"],
        "retryConfig": {
            "retryCount": int(flags["--max-retry-attempts"]),
            "minBackoffDuration": flags["--min-backoff"],
            "maxBackoffDuration": flags["--max-backoff"],
            "maxDoublings": int(flags["--max-doublings"]),
        },
        "httpTarget": {
            "uri": flags["--uri"],
            "httpMethod": flags["--http-method"],
            "headers": dict([flags["--headers"].split("=", 1)]),
            "body": base64.b64encode(sys.stdin.read().encode()).decode(),
            "oauthToken": {"serviceAccountEmail": flags["--oauth-service-account-email"]},
        },
    } | ({"description": flags["--description"]} if "--description" in flags else {})


def _send(api: str, method: str, path: str, body: dict[str, Any]) -> int:
    host = os.environ[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}"].rstrip("/")
    request = urllib.request.Request(
        host + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            print(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            answer = json.loads(error.read())["error"]
        print(f"ERROR: {answer['status']}: {answer['message']}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
