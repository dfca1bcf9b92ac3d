"""Launches through the local Dataflow: commands in a shell, as a person gives them, and what becomes of their jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import Endpoints

ROOT = Path(__file__).parents[2]
REGION = "us-central1"
HAS_GCLOUD = shutil.which("gcloud") is not None
STAND_IN = Path(__file__).with_name("gcloud_stand_in.py")


@dataclass(frozen=True)
class Answer:
    """What the REST API has answered."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])


@dataclass(frozen=True)
class Launching:
    """One folder of files, one template, and the Dataflow of the sandbox."""

    endpoints: Endpoints
    template: str
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.endpoints.dataflow_host}/v1b3/projects/{self.endpoints.project}/locations/{REGION}"

    def shell(self, script: str, *, stand_in: bool = not HAS_GCLOUD) -> subprocess.CompletedProcess[str]:
        """Run a script in the folder; `gcloud` is the real one where there is one."""
        environment = {**os.environ, **self.endpoints.environment(), "PYTHONPATH": str(ROOT)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        if stand_in:
            programs = self.folder / "bin"
            programs.mkdir(exist_ok=True)
            (programs / "gcloud").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
            (programs / "gcloud").chmod(0o755)
            environment["PATH"] = f"{programs}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def succeed(self, script: str) -> str:
        """Run a script that has to succeed, and return what it printed."""
        result = self.shell(script)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request to a path below the project and region, or with a leading slash to one of the host."""
        url = f"{self.endpoints.dataflow_host}{path}" if path.startswith("/") else f"{self.url}/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error))

    def launch(self, job_name: str, parameters: dict[str, str], **environment: Any) -> Answer:
        """Launch the template by a request."""
        launch = {
            "jobName": job_name,
            "containerSpecGcsPath": self.template,
            "parameters": parameters,
            "environment": environment,
        }
        return self.call("POST", "flexTemplates:launch", {"launchParameter": launch})

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """Return the jobs of a name, the latest first."""
        answer = self.call("GET", f"jobs?name={name}")
        return list(answer.body["jobs"])

    def job(self, name: str) -> dict[str, Any]:
        """Return all that is told of the only job of a name."""
        (job,) = self.jobs(name)
        return dict(self.call("GET", f"jobs/{job['id']}?view=JOB_VIEW_ALL").body)

    def messages(self, name: str) -> list[str]:
        found = self.call("GET", f"jobs/{self.jobs(name)[0]['id']}/messages")
        return [message["messageText"] for message in found.body["jobMessages"]]

    def wait(self, name: str, state: str) -> dict[str, Any]:
        """Return the latest job of a name when it has entered the state; fail when it enters a last one instead."""
        deadline = time.monotonic() + 90
        while True:
            job = self.jobs(name)[0]
            if job["currentState"] == f"JOB_STATE_{state}":
                return job
            ended = job["currentState"] in ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
            assert not ended, self.messages(name)
            assert time.monotonic() < deadline, self.messages(name)
            time.sleep(0.05)
