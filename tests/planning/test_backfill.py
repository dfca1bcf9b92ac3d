from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.backfill import backfill_interval, backfill_notes
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.smart_sync.backfill import Backfill
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.smart_sync.wall_clock import WallClock
from sync_pipeline.sources.source import SourceClock
from tests.plans import INTERVAL, USERS, moment, plan

JULY = Backfill(moment("2025-07-01"), moment("2025-08-01"))
READINGS = Backfill(datetime(2025, 7, 1), datetime(2025, 8, 1))  # noqa: DTZ001 - readings have no zone
CLOCK = SourceClock(moment("2025-09-01"), moment("2025-08-31"))
BERLIN = replace(CLOCK, wall_clock=WallClock("Europe/Berlin"))
LATEST = moment("2025-08-15")
TABLE = ExistingTable(USERS, TableLayout())


def by_hour(column: str) -> ExistingTable:
    return ExistingTable(USERS, TableLayout(column, "HOUR"))


@pytest.mark.parametrize(
    ("backfill", "clock", "latest"),
    [
        pytest.param(JULY, CLOCK, LATEST, id="among the rows"),
        pytest.param(JULY, CLOCK, JULY.start, id="from the latest row on"),
        pytest.param(READINGS, BERLIN, LATEST, id="readings of a wall clock"),
        pytest.param(JULY, replace(CLOCK, upper_bound=JULY.end), LATEST, id="up to the source's upper bound"),
    ],
)
def test_the_interval(backfill: Backfill, clock: SourceClock, latest: datetime) -> None:
    interval = backfill_interval(backfill, "updated_at", clock, "p.d.t", TABLE, latest)
    assert interval == SyncInterval(JULY.start, JULY.end, StartOrigin.BACKFILL, latest, clock.wall_clock)
    assert interval.after == JULY.start


@pytest.mark.parametrize(
    ("backfill", "clock", "table", "latest", "problem"),
    [
        pytest.param(
            READINGS,
            CLOCK,
            TABLE,
            LATEST,
            "interval_start and interval_end have no time zone, but the timestamps of updated_at have one: write, for "
            "example, 2025-07-01T00:00:00Z",
            id="readings without a wall clock",
        ),
        pytest.param(
            JULY,
            replace(CLOCK, upper_bound=moment("2025-07-31 12:00")),
            TABLE,
            LATEST,
            "interval_end is 2025-08-01 00:00:00.000000+00, and the source may still get rows up to then: give at most "
            "2025-07-31 12:00:00.000000+00",
            id="an end that is not safe",
        ),
        pytest.param(
            Backfill(moment("2024-10-27 00:45"), moment("2024-10-27 01:15")),
            BERLIN,
            TABLE,
            LATEST,
            "interval_start and interval_end are 2024-10-27 02:45:00.000000 and 2024-10-27 02:15:00.000000 by the wall "
            "clock of Europe/Berlin",
            id="the hour that a wall clock shows twice",
        ),
        pytest.param(
            JULY,
            CLOCK,
            TABLE,
            None,
            "interval_start is given, but p.d.t has no timestamp in updated_at: omit interval_start and interval_end, "
            "so that Smart Sync loads the table",
            id="empty destination",
        ),
        pytest.param(
            JULY,
            CLOCK,
            TABLE,
            moment("2025-06-30"),
            "interval_start is 2025-07-01 00:00:00.000000+00, but the latest updated_at in p.d.t is 2025-06-30 "
            "00:00:00.000000+00: no run would load the rows in between; give at most 2025-06-30 00:00:00.000000+00, or "
            "omit interval_start and interval_end",
            id="a gap after the latest row",
        ),
        pytest.param(
            Backfill(moment("2025-01-01"), moment("2025-08-01")),
            CLOCK,
            by_hour("Updated_At"),
            LATEST,
            "interval_start and interval_end are more than 4,000 partitions of updated_at by HOUR apart, BigQuery's "
            "limit for one job: give at most 166 days",
            id="more partitions than a job may change",
        ),
    ],
)
def test_what_is_refused(
    backfill: Backfill, clock: SourceClock, table: ExistingTable, latest: datetime | None, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        backfill_interval(backfill, "updated_at", clock, "p.d.t", table, latest)
    assert caught.value.problems == (problem,)


def test_partitions_of_another_column_say_nothing_about_the_interval() -> None:
    long = Backfill(moment("2025-01-01"), moment("2025-08-01"))
    assert backfill_interval(long, "updated_at", CLOCK, "p.d.t", by_hour("created_at"), LATEST).start == long.start


def test_the_plan_tells_what_becomes_of_rows_that_the_source_has_no_longer() -> None:
    interval = replace(INTERVAL, origin=StartOrigin.BACKFILL)
    assert list(backfill_notes(plan(interval=INTERVAL))) == []
    (appended,) = backfill_notes(plan(interval=interval))
    assert "deletes the destination's rows of the interval" in appended
    (merged,) = backfill_notes(plan({"primary_key": "id"}, interval=interval, write_mode=WriteMode.MERGE))
    assert "keeps rows that the source has no longer in the interval" in merged
    _, columns = backfill_notes(plan(interval=interval, loads_all_columns=False))
    assert columns == "columns of the destination that the run does not load become NULL in the rows of the interval"
