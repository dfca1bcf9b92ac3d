"""Cloud Scheduler as far as it takes jobs and runs them when it is told to: nothing here looks at the clock."""

import base64
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.flex_templates import InvalidRequestError

_DATAFLOW = "https://dataflow.googleapis.com"


class Schedules:
    """The jobs of Cloud Scheduler. What they post to Dataflow goes to `dataflow_host`, a URL."""

    def __init__(self, dataflow_host: str, read: Callable[[str, str, Any], dict[str, Any]]) -> None:
        self._dataflow_host = dataflow_host
        self._read = read
        self._jobs: dict[str, dict[str, Any]] = {}

    def create(self, request: Any, project: str, location: str) -> dict[str, Any]:
        body = self._read("cloudscheduler.v1", "Job", request.body)
        name = body.get("name", "")
        if not name.startswith(f"projects/{project}/locations/{location}/jobs/"):
            raise InvalidRequestError(f"Job name '{name}' is not one of this project and location.")
        target = body.get("httpTarget", {})
        if target.get("uri", "").startswith(_DATAFLOW) and not target.get("oauthToken", {}).get("serviceAccountEmail"):
            # Google takes it, and Dataflow then answers each run with 401.
            raise InvalidRequestError("A request to Dataflow needs an OAuth token: name a service account.")
        self._jobs[name] = body | {"state": "ENABLED"}
        return self._jobs[name]

    def list_all(self, _request: Any, project: str, location: str) -> dict[str, Any]:
        prefix = f"projects/{project}/locations/{location}/jobs/"
        return {"jobs": [job for name, job in self._jobs.items() if name.startswith(prefix)]}

    def get(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        return self._find(project, location, job)

    def delete(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        del self._jobs[self._find(project, location, job)["name"]]
        return {}

    def run(self, _request: Any, project: str, location: str, job: str) -> dict[str, Any]:
        """Post what the job says; its `status` tells how it went, as Google's does."""
        schedule = self._find(project, location, job)
        target = schedule["httpTarget"]
        url = target["uri"].replace(_DATAFLOW, self._dataflow_host, 1)
        if not url.startswith(self._dataflow_host):
            raise InvalidRequestError(f"{target['uri']} is not Dataflow, and not called from here.")
        # Both alphabets are taken, as in all of Google's APIs; gcloud writes the URL-safe one.
        body = base64.b64decode(target.get("body", "").translate(str.maketrans("-_", "+/")))
        call = urllib.request.Request(url, body, target.get("headers", {}), method=target.get("httpMethod", "POST"))
        status: dict[str, Any] = {}
        try:
            with urllib.request.urlopen(call, timeout=60) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                status = {"code": _CODES.get(error.code, 2), "message": error.read().decode(errors="replace")}
        schedule |= {"lastAttemptTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "status": status}
        return schedule

    def _find(self, project: str, location: str, job: str) -> dict[str, Any]:
        found = self._jobs.get(f"projects/{project}/locations/{location}/jobs/{job}")
        if found is None:
            raise InvalidRequestError("Job not found.")
        return found


# The codes of google.rpc for HTTP's, as Cloud Scheduler reports them.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 503: 14}
