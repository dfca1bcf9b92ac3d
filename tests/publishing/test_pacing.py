from __future__ import annotations

import pytest

from sync_pipeline.publishing import pacing


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each turn is waited for; the clock goes on by the waits alone."""
    seconds: list[float] = []
    monkeypatch.setattr(pacing.time, "monotonic", lambda: 1000.0 + sum(seconds))
    monkeypatch.setattr(pacing.time, "sleep", seconds.append)
    return seconds


def test_five_changes_begin_in_any_ten_seconds(waits: list[float]) -> None:
    pace = pacing.Pace(5, 10)
    for _ in range(12):
        pace.wait()
    assert waits == [0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10, 0]


def test_tables_have_a_pace_each(waits: list[float]) -> None:
    for number in range(12):
        pacing.wait_to_change(f"p.d.test_tables_have_a_pace_each_{number}")
    assert set(waits) == {0}
