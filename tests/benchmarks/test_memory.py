"""The measuring of `benchmarks.memory`; the measurement itself is `make bench-memory`."""

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory import MIB, Measured

HOLD_100_MIB = "import time; held = bytearray(100 * 2**20); time.sleep(0.3)"


def test_the_peak_of_one_process(tmp_path: Path) -> None:
    measured = memory.measure([sys.executable, "-c", f"{HOLD_100_MIB}; print('done')"], os.environ, tmp_path)
    assert (measured.exit_code, measured.output) == (0, "done\n")
    assert 100 * MIB < measured.peak < 200 * MIB


def test_the_peak_of_a_process_and_its_child(tmp_path: Path) -> None:
    run_child = f"subprocess.run([sys.executable, '-c', {HOLD_100_MIB!r}])"
    program = f"import subprocess, sys; held = bytearray(100 * 2**20); {run_child}"
    measured = memory.measure([sys.executable, "-c", program], os.environ, tmp_path)
    assert 200 * MIB < measured.peak < 350 * MIB


def test_a_peak_between_two_looks_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "SAMPLE_SECONDS", 0.5)
    program = "import time; time.sleep(0.7); bytearray(100 * 2**20); time.sleep(0.7)"
    assert memory.measure([sys.executable, "-c", program], os.environ, tmp_path).peak > 100 * MIB


def test_what_the_measuring_process_holds_does_not_count(tmp_path: Path) -> None:
    held = bytearray(300 * MIB)
    measured = memory.measure([sys.executable, "-c", "import time; time.sleep(0.3)"], os.environ, tmp_path)
    assert 0 < measured.peak < 100 * MIB
    assert len(held) == 300 * MIB


def test_a_failure_is_told(tmp_path: Path) -> None:
    measured = memory.measure([sys.executable, "-c", "raise SystemExit('no')"], os.environ, tmp_path)
    assert (measured.exit_code, measured.output) == (1, "no\n")


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        pytest.param(1, {1, 2, 3, 4}, id="all below"),
        pytest.param(3, {3, 4}, id="some"),
        pytest.param(9, {9}, id="none"),
    ],
)
def test_descendants(root: int, expected: set[int]) -> None:
    assert memory.descendants(root, {4: 3, 3: 2, 2: 1, 1: 0, 7: 6}) == expected


def test_the_result_has_the_ratio_of_the_peaks() -> None:
    small, large, idle = (Measured(0, peak * MIB, 1.25, "") for peak in (400, 500, 200))
    assert memory.result(small, large, idle, {"date": "today"}) == {
        "peak_mb_300k": 400.0,
        "peak_mb_3m": 500.0,
        "ratio": 1.25,
        "peak_mb_dry_run": 200.0,
        "seconds_300k": 1.2,
        "seconds_3m": 1.2,
        "date": "today",
    }


def test_the_recorded_result_reaches_the_aim() -> None:
    recorded = json.loads(memory.RESULTS.read_text(encoding="utf-8"))
    assert recorded["ratio"] <= memory.MOST_RATIO
    assert recorded["ratio"] == pytest.approx(recorded["peak_mb_3m"] / recorded["peak_mb_300k"], abs=0.001)
    assert {"date", "machine", "versions"} <= recorded.keys()
