"""Serve the REST APIs of several Google services: python dataflow_server.py PORT SECRETS_PORT BUCKET.

The services are Dataflow, Cloud Scheduler, Secret Manager and, for reading, Cloud Logging. The environment of the
process points to the other servers of the sandbox; the processes of the jobs inherit it.
"""

import http.server
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sandbox.cloud_logging import entries_that_match
from sandbox.dataflow_jobs import Job, JobExistsError, Jobs
from sandbox.discovery import read_body
from sandbox.flex_templates import InvalidRequestError, launcher_flags, read_template
from sandbox.scheduler import Schedules
from sandbox.secret_manager import SecretExistsError, SecretNotFoundError, Secrets, VersionNotEnabledError, serve
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.job_labels import dataflow_labels, template_labels
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import PARAMETERS

_SECRETS = frozenset(parameter.name for parameter in PARAMETERS if parameter.secret)
_JOB_NAME = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_FILTERS: dict[str, Callable[[Job], bool]] = {
    "ALL": lambda _job: True,
    "UNKNOWN": lambda _job: True,
    "ACTIVE": lambda job: not job.has_ended,
    "TERMINATED": lambda job: job.has_ended,
}
_IMPORTANCES = (
    "JOB_MESSAGE_DEBUG",
    "JOB_MESSAGE_DETAILED",
    "JOB_MESSAGE_BASIC",
    "JOB_MESSAGE_WARNING",
    "JOB_MESSAGE_ERROR",
)


@dataclass(frozen=True)
class Request:
    """One request; `query` has the last value of each query parameter."""

    query: dict[str, str]
    body: Any


class NotFoundError(Exception):
    """No resource has that name."""


@dataclass
class Dataflow:
    """The server's state, with one method for each kind of request."""

    storage_host: str
    bucket: str
    jobs: Jobs = field(default_factory=Jobs)

    def launch(self, request: Request, project: str, location: str) -> dict[str, Any]:
        body = _read("dataflow.v1b3", "LaunchFlexTemplateRequest", request.body)
        launch = body.get("launchParameter", {})
        name = launch.get("jobName", "")
        if not _JOB_NAME.fullmatch(name):
            raise InvalidRequestError(
                f"The job name '{name}' is invalid. The name must consist of only the characters [-a-z0-9], starting "
                "with a letter and ending with a letter or number."
            )
        path = launch.get("containerSpecGcsPath", "")
        template = read_template(self.storage_host, path)
        parameters = launch.get("parameters", {})
        template.check(parameters)
        if body.get("validateOnly"):
            return {}
        environment = {**template.default_environment, **launch.get("environment", {})}
        flags = launcher_flags(project, location, name, self.bucket, environment, parameters)
        labels = _labels(parameters) | environment.get("additionalUserLabels", {})
        job = Job(project, location, name, flags, _options(flags), labels, path)
        self.jobs.launch(job)
        # Like Google's API, the answer to a launch has no state; `jobs.get` returns it.
        return {"job": {key: value for key, value in job.body(whole=False).items() if key != "currentState"}}

    def list_all(self, request: Request, project: str, location: str = "") -> dict[str, Any]:
        chosen = _FILTERS[request.query.get("filter", "ALL")]
        found = [job for job in self.jobs if job.project == project and location in ("", job.location) and chosen(job)]
        name = request.query.get("name", "")
        return {"jobs": [job.body(whole=False) for job in found if name in ("", job.name)]}

    def get(self, request: Request, project: str, _location: str, job_id: str) -> dict[str, Any]:
        return self._job(project, job_id).body(
            whole=request.query.get("view") in ("JOB_VIEW_ALL", "JOB_VIEW_DESCRIPTION")
        )

    def update(self, request: Request, project: str, _location: str, job_id: str) -> dict[str, Any]:
        job = self._job(project, job_id)
        body = _read("dataflow.v1b3", "Job", request.body)
        if body.get("requestedState") != "JOB_STATE_CANCELLED":
            raise InvalidRequestError(f"Job {job_id} is a batch job: it can only be cancelled.")
        if job.has_ended:
            raise InvalidRequestError(f"Job {job_id} is already in a terminal state: {job.state}.")
        self.jobs.cancel(job, force=body.get("labels", {}).get("force_cancel_job") == "true")
        return job.body(whole=False)

    def messages(self, request: Request, project: str, _location: str, job_id: str) -> dict[str, Any]:
        least = _IMPORTANCES.index(request.query.get("minimumImportance", "JOB_MESSAGE_DEBUG"))
        told = self._job(project, job_id).messages
        return {"jobMessages": [each for each in told if _IMPORTANCES.index(each["messageImportance"]) >= least]}

    def metrics(self, _request: Request, project: str, _location: str, job_id: str) -> dict[str, Any]:
        return {"metrics": self._job(project, job_id).metrics()}

    def _job(self, project: str, job_id: str) -> Job:
        job = self.jobs.find(project, job_id)
        if job is None:
            raise NotFoundError(f"({job_id}): Information about job {job_id} could not be found in our system.")
        return job


def _labels(parameters: dict[str, str]) -> dict[str, str]:
    """Return the labels that the run gives its job; no labels if the run will reject the parameters."""
    try:
        return dataflow_labels(RunConfig.from_parameters(parameters, reads_file=False)) | template_labels()
    except ConfigError:
        return {}


