"""The client of Dataflow's API, against a server that answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.chain.flow.dataflow import (
    EMULATOR_VARIABLE,
    Dataflow,
    DataflowError,
    DataflowUnavailableError,
    JobIsActiveError,
)
from tests import http_servers


@contextlib.contextmanager
def answering(*answers: tuple[int, Any], seen: list[str]) -> Iterator[str]:
    """A server that gives the answers in order, and notes the requests."""
    left = list(answers)

    def answer(method: str, path: str, _body: bytes) -> tuple[int, Any]:
        seen.append(f"{method} {path}")
        return left.pop(0)

    with http_servers.answering(answer) as url:
        yield url


def error(code: int, message: str = "no") -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": message}}


JOB = {"id": "1", "name": "a", "currentState": "JOB_STATE_DONE", "createTime": "t0", "currentStateTime": "t1"}


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        pytest.param(error(409), JobIsActiveError, "refused it .409.: no", id="active"),
        pytest.param(error(400, "bad\nparameter"), DataflowError, "refused it .400.: bad parameter", id="refused"),
        pytest.param(error(403), DataflowError, "403", id="denied"),
        pytest.param(error(503), DataflowUnavailableError, "503", id="unavailable"),
        pytest.param(error(429), DataflowUnavailableError, "429", id="quota"),
        pytest.param((502, b"<html>"), DataflowUnavailableError, "502.: <html>", id="proxy"),
        pytest.param((200, b"no JSON"), DataflowUnavailableError, "did not answer", id="cut off"),
    ],
)
def test_launch_is_sent_once(
    answer: tuple[int, Any], kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    with answering(answer, seen=seen) as url:
        monkeypatch.setenv(EMULATOR_VARIABLE, url)
        with pytest.raises(DataflowError, match=message) as caught:
            Dataflow("my-project", "us-central1").launch({"jobName": "a"})
    assert type(caught.value) is kind
    assert seen == ["POST /v1b3/projects/my-project/locations/us-central1/flexTemplates:launch"]


def test_reading_is_repeated_and_goes_on_with_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    pages = ({"jobs": [JOB], "nextPageToken": "x"}, {"jobs": [JOB | {"id": "2"}, JOB | {"name": "other"}]})
    with answering(error(503), (200, pages[0]), (200, pages[1]), error(404), seen=seen) as url:
        monkeypatch.setenv(EMULATOR_VARIABLE, url)
        api = Dataflow("my-project", "us-central1")
        assert [job.id for job in api.jobs(name="a")] == ["1", "2"]
        assert api.get("3") is None
    assert seen[-2].endswith("/jobs?filter=ALL&name=a&pageToken=x")


def test_dataflow_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(DataflowUnavailableError, match=r"did not answer \(ConnectionError\)"):
        Dataflow("my-project", "us-central1", patience=0).get("1")
