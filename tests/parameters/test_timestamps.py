from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.parameters.timestamps import parse_timestamp


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        pytest.param("2025-07-01T00:00:00Z", datetime(2025, 7, 1, tzinfo=UTC), id="UTC"),
        pytest.param("2025-07-01 02:30:00.5+02:00", datetime(2025, 7, 1, 0, 30, 0, 500_000, tzinfo=UTC), id="offset"),
        pytest.param("2025-07-01T02:30", datetime(2025, 7, 1, 2, 30), id="wall clock"),  # noqa: DTZ001 - it has none
    ],
)
def test_parse_timestamp(text: str, timestamp: datetime) -> None:
    parsed = parse_timestamp(text)
    assert (parsed, parsed.tzinfo) == (timestamp, timestamp.tzinfo)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("2025-07-01", "write date and time, such as", id="date alone"),
        pytest.param("yesterday", "write date and time, such as", id="words"),
        pytest.param("2025-07-01T00:00:00.1234567Z", "write date and time, such as", id="nanoseconds"),
        pytest.param("2025-02-30T00:00:00Z", "there is no such date or time", id="no such day"),
        pytest.param("0001-01-01T00:00:00+14:00", "there is no such date or time", id="before the first year"),
    ],
)
def test_what_is_no_timestamp(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_timestamp(text)
