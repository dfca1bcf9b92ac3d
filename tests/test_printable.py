"""What others wrote is shown, and obeyed by no terminal."""

from __future__ import annotations

import logging

import pytest

from sync_pipeline import command
from sync_pipeline.errors import SourceQueryError
from sync_pipeline.output.run_log import _LineFormatter
from sync_pipeline.planning.plan_text import table_page
from sync_pipeline.printable import named, on_one_line, printable
from tests.plans import plan

HOSTILE = "\x1b[2J\x9b31m\r\x00\x7f\u202edoc\u2066\u2028\ud800"
SHOWN = r"\x1b[2J\x9b31m\r\x00\x7f\u202edoc\u2066\u2028\ud800"


def test_printable() -> None:
    assert printable(f"Grö\n{HOSTILE} \N{GRINNING FACE}") == f"Grö\n{SHOWN} \N{GRINNING FACE}"
    assert on_one_line("a\nb\tc") == r"a\nb\tc"


@pytest.mark.parametrize(
    ("logger", "shown"),
    [("sync_pipeline.publishing.publish", rf"INFO a\n{SHOWN}"), ("google.auth", f"INFO a\n{SHOWN}")],
)
def test_a_line_of_the_log(logger: str, shown: str) -> None:
    record = logging.LogRecord(logger, logging.INFO, "file.py", 1, "a\n%s", (HOSTILE,), None)
    assert _LineFormatter("%(levelname)s %(message)s").format(record) == shown


def test_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise SourceQueryError(f"first {HOSTILE}\nsecond")

    monkeypatch.setattr(command, "parse_command_line", refuse)
    assert command.main([]) == 2
    assert capsys.readouterr().err == f"error: first {SHOWN}\nerror: second\n"


def test_a_plan_has_a_line_for_each_note_and_risk() -> None:
    page = table_page(plan(notes=("a\nRisks",), risks=("b\n    none seen",)))
    assert r"    - a\nRisks" in page.split("\n")
    assert r"    - b\n    none seen" in page.split("\n")


@pytest.mark.parametrize(
    ("count", "text"), [(1, "n0"), (3, "n0, n1, n2"), (4, "n0, n1, n2 and 1 more"), (1004, "n0, n1, n2 and 1,001 more")]
)
def test_names(count: int, text: str) -> None:
    assert named([f"n{number}" for number in range(count)], 3) == text
