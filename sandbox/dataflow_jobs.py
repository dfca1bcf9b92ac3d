"""The jobs of the local Dataflow: each is one process with a run, and has the states of a Dataflow job."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.processes import ATTACHED

_MAIN = Path(__file__).resolve().with_name("dataflow_main.py")
_TERMINAL = frozenset({"JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"})
_SECONDS_TO_CLEAN_UP = 60

# A line of the log: time, level and message. Other lines are of programs that print.
_LINE = re.compile(r"(?:[0-9T:-]+Z )?(?P<kind>DEBUG|INFO|WARNING|ERROR|CRITICAL|error:) (?P<text>.*)", re.DOTALL)
# A run logs this line when its plan is complete. On Dataflow the launcher submits the job at this point.
_PLAN = re.compile("plan: ")
# The line about a table, and the counters in it.
_REPORT = "sync report: "
_COUNTER = re.compile(r"\b(rows_read|rows_loaded|dead_letters|bytes_staged)=(\d+)")
# A line of a comparison, with rows that differ.
_DIFFERING = re.compile(r"^reconcile:   (?:missing|different|surplus)\s+([\d,]+)$")
# The exit code of a comparison that found differences. On Dataflow its job succeeds.
_DIFFERENCES = 3
_SEVERITIES = {
    "JOB_MESSAGE_DETAILED": "DEBUG",
    "JOB_MESSAGE_BASIC": "INFO",
    "JOB_MESSAGE_WARNING": "WARNING",
    "JOB_MESSAGE_ERROR": "ERROR",
}
# Beam's name for itself in a job's user agent.
_USER_AGENT = {
    "name": f"Apache Beam Python {sys.version_info.major}.{sys.version_info.minor} SDK",
    "version": importlib.metadata.version("apache-beam"),
}
_IMPORTANCE = {
    "error:": "JOB_MESSAGE_ERROR",
    "ERROR": "JOB_MESSAGE_ERROR",
    "WARNING": "JOB_MESSAGE_WARNING",
    "INFO": "JOB_MESSAGE_BASIC",
}


class JobExistsError(Exception):
    """A job of that name is still active."""


@dataclass
class Job:
    """One job. The thread that waits for its process changes its state, and so does the request that cancels it.

    Attributes:
        options: the options that were given, and those of the pipeline when the run has built it.
    """

    project: str
    location: str
    name: str
    flags: Sequence[str]
    options: Mapping[str, Any]
    labels: Mapping[str, str]
    template_path: str
    id: str = ""
    created: str = ""
    state: str = "JOB_STATE_QUEUED"
    state_time: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        moment = datetime.now(UTC)
        self.id = f"{moment:%Y-%m-%d_%H_%M_%S}-{uuid.uuid4().int % 10**19}"
        self.created = self.state_time = _text(moment)

    @property
    def has_ended(self) -> bool:
        return self.state in _TERMINAL

    def enter(self, state: str) -> None:
        """Change the state. A job that has ended keeps its state; a job that is being cancelled can only end."""
        if self.has_ended or (self.state == "JOB_STATE_CANCELLING" and state not in _TERMINAL):
            return
        self.state, self.state_time = state, _text(datetime.now(UTC))

    def tell(self, importance: str, text: str) -> None:
        """Add a message to the job's messages."""
        self.messages.append(
            {
                "id": f"msg{len(self.messages):06d}",
                "time": _text(datetime.now(UTC)),
                "messageText": text,
                "messageImportance": importance,
            }
        )

    def body(self, *, whole: bool) -> dict[str, Any]:
        """Return the job as the API shows it; only a `whole` job includes its environment."""
        body: dict[str, Any] = {
            "id": self.id,
            "projectId": self.project,
            "name": self.name,
            "type": "JOB_TYPE_BATCH",
            "currentState": self.state,
            "currentStateTime": self.state_time,
            "createTime": self.created,
            "startTime": self.created,
            "location": self.location,
            "labels": dict(self.labels),
        }
        if whole:
            body["environment"] = {"sdkPipelineOptions": {"options": dict(self.options)}, "userAgent": _USER_AGENT}
        return body

    def metrics(self) -> list[dict[str, Any]]:
        """Return counters as `getMetrics` does: the totals of the report, which on Dataflow the steps have counted."""
        counted: dict[str, int] = {}
        for message in self.messages:
            text = message["messageText"]
            found = _COUNTER.findall(text) if text.startswith(_REPORT) else []
            found += [("rows_differing", value.replace(",", "")) for value in _DIFFERING.findall(text)]
            for name, value in found:
                counted[name] = counted.get(name, 0) + int(value)
        return [
            {"name": {"origin": "user", "name": name, "context": {"step": "s1"}}, "scalar": value}
            for name, value in counted.items()
        ]

    def log_entries(self) -> list[dict[str, Any]]:
        """Return the job's output as Cloud Logging entries: the launcher's up to the plan, then the workers'."""
        plan = max((i for i, each in enumerate(self.messages) if _PLAN.match(each["messageText"])), default=None)
        return [
            {
                "insertId": f"{self.id}-{message['id']}",
                "logName": f"projects/{self.project}/logs/dataflow.googleapis.com%2F"
                + ("launcher" if plan is None or index <= plan else "worker"),
                "resource": {
                    "type": "dataflow_step",
                    "labels": {
                        "job_id": self.id,
                        "job_name": self.name,
                        "project_id": self.project,
                        "region": self.location,
                        "step_id": "",
                    },
                },
                "timestamp": message["time"],
                "severity": _SEVERITIES[message["messageImportance"]],
                "jsonPayload": {"message": message["messageText"]},
            }
            for index, message in enumerate(self.messages)
        ]


