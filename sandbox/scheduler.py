"""Cloud Scheduler: creates, changes and runs jobs. It runs a job only on request, never by the clock."""

import base64
import copy
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.flex_templates import InvalidRequestError

_DATAFLOW = "https://dataflow.googleapis.com"


class Schedules:
    """The jobs of Cloud Scheduler. They send their requests to Dataflow to `dataflow_host`, a URL."""

    def __init__(self, dataflow_host: str, read: Callable[[str, str, Any], dict[str, Any]]) -> None:
        self._dataflow_host = dataflow_host
        self._read = read
        self._jobs: dict[str, dict[str, Any]] = {}
        self._attempts: list[dict[str, Any]] = []

    def create(self, request: Any, project: str, location: str) -> dict[str, Any]:
        body = self._read("cloudscheduler.v1", "Job", request.body)
        name = body.get("name", "")
        if not name.startswith(f"projects/{project}/locations/{location}/jobs/"):
            raise InvalidRequestError(f"Job name '{name}' is not one of this project and location.")
        _check(body)
        self._jobs[name] = body | {"state": "ENABLED"}
        return self._jobs[name]

    def update(self, request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        """Change the fields that the mask names, or all given fields if there is no mask."""
        body = self._read("cloudscheduler.v1", "Job", request.body)
        schedule = self._find(project, location, job)
        mask = [path for path in request.query.get("updateMask", "").split(",") if path]
        changed = copy.deepcopy(schedule)
        for path in mask or [name for name in body if name != "name"]:
            _set(changed, body, path.split("."))
        _check(changed)
        self._jobs[schedule["name"]] = changed
        return changed

    def pause(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        return self._enter(project, location, job, "PAUSED")

    def resume(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        return self._enter(project, location, job, "ENABLED")

    def list_all(self, _request: Any, project: str, location: str) -> dict[str, Any]:
        prefix = f"projects/{project}/locations/{location}/jobs/"
        return {"jobs": [job for name, job in self._jobs.items() if name.startswith(prefix)]}

    def get(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        return self._find(project, location, job)

    def delete(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        del self._jobs[self._find(project, location, job)["name"]]
        return {}

    def run(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        """Send the job's request and store the result in the job's `status`, as Google does."""
        schedule = self._find(project, location, job)
        target = schedule["httpTarget"]
        url = target["uri"].replace(_DATAFLOW, self._dataflow_host, 1)
        if not url.startswith(self._dataflow_host):
            raise InvalidRequestError(f"{target['uri']} is not Dataflow, and not called from here.")
        # Like all Google APIs, it accepts both Base64 alphabets; gcloud writes the URL-safe one.
        body = base64.b64decode(target.get("body", "").translate(str.maketrans("-_", "+/")))
        call = urllib.request.Request(url, body, target.get("headers", {}), method=target.get("httpMethod", "POST"))
        status: dict[str, Any] = {}
        http_status = 200
        try:
            with urllib.request.urlopen(call, timeout=60) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                http_status = error.code
                status = {"code": _CODES.get(error.code, 2), "message": error.read().decode(errors="replace")}
        now = datetime.now(UTC)
        schedule |= {"lastAttemptTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "status": status}
        self._attempts.append(_log_entry(project, location, schedule, now, http_status))
        return schedule

    def log_entries(self, project: str) -> list[dict[str, Any]]:
        """Return one entry of Cloud Logging for each run of a job."""
        return [entry for entry in self._attempts if entry["resource"]["labels"]["project_id"] == project]

    def _enter(self, project: str, location: str, job: str, state: str) -> dict[str, Any]:
        schedule = self._find(project, location, job)
        schedule["state"] = state
        return schedule

    def _find(self, project: str, location: str, job: str) -> dict[str, Any]:
        found = self._jobs.get(f"projects/{project}/locations/{location}/jobs/{job}")
        if found is None:
            raise InvalidRequestError("Job not found.")
        return found


def _check(job: dict[str, Any]) -> None:
    target = job.get("httpTarget", {})
    if target.get("uri", "").startswith(_DATAFLOW) and not target.get("oauthToken", {}).get("serviceAccountEmail"):
        # Google accepts such a job, and Dataflow then answers each run with 401.
        raise InvalidRequestError("A request to Dataflow needs an OAuth token: name a service account.")


def _set(target: dict[str, Any], source: dict[str, Any], path: list[str]) -> None:
    """Copy the value at a path of the mask from `source` to `target`; delete it if `source` has none."""
    name = re.sub(r"_([a-z])", lambda match: match[1].upper(), path[0])
    if len(path) > 1:
        _set(target.setdefault(name, {}), source.get(name, {}), path[1:])
    elif name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _log_entry(project: str, location: str, job: dict[str, Any], time: datetime, http_status: int) -> dict[str, Any]:
    name = job["name"].rpartition("/")[2]
    return {
        "insertId": f"{name}-{time.timestamp()}",
        "logName": f"projects/{project}/logs/cloudscheduler.googleapis.com%2Fexecutions",
        "resource": {
            "type": "cloud_scheduler_job",
            "labels": {"job_id": name, "location": location, "project_id": project},
        },
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "severity": "INFO" if http_status == 200 else "ERROR",
        "httpRequest": {"status": http_status},
        "jsonPayload": {
            "@type": "type.googleapis.com/google.cloud.scheduler.logging.AttemptFinished",
            "jobName": job["name"],
            "targetType": "HTTP",
            "url": job["httpTarget"]["uri"],
        },
    }


# The google.rpc codes that Cloud Scheduler reports for HTTP status codes.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 503: 14}
