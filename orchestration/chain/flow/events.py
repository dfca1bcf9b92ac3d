"""What the function receives: ends of jobs, from Eventarc or from a log sink, and requests to start or check chains."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# https://cloud.google.com/dataflow/docs/guides/job-notifications-using-eventarc
STATE_CHANGED = "google.cloud.dataflow.job.v1beta3.statusChanged"
# The message of a log sink, by Pub/Sub.
MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
# Ours, from Cloud Scheduler or a person.
START = "sync.chain.start"
CHECK = "sync.chain.check"


class EventError(Exception):
    """An event is not one that the function understands, and will not be when it is repeated."""


@dataclass(frozen=True)
class JobEvent:
    """Something happened to a job.

    Attributes:
        state: the job's state in the event; empty if it has none, as in a log entry.
    """

    project: str
    region: str
    job_id: str
    job_name: str
    state: str = ""


@dataclass(frozen=True)
class StartEvent:
    """A chain is to start. `run` is the id of the run, or empty."""

    chain: str
    run: str = ""


@dataclass(frozen=True)
class CheckEvent:
    """All runs are to be checked for steps that did not start."""


def parse_event(kind: str, data: Any) -> JobEvent | StartEvent | CheckEvent:
    """Return an event of its CloudEvents type and its data. Raises EventError."""
    try:
        match kind:
            case "google.cloud.dataflow.job.v1beta3.statusChanged":
                return _of_state(data)
            case "google.cloud.pubsub.topic.v1.messagePublished":
                return _of_log_entry(json.loads(base64.b64decode(data["message"]["data"], validate=True)))
            case "sync.chain.start":
                return StartEvent(_text(data, "chain"), str(data.get("run", "")))
            case "sync.chain.check":
                return CheckEvent()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise EventError(f"an event of the type {kind} is incomplete ({type(error).__name__}: {error})") from error
    raise EventError(f"the event type {kind} is not known")


def _of_state(data: Mapping[str, Any]) -> JobEvent:
    job = data.get("payload", data)
    return JobEvent(
        _text(job, "projectId"),
        _text(job, "location"),
        _text(job, "id"),
        _text(job, "name"),
        _text(job, "currentState"),
    )


def _of_log_entry(entry: Mapping[str, Any]) -> JobEvent:
    labels = entry["resource"]["labels"]
    return JobEvent(*(_text(labels, name) for name in ("project_id", "region", "job_id", "job_name")))


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not a text")
    return value
