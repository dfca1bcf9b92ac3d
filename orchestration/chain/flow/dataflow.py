"""Dataflow's REST API: launch a Flex Template, get a job, list jobs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from .decisions import Job

# The URL of an emulator, which gets requests without credentials.
EMULATOR_VARIABLE = "DATAFLOW_EMULATOR_HOST"
_HOST = "https://dataflow.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_REQUEST_SECONDS = 60
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0


class DataflowError(Exception):
    """Dataflow refused a request; another attempt would be refused, too."""


class DataflowUnavailableError(DataflowError):
    """Dataflow did not answer, or was unable to do what was asked. It may have been done all the same."""


class JobIsActiveError(DataflowError):
    """A job of the name is active."""


class Dataflow:
    """The API for one project and region. Requests that only read are repeated for `patience` seconds."""

    def __init__(self, project: str, region: str, *, patience: float = 60) -> None:
        host = os.environ.get(EMULATOR_VARIABLE) or _HOST
        self._url = f"{host.rstrip('/')}/v1b3/projects/{quote(project)}/locations/{quote(region)}"
        self._patience = patience
        self._session = requests.Session() if host != _HOST else _authorized()

    def launch(self, parameter: Mapping[str, Any]) -> str:
        """Launch a template once and return the job's id.

        Raises:
            JobIsActiveError: a job of its name is active.
            DataflowUnavailableError: nobody knows whether it was launched.
            DataflowError: the launch is refused.
        """
        answer = self._ask("POST", "flexTemplates:launch", json={"launchParameter": parameter})
        return str(answer["job"]["id"])

    def get(self, job_id: str) -> dict[str, Any] | None:
        """Return the job with its options, or None if Dataflow does not know it. Raises DataflowError."""
        try:
            return self._read(f"jobs/{quote(job_id)}", {"view": "JOB_VIEW_ALL"})
        except _NotFoundError:
            return None

    def cancel(self, job_id: str) -> None:
        """Ask for the cancellation of a job. Raises DataflowError."""
        self._ask("PUT", f"jobs/{quote(job_id)}", json={"requestedState": "JOB_STATE_CANCELLED"})

    def jobs(self, *, name: str = "", created_after: datetime | None = None) -> Iterator[Job]:
        """Yield the jobs of a name, or all; those that were created earlier may be left out. Raises DataflowError."""
        query: dict[str, str] = {"filter": "ALL"} | ({"name": name} if name else {})
        if created_after is not None:
            query["createTimeRange.startTime"] = created_after.isoformat().replace("+00:00", "Z")
        while True:
            page = self._read("jobs", query)
            for job in page.get("jobs", []):
                # An API that ignores the filter would make all jobs look like the one that is looked for.
                if name in ("", job["name"]):
                    yield job_of(job)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def _read(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        for wait in waits():
            try:
                return self._ask("GET", path, params=query)
            except DataflowUnavailableError:
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)
        raise AssertionError("the waits have no end")

    def _ask(self, method: str, path: str, **words: Any) -> dict[str, Any]:
        try:
            answer = self._session.request(method, f"{self._url}/{path}", timeout=_REQUEST_SECONDS, **words)
            status, text = answer.status_code, answer.text
            if status < 400:
                content: dict[str, Any] = answer.json()
                return content
        except (requests.RequestException, GoogleAuthError, ValueError) as error:
            raise DataflowUnavailableError(f"Dataflow did not answer ({type(error).__name__})") from error
        message = f"Dataflow refused it ({status}): {_message(text)}"
        if status == 404:
            raise _NotFoundError(message)
        if status == 409:
            raise JobIsActiveError(message)
        if status in (408, 429) or status >= 500:
            raise DataflowUnavailableError(message)
        raise DataflowError(message)


class _NotFoundError(DataflowError):
    pass


def job_of(body: Mapping[str, Any]) -> Job:
    """Return a job of the API's body."""
    state = body.get("currentState", "JOB_STATE_UNKNOWN")
    return Job(body["id"], body["name"], state, body.get("createTime", ""), body.get("currentStateTime", ""))


def waits() -> Iterator[float]:
    """Yield how long to wait before each further attempt, in seconds, without end."""
    wait = _FIRST_WAIT_SECONDS
    while True:
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _authorized() -> AuthorizedSession:
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    return AuthorizedSession(credentials)


def _message(text: str) -> str:
    """Return the API's message on one line, of at most 500 characters."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    return " ".join(text.split())[:500]
