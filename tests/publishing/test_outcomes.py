from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sync_pipeline.errors import RecordError
from sync_pipeline.output.run_output import ErrorOutput
from sync_pipeline.publishing.outcomes import Outcomes
from tests.publishing.test_report import REPORT


def test_each_table_has_its_last_outcome(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "outcomes")
    assert outcomes.read() == {}
    outcomes.add(0, RecordError("first"))
    outcomes.add(1, RecordError("the value does not fit\nmore [while running 'Read']"))
    outcomes.add(0, replace(REPORT, rows_deleted=3))
    assert outcomes.read() == {
        0: replace(REPORT, rows_deleted=3),
        1: ErrorOutput(kind="RecordError", message="the value does not fit\nmore"),
    }


def test_the_text_of_an_unexpected_error_is_left_out(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "outcomes")
    outcomes.add(0, ValueError("the value of a row"))
    error = outcomes.read()[0]
    assert isinstance(error, ErrorOutput)
    assert error.kind == "ValueError"
    assert "row" not in error.message
