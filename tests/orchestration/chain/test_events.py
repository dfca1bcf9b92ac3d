from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from orchestration.chain.flow.events import (
    CHECK,
    MESSAGE_PUBLISHED,
    START,
    STATE_CHANGED,
    CheckEvent,
    EventError,
    JobEvent,
    StartEvent,
    parse_event,
)

JOB_ID = "2020-12-03_19_00_51-13252210714040849818"
# As Dataflow sends it through Eventarc.
STATE = {
    "payload": {
        "location": "us-central1",
        "currentStateTime": "2024-03-13T20:30:57.106560Z",
        "name": "my-job",
        "labels": {"team": "data"},
        "type": "JOB_TYPE_BATCH",
        "currentState": "JOB_STATE_DONE",
        "projectId": "my-project",
        "id": JOB_ID,
    },
    "@type": "type.googleapis.com/google.events.cloud.dataflow.v1beta3.JobEventData",
}
# As Cloud Logging writes it to a sink.
ENTRY = {
    "textPayload": "Worker pool stopped.",
    "insertId": "hjgykjh7",
    "resource": {
        "type": "dataflow_step",
        "labels": {
            "job_id": JOB_ID,
            "step_id": "",
            "job_name": "my-job",
            "project_id": "my-project",
            "region": "us-central1",
        },
    },
    "timestamp": "2020-12-04T03:08:00.912895609Z",
    "severity": "INFO",
}


def message(entry: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(entry).encode()).decode()
    return {"message": {"data": data, "messageId": "1"}, "subscription": "projects/p/subscriptions/s"}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (STATE_CHANGED, STATE, JobEvent("my-project", "us-central1", JOB_ID, "my-job", "JOB_STATE_DONE")),
        (STATE_CHANGED, STATE["payload"], JobEvent("my-project", "us-central1", JOB_ID, "my-job", "JOB_STATE_DONE")),
        (MESSAGE_PUBLISHED, message(ENTRY), JobEvent("my-project", "us-central1", JOB_ID, "my-job")),
        (START, {"chain": "nightly"}, StartEvent("nightly")),
        (START, {"chain": "nightly", "run": "20250722t130000"}, StartEvent("nightly", "20250722t130000")),
        (CHECK, None, CheckEvent()),
    ],
    ids=["state", "state without a wrapping", "log entry", "start", "start of a run", "check"],
)
def test_event_is_understood(kind: str, data: Any, expected: object) -> None:
    assert parse_event(kind, data) == expected


@pytest.mark.parametrize(
    ("kind", "data", "problem"),
    [
        (STATE_CHANGED, {}, "an event of the type google.cloud.dataflow.job.v1beta3.statusChanged is incomplete"),
        (STATE_CHANGED, {"payload": {**STATE["payload"], "id": 3}}, "id is not a text"),  # type: ignore[dict-item]
        (STATE_CHANGED, None, "is incomplete"),
        (MESSAGE_PUBLISHED, {"message": {"data": "%"}}, "is incomplete"),
        (MESSAGE_PUBLISHED, message("text"), "is incomplete"),
        (MESSAGE_PUBLISHED, message({"resource": {}}), "is incomplete"),
        (START, {}, "is incomplete"),
        ("google.cloud.storage.object.v1.finalized", {}, "is not known"),
    ],
)
def test_event_that_is_none_of_ours(kind: str, data: Any, problem: str) -> None:
    with pytest.raises(EventError, match=problem):
        parse_event(kind, data)
