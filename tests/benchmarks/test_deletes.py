from __future__ import annotations

from typing import Any

import pytest

from benchmarks import deletes
from benchmarks.deletes import Way, misses, result
from benchmarks.memory import MIB

WAYS = {
    "deletes": Way(10.0, 400 * MIB, 1000),
    "python": Way(25.0, 900 * MIB, 4000),
    "reload": Way(95.0, 500 * MIB, 1e5),
}


def test_the_result_has_the_ratios() -> None:
    found = result(1_000_000, WAYS, Way(5.0, 390 * MIB, 100))  # type: ignore[arg-type]
    assert (found["reload_vs_deletes"], found["python_vs_deletes"], found["peak_vs_tenth"]) == (9.5, 2.5, 1.026)
    assert (found["reload_buffers_vs_deletes"], found["python_buffers_vs_deletes"]) == (100.0, 4.0)
    assert misses(found) == []


def test_aims_that_are_missed_are_told() -> None:
    document: dict[str, Any] = {"reload_vs_deletes": 0.5, "peak_vs_tenth": 2.0}
    assert misses(document) == [
        "a reload takes 0.5 times as long, the aim is at least 1",
        "ten times the keys take 2.0 times the memory, the aim is 1.3",
    ]


def test_a_table_has_more_rows_than_are_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        deletes.main(["--rows=9999"])
    assert "--rows must be at least 10,000" in capsys.readouterr().err