class Jobs:
    """All jobs since the server started. Only one job of each name is active at a time."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Job]:
        return iter(sorted(self._jobs.values(), key=lambda job: job.created, reverse=True))

    def find(self, project: str, job_id: str) -> Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and job.project == project else None

    def launch(self, job: Job) -> None:
        """Start the job. Raises JobExistsError when a job of its name is active in its project and region."""
        with self._lock:
            for other in self._jobs.values():
                same = (other.project, other.location, other.name) == (job.project, job.location, job.name)
                if same and not other.has_ended:
                    raise JobExistsError(other.id)
            self._jobs[job.id] = job
        # The kernel ends a process when the thread that started it ends, so this thread waits for the process.
        threading.Thread(target=_run, args=(job,), daemon=True).start()

    def cancel(self, job: Job, *, force: bool) -> None:
        """Send SIGTERM, so that the job can delete its staged files, or SIGKILL if `force` is true."""
        job.enter("JOB_STATE_CANCELLING")
        job.tell("JOB_MESSAGE_BASIC", "Cancel request is committed.")
        process = job.process
        if process is None or process.poll() is not None:
            return
        if force:
            os.killpg(process.pid, signal.SIGKILL)
            return
        process.terminate()
        late = threading.Timer(_SECONDS_TO_CLEAN_UP, _kill, [process])
        late.daemon = True
        late.start()


def _run(job: Job) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run_process(job, Path(folder) / "options.json")


def _run_process(job: Job, options: Path) -> None:
    main = [os.environ.get("SANDBOX_JOB_PYTHON", sys.executable), str(_MAIN), str(options), *job.flags]
    with subprocess.Popen(
        [sys.executable, "-IS", ATTACHED, str(os.getpid()), str(int(signal.SIGKILL)), "-", *main],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        # As the image has it that was built with the template.
        env=os.environ | {"TEMPLATE_FILE": job.template_path},
    ) as process:
        job.process = process
        if job.state == "JOB_STATE_CANCELLING":
            process.kill()
        assert process.stdout is not None
        for line in process.stdout:
            found = _LINE.match(line)
            kind, text = (found["kind"], found["text"]) if found else ("", line)
            if kind == "INFO" and _PLAN.match(text):
                job.options = json.loads(options.read_text())
                job.enter("JOB_STATE_RUNNING")
            job.tell(_IMPORTANCE.get(kind, "JOB_MESSAGE_DETAILED"), text.rstrip("\n"))
    if process.returncode in (0, _DIFFERENCES):
        job.enter("JOB_STATE_DONE")
    elif job.state == "JOB_STATE_CANCELLING":
        job.enter("JOB_STATE_CANCELLED")
    else:
        job.tell("JOB_MESSAGE_ERROR", f"Error occurred in the launcher container: exit code {process.returncode}.")
        job.enter("JOB_STATE_FAILED")


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
