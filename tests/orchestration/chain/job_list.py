"""A list of jobs in memory, which answers as Dataflow does: the state of a chain in tests that run no job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from orchestration.chain.flow.chain import Chain, Step
from orchestration.chain.flow.dataflow import JobIsActiveError
from orchestration.chain.flow.decisions import Job, Outcome
from orchestration.chain.flow.events import JobEvent

PROJECT, REGION = "my-project", "us-central1"
RUN = "20250722t130000"


def chain(name: str = "nightly", **steps: tuple[str, str]) -> Chain:
    """A chain of steps, each with the steps after its success and after its failure, separated by spaces."""
    made = {
        step: Step(
            step, {"containerSpecGcsPath": "gs://b/t.json", "parameters": {}}, tuple(n.split()), tuple(f.split())
        )
        for step, (n, f) in steps.items()
    }
    return Chain(name, PROJECT, REGION, "UTC", made)


def nothing(*_: Any) -> None:
    pass


@dataclass
class JobList:
    """The jobs, the earliest first.

    Attributes:
        before_launch: called with the job's name before a launch takes effect; may raise.
        after_launch: called when it has; what it raises is an answer that was lost.
        unknown: how often `get` does not know a job yet.
    """

    all: list[Job] = field(default_factory=list)
    launches: list[Mapping[str, Any]] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    before_launch: Callable[[str], None] = nothing
    after_launch: Callable[[str], None] = nothing
    unknown: int = 0
    cancelled: list[str] = field(default_factory=list)

    def launch(self, parameter: Mapping[str, Any]) -> str:
        name = parameter["jobName"]
        self.before_launch(name)
        if any(job.name == name and job.outcome is Outcome.ACTIVE for job in self.all):
            raise JobIsActiveError(name)
        number = len(self.all)
        self.launches.append(parameter)
        self.all.append(Job(f"id-{number}", name, "JOB_STATE_RUNNING", f"2025-07-22T13:{number:02d}:00Z"))
        self.after_launch(name)
        return f"id-{number}"

    def get(self, job_id: str) -> dict[str, Any] | None:
        if self.unknown:
            self.unknown -= 1
            return None
        options = {"sdkPipelineOptions": {"options": self.options.get(job_id, {})}}
        return next(
            (
                {"id": job.id, "name": job.name, "currentState": job.state, "environment": options}
                for job in self.all
                if job.id == job_id
            ),
            None,
        )

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def jobs(self, *, name: str = "", created_after: datetime | None = None) -> Iterator[Job]:
        yield from [job for job in reversed(self.all) if name in ("", job.name)]

    def end(self, step: str, state: str = "DONE", chain_name: str = "nightly", run: str = RUN) -> JobEvent:
        """Let the job of a step end, and return the event."""
        name = f"{chain_name}--{step}--{run}"
        (number,) = [number for number, job in enumerate(self.all) if job.name == name]
        self.all[number] = replace(self.all[number], state=f"JOB_STATE_{state}", ended="2025-07-22T14:00:00.123456Z")
        return JobEvent(PROJECT, REGION, self.all[number].id, name, f"JOB_STATE_{state}")

    @property
    def steps(self) -> list[str]:
        """The steps of all jobs."""
        return [job.name.split("--")[1] for job in self.all]
