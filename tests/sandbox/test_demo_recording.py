"""The recording of the demo: a picture that browsers read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sandbox.demo_recording import COLUMNS, ROWS, Line, main, paced, record, render

SVG = "{http://www.w3.org/2000/svg}"


def shown(svg: str) -> list[str]:
    group = ElementTree.fromstring(svg).find(f"{SVG}svg/{SVG}g")
    assert group is not None
    return ["".join(text.itertext()) for text in group]


def test_lines_are_shown_as_they_are() -> None:
    svg = render([Line(0.1, "a < b & \x1b[1;36mc\x1b[0m │"), Line(0.2, ""), Line(0.3, "x" * 200)], "make demo")
    assert shown(svg) == ["a < b & c │", "", "x" * (COLUMNS - 1) + "…"]
    assert re.search(r'<tspan x="[\d.]+" textLength="[\d.]+" font-weight="bold" fill="#\w{6}">c</tspan>', svg)


def test_the_last_line_is_at_the_bottom_at_the_end() -> None:
    svg = render([Line(float(number), str(number)) for number in range(ROWS + 5)], "make demo")
    assert "100% { transform: translateY(-90px) }" in svg


def test_pauses_are_shortened() -> None:
    assert [line.seconds for line in paced([Line(0, "a"), Line(0, "b"), Line(60, "c")])] == pytest.approx(
        [0.06, 0.12, 0.92]
    )


def test_what_a_command_prints_is_recorded() -> None:
    lines = record([sys.executable, "-c", "print('one'); print('two')"])
    assert [line.text for line in lines] == ["one", "two"]


def test_a_demo_that_fails_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert main([str(tmp_path / "demo.svg")]) == 1
    assert capsys.readouterr().err == "the demo ended with exit code 1: nothing is written\n"
    assert not list(tmp_path.iterdir())
