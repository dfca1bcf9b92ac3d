"""Whether a job is healthy, by what Dataflow's API tells."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.composer.sync_composer.health import awaited_states, counters_of, jobs_of_name, problems_of_job
from orchestration.composer.sync_composer.manifests import Validation


def job(state: str) -> dict[str, Any]:
    return {"name": "orders-sync", "id": "7", "currentState": f"JOB_STATE_{state}"}


def metric(name: str, value: int, origin: str = "user", **context: str) -> dict[str, Any]:
    return {"name": {"origin": origin, "name": name, "context": context}, "scalar": value}


METRICS = [
    metric("rows_loaded", 3, step="s1"),
    metric("rows_loaded", 4, step="s2"),
    metric("rows_loaded", 9, step="s2", tentative="true"),
    metric("rows_loaded", 9, origin="dataflow/v1b3"),
]


def test_counters_are_the_committed_ones_of_all_steps() -> None:
    assert counters_of(METRICS) == {"rows_loaded": 7}


@pytest.mark.parametrize(
    ("state", "validation", "expected"),
    [
        pytest.param("DONE", Validation(), [], id="done"),
        pytest.param("RUNNING", Validation(healthy_when="running"), [], id="running is enough"),
        pytest.param("RUNNING", Validation(), ["job orders-sync (7) ended in JOB_STATE_RUNNING"], id="timed out"),
        pytest.param("CANCELLED", Validation(), ["job orders-sync (7) ended in JOB_STATE_CANCELLED"], id="cancelled"),
        pytest.param(
            "FAILED",
            Validation(healthy_when="running", counters={"rows_loaded": (9, None)}),
            ["job orders-sync (7) ended in JOB_STATE_FAILED"],
            id="failed",
        ),
        pytest.param(
            "DONE",
            Validation(counters={"rows_loaded": (8, None), "dead_letters": (None, 0)}),
            ["job orders-sync (7): counter rows_loaded is 7, validation asks for at least 8"],
            id="too few",
        ),
        pytest.param(
            "DONE",
            Validation(counters={"rows_loaded": (None, 6), "absent": (1, None)}),
            [
                "job orders-sync (7): counter rows_loaded is 7, validation allows at most 6",
                "job orders-sync (7): counter absent is 0, validation asks for at least 1",
            ],
            id="too many, and absent",
        ),
    ],
)
def test_what_is_not_healthy(state: str, validation: Validation, expected: list[str]) -> None:
    assert list(problems_of_job(job(state), [], METRICS, validation)) == expected


def test_a_job_that_fails_is_told_with_its_last_errors() -> None:
    messages = [{"messageText": f"error {n}", "messageImportance": "JOB_MESSAGE_ERROR"} for n in range(9)]
    messages.append({"messageText": "Worker pool stopped.", "messageImportance": "JOB_MESSAGE_BASIC"})
    (told,) = problems_of_job(job("FAILED"), messages, [], Validation())
    assert told.split("\n")[1:] == ["error 4", "error 5", "error 6", "error 7", "error 8"]


def test_the_states_to_wait_for() -> None:
    assert "JOB_STATE_RUNNING" in awaited_states(Validation(healthy_when="running"))
    assert "JOB_STATE_RUNNING" not in awaited_states(Validation())


def test_a_name_is_not_a_prefix() -> None:
    others = [{"name": "orders-sync-2", "id": "8", "currentState": "JOB_STATE_RUNNING"}, job("DONE")]
    assert jobs_of_name([*others, {**job("RUNNING"), "id": "9"}], "orders-sync") == ["9"]
