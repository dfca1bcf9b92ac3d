from __future__ import annotations

from datetime import datetime

import pytest

from sync_pipeline.smart_sync.backfill import Backfill
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.plans import moment

READINGS = Backfill(datetime(2025, 7, 1), datetime(2025, 8, 1))  # noqa: DTZ001 - readings have no zone
MOMENTS = Backfill(moment("2025-07-01"), moment("2025-08-01"))


@pytest.mark.parametrize(
    ("backfill", "zone", "bounds"),
    [
        pytest.param(MOMENTS, None, ("2025-07-01", "2025-08-01"), id="moments"),
        pytest.param(READINGS, "Europe/Berlin", ("2025-07-01", "2025-08-01"), id="readings of the wall clock"),
        pytest.param(MOMENTS, "Europe/Berlin", ("2025-07-01 02:00", "2025-08-01 02:00"), id="moments by a wall clock"),
    ],
)
def test_shown_by(backfill: Backfill, zone: str | None, bounds: tuple[str, str]) -> None:
    shown = backfill.shown_by(WallClock(zone) if zone else None)
    assert shown == (moment(bounds[0]), moment(bounds[1]))


def test_readings_need_a_wall_clock() -> None:
    assert not READINGS.has_zone
    with pytest.raises(ValueError, match="without a time zone"):
        READINGS.shown_by(None)