def _read(document: str, schema: str, body: Any) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError when the discovery document does not allow it."""
    read, problems = read_body(document, schema, body)
    if problems:
        told = [{"description": problem} for problem in problems]
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": told}]
        raise InvalidRequestError("\n".join(problems), details)
    return dict(read)


def _options(flags: list[str]) -> dict[str, Any]:
    """Return the options of a job before its run has told them: the given ones, without secrets."""
    words = (flag.removeprefix("--").partition("=") for flag in flags)
    return {name: value if equals else True for name, equals, value in words if name not in _SECRETS}


class _Handler(http.server.BaseHTTPRequestHandler):
    """Calls the method for a request, and converts its exceptions to Google's errors."""

    protocol_version = "HTTP/1.1"
    routes: tuple[tuple[str, re.Pattern[str], Callable[..., dict[str, Any]]], ...] = ()

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        try:
            query = dict(urllib.parse.parse_qsl(url.query))
            request = Request(query, json.loads(text) if text else {})
            self._send(200, self._routed(url.path, request))
        except ValueError:
            self._send(400, _error(400, "INVALID_ARGUMENT", "Invalid JSON payload received."))
        except InvalidRequestError as error:
            self._send(400, _error(400, "INVALID_ARGUMENT", str(error), error.details))
        except (NotFoundError, SecretNotFoundError) as error:
            self._send(404, _error(404, "NOT_FOUND", str(error)))
        except SecretExistsError as error:
            self._send(409, _error(409, "ALREADY_EXISTS", str(error)))
        except VersionNotEnabledError as error:
            self._send(400, _error(400, "FAILED_PRECONDITION", str(error)))
        except JobExistsError as error:
            message = (
                f"({error}): The workflow could not be created. Causes: There is already an active job of this name. "
                "If you want to submit a second job, try again by setting a different name."
            )
            self._send(409, _error(409, "ALREADY_EXISTS", message))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _routed(self, path: str, request: Request) -> dict[str, Any]:
        for method, pattern, handle in self.routes:
            match = pattern.fullmatch(path)
            if match and method == self.command:
                return handle(request, *(part and urllib.parse.unquote(part) for part in match.groups()))
        raise NotFoundError(f"The sandbox does not serve this: {self.command} {path}")

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: Any) -> None:
        """Log nothing: the server's log has the messages of the jobs only."""


def _error(code: int, status: str, message: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status}
    return {"error": error | ({"details": details} if details else {})}


def main(port: str, secrets_port: str, bucket: str) -> None:
    """Serve until killed."""
    dataflow = Dataflow(os.environ["STORAGE_EMULATOR_HOST"], bucket)
    scheduler = Schedules(f"http://127.0.0.1:{port}", _read)
    secrets = Secrets(_read)
    secrets_server = serve(secrets, int(secrets_port))

    def read_log(request: Request) -> dict[str, Any]:
        body = _read("logging.v2", "ListLogEntriesRequest", request.body)
        projects = [name.removeprefix("projects/") for name in body.get("resourceNames", [])]
        entries = [entry for name in projects for entry in scheduler.log_entries(name)]
        entries += [entry for job in dataflow.jobs if job.project in projects for entry in job.log_entries()]
        found = entries_that_match(entries, body.get("filter", ""))
        ordered = found if body.get("orderBy", "").endswith("desc") else found[::-1]
        return {"entries": ordered[: int(body.get("pageSize") or 1000)]}

    region = "/v1b3/projects/([^/]+)/locations/([^/]+)"
    schedules = "/v1/projects/([^/]+)/locations/([^/]+)/jobs"
    all_secrets = "/v1/projects/([^/]+)(?:/locations/([^/]+))?/secrets"
    secret = f"{all_secrets}/([^/:]+)"
    version = f"{secret}/versions/([^/:]+)"
    routes: list[tuple[str, str, Callable[..., dict[str, Any]]]] = [
        ("POST", f"{region}/flexTemplates:launch", dataflow.launch),
        ("GET", f"{region}/jobs", dataflow.list_all),
        ("GET", "/v1b3/projects/([^/]+)/jobs:aggregated", dataflow.list_all),
        ("GET", f"{region}/jobs/([^/]+)", dataflow.get),
        ("PUT", f"{region}/jobs/([^/]+)", dataflow.update),
        ("GET", f"{region}/jobs/([^/]+)/messages", dataflow.messages),
        ("GET", f"{region}/jobs/([^/]+)/metrics", dataflow.metrics),
        ("POST", schedules, scheduler.create),
        ("GET", schedules, scheduler.list_all),
        ("GET", f"{schedules}/([^/:]+)", scheduler.get),
        ("PATCH", f"{schedules}/([^/:]+)", scheduler.update),
        ("DELETE", f"{schedules}/([^/:]+)", scheduler.delete),
        ("POST", f"{schedules}/([^/:]+):run", scheduler.run),
        ("POST", f"{schedules}/([^/:]+):pause", scheduler.pause),
        ("POST", f"{schedules}/([^/:]+):resume", scheduler.resume),
        ("POST", all_secrets, secrets.create),
        ("GET", all_secrets, secrets.list_all),
        ("GET", secret, secrets.get),
        ("DELETE", secret, secrets.delete),
        ("POST", f"{secret}:addVersion", secrets.add_version),
        ("GET", f"{secret}:getIamPolicy", secrets.get_policy),
        ("POST", f"{secret}:setIamPolicy", secrets.set_policy),
        ("GET", f"{secret}/versions", secrets.list_versions),
        ("GET", version, secrets.get_version),
        ("GET", f"{version}:access", secrets.access),
        ("POST", f"{version}:(enable|disable|destroy)", secrets.change_version),
        ("POST", "/v2/entries:list", read_log),
    ]
    _Handler.routes = tuple((method, re.compile(path), handle) for method, path, handle in routes)
    try:
        http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()
    finally:
        secrets_server.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
