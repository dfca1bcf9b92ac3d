"""Whether a job is healthy: its state, its errors and its counters, as Dataflow's API tells them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .manifests import RUNNING, Validation

# States in which a job stays.
ENDED = frozenset(
    {"JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_UPDATED", "JOB_STATE_DRAINED"}
)
# The label by which a DAG run finds its job again.
RUN_LABEL = "airflow_run"
_MOST_ERRORS, _MOST_CHARACTERS = 5, 500


def run_label(dag_id: str, run_id: str, part: str) -> str:
    """Return the label of the job that a part of a DAG run launches. Labels take neither capitals nor colons."""
    return hashlib.sha256(f"{dag_id}/{run_id}/{part}".encode()).hexdigest()[:32]


def awaited_states(validation: Validation) -> set[str]:
    """Return the states in which the validation can be decided."""
    return {*ENDED, "JOB_STATE_RUNNING"} if validation.healthy_when == RUNNING else set(ENDED)


def problems_of_job(
    job: Mapping[str, Any],
    messages: Iterable[Mapping[str, Any]],
    metrics: Iterable[Mapping[str, Any]],
    validation: Validation,
) -> Iterator[str]:
    """Yield a sentence for each reason why the job is not healthy.

    Args:
        job: of `projects.locations.jobs.get`.
        messages: of `projects.locations.jobs.messages.list`.
        metrics: of `projects.locations.jobs.getMetrics`.
        validation: what is asked of the job.
    """
    state = job.get("currentState", "JOB_STATE_UNKNOWN")
    healthy = {"JOB_STATE_DONE", "JOB_STATE_RUNNING"} if validation.healthy_when == RUNNING else {"JOB_STATE_DONE"}
    if state not in healthy:
        errors = [
            str(message.get("messageText", ""))[:_MOST_CHARACTERS]
            for message in messages
            if message.get("messageImportance") == "JOB_MESSAGE_ERROR"
        ]
        yield "\n".join([f"job {job['name']} ({job['id']}) ended in {state}", *errors[-_MOST_ERRORS:]])
        # The counters of a job that failed say nothing more.
        return
    counted = counters_of(metrics)
    for name, (least, most) in validation.counters.items():
        value = counted.get(name, 0)
        if least is not None and value < least:
            yield f"job {job['name']} ({job['id']}): counter {name} is {value}, validation asks for at least {least}"
        if most is not None and value > most:
            yield f"job {job['name']} ({job['id']}): counter {name} is {value}, validation allows at most {most}"


def counters_of(metrics: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the committed values of the job's own counters, summed over its steps."""
    counted: dict[str, int] = {}
    for metric in metrics:
        name = metric.get("name", {})
        if name.get("origin") == "user" and "tentative" not in name.get("context", {}) and "scalar" in metric:
            counted[name["name"]] = counted.get(name["name"], 0) + int(metric["scalar"])
    return counted


def jobs_of_name(jobs: Iterable[Mapping[str, Any]], job_name: str) -> list[str]:
    """Return the ids of the jobs of exactly this name that have not ended."""
    return [str(job["id"]) for job in jobs if job.get("name") == job_name and job.get("currentState") not in ENDED]
