from __future__ import annotations

import logging
import time

import pytest

from sync_pipeline.output.run_log import fields, on_screen
from sync_pipeline.output.screen import Screen
from tests.on_terminal import visible
from tests.output.test_terminal import Tty


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Tty:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Tty()


def record(message: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    line = logging.LogRecord("sync_pipeline.x", level, "file.py", 1, message, (), None)
    line.__dict__.update(extra)
    return line


def test_a_person_sees_what_concerns_them(stream: Tty) -> None:
    screen = Screen(stream, lambda: "")
    screen.handle(record("sync report: merged: run_id=1", **fields({"status": "published"}, "merged")))
    screen.handle(record("reading split 1 of 1", **on_screen("")))
    screen.handle(record("late\x1b[2J", logging.WARNING))
    screen.handle(record("lost", logging.ERROR))
    assert stream.getvalue() == "merged\n\x1b[33mwarning: late\\x1b[2J\x1b[0m\n\x1b[31merror: lost\x1b[0m\n"


def test_long_lines_are_wrapped(stream: Tty) -> None:
    Screen(stream, lambda: "").handle(record("word " * 30))
    assert [len(line) <= 80 for line in stream.getvalue().splitlines()] == [True, True]


def test_the_live_line_stays_below_the_others_and_goes(stream: Tty) -> None:
    screen = Screen(stream, lambda: f"reading {'9' * 200}")
    with screen.live():
        screen.handle(record("first"))
        screen.handle(record("second"))
        assert stream.getvalue().endswith(f"second\n\r\x1b[K\x1b[2mreading {'9' * 70}…\x1b[0m")
    assert visible(stream.getvalue()) == ["first", "second"]
    screen.handle(record("third"))
    assert stream.getvalue().endswith("\r\x1b[Kthird\n")


def test_the_live_line_moves_by_itself(stream: Tty) -> None:
    shown = iter(range(1000))
    with Screen(stream, lambda: str(next(shown))).live():
        deadline = time.monotonic() + 10
        while stream.getvalue().count("\r\x1b[K") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert stream.getvalue().count("\r\x1b[K") >= 2


def test_a_run_that_becomes_another_program_leaves_no_line(stream: Tty) -> None:
    screen = Screen(stream, lambda: "reading")
    with screen.live():
        screen.handle(record("first"))
        screen.stop()
        screen.handle(record("told to end"))
        assert visible(stream.getvalue()) == ["first", "told to end"]
