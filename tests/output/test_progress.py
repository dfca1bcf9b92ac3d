from __future__ import annotations

import pytest

from sync_pipeline.output import progress
from sync_pipeline.output.progress import PLANNING, READING, Progress, clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: its only element."""
    moment = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def test_the_line_of_a_run(now: list[float]) -> None:
    run = Progress()
    assert run.line() == ""
    run.begin(PLANNING)
    now[0] += 3
    assert run.line() == "planning … 0:03"
    run.begin(READING, 10_000)
    assert run.line() == "reading … 0:00"
    now[0] += 2
    run.add(1_500)
    run.add(1_000)
    assert run.line() == "reading  2,500 of about 10,000 rows  25 %  1,250 rows/s  0:06 left"


def test_an_estimate_that_is_exceeded_is_not_shown(now: list[float]) -> None:
    run = Progress()
    run.begin(READING, 10)
    now[0] += 65
    run.add(650)
    assert run.line() == "reading  650 rows  10 rows/s  1:05"


def test_the_keys_are_counted_by_themselves(now: list[float]) -> None:
    run = Progress()
    run.begin(READING, 10)
    run.add(10)
    now[0] += 9
    run.add(5, "keys")
    now[0] += 1
    run.add(5, "keys")
    assert run.line() == "reading  10 keys  10 keys/s  0:01"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
