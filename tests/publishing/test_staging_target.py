from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SourceQueryError
from sync_pipeline.publishing.staging_target import StagingTarget, check_bounds, partitions_of, rows_target
from sync_pipeline.smart_sync.bounds import TimestampBounds
from tests.plans import INTERVAL, moment, plan


def column(type_: pa.DataType, *values: Any, name: str = "at") -> pa.Table:
    return pa.table({name: pa.array(values, type_)})


MOMENTS = [
    datetime(2024, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    datetime(2025, 1, 1),  # noqa: DTZ001
    datetime(2025, 1, 1, 0, 30),  # noqa: DTZ001
    datetime(2025, 1, 2, 1),  # noqa: DTZ001
    None,
]
FLOORS = {
    "HOUR": {"2024-12-31T23:00:00", "2025-01-01T00:00:00", "2025-01-02T01:00:00"},
    "DAY": {"2024-12-31T00:00:00", "2025-01-01T00:00:00", "2025-01-02T00:00:00"},
    "MONTH": {"2024-12-01T00:00:00", "2025-01-01T00:00:00"},
    "YEAR": {"2024-01-01T00:00:00", "2025-01-01T00:00:00"},
}


@pytest.mark.parametrize("granularity", FLOORS)
def test_partitions_of_datetimes(granularity: str) -> None:
    rows = column(pa.timestamp("us"), *MOMENTS)
    assert partitions_of(rows, TableLayout("at", granularity)) == FLOORS[granularity] | {None}


@pytest.mark.parametrize("granularity", FLOORS)
def test_partitions_of_timestamps_are_cut_in_utc(granularity: str) -> None:
    moments = [each and each.replace(tzinfo=UTC) for each in MOMENTS]
    expected = {f"{floor}+00:00" for floor in FLOORS[granularity]} | {None}
    assert partitions_of(column(pa.timestamp("us", "UTC"), *moments), TableLayout("at", granularity)) == expected


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("DAY", {"0001-01-01", "2024-12-31", "2025-01-01", "9999-12-31"}),
        ("MONTH", {"0001-01-01", "2024-12-01", "2025-01-01", "9999-12-01"}),
        ("YEAR", {"0001-01-01", "2024-01-01", "2025-01-01", "9999-01-01"}),
    ],
)
def test_partitions_of_dates(granularity: str, expected: set[str]) -> None:
    rows = column(pa.date32(), date.min, date(2024, 12, 31), date(2025, 1, 1), date.max)
    assert partitions_of(rows, TableLayout("at", granularity)) == expected


def test_partitions_of_nothing_but_null() -> None:
    assert partitions_of(column(pa.date32(), None, None), TableLayout("at")) == {None}


def test_partitions_of_a_table_without_any() -> None:
    assert partitions_of(column(pa.date32(), date.min), TableLayout(clustering_fields=("at",))) == frozenset()


def test_partitions_by_a_column_spelt_otherwise() -> None:
    assert partitions_of(column(pa.date32(), date.min, name="At"), TableLayout("aT")) == {"0001-01-01"}


def test_partitions_by_a_column_that_is_not_loaded() -> None:
    assert partitions_of(column(pa.date32(), date.min), TableLayout("other")) == {None}


AFTER, UNTIL = moment("2025-07-22 13:00"), moment("2025-07-22 15:00")
APPENDED, MERGED = TimestampBounds("at", AFTER, UNTIL), TimestampBounds("at", None, UNTIL)
FITS, WRONG = True, False


def test_check_bounds_of_everything() -> None:
    bounds = TimestampBounds("at", None, UNTIL, refuses_null=True)
    check_bounds(column(pa.timestamp("us", "UTC"), moment("0001-01-01"), UNTIL), bounds)
    with pytest.raises(SourceQueryError):
        check_bounds(column(pa.timestamp("us", "UTC"), UNTIL, None), bounds)


@pytest.mark.parametrize("type_", [pa.timestamp("us", "UTC"), pa.timestamp("us")], ids=["TIMESTAMP", "DATETIME"])
@pytest.mark.parametrize(
    ("texts", "appended", "merged"),
    [
        pytest.param(["2025-07-22 13:00:00.000001", "2025-07-22 15:00"], FITS, FITS, id="both ends"),
        pytest.param(["2025-07-22 13:00"], WRONG, FITS, id="the start itself"),
        pytest.param(["2025-07-22 14:00", "2025-07-01 00:00"], WRONG, FITS, id="before"),
        pytest.param(["2025-07-22 15:00:00.000001"], WRONG, WRONG, id="after"),
        pytest.param(["2025-07-22 14:00", None], WRONG, FITS, id="NULL"),
        pytest.param([None], WRONG, FITS, id="nothing but NULL"),
        pytest.param([], FITS, FITS, id="no rows"),
    ],
)
def test_check_bounds(type_: pa.DataType, texts: list[str | None], appended: bool, merged: bool) -> None:
    values = [None if text is None else moment(text).replace(tzinfo=UTC if type_.tz else None) for text in texts]
    for bounds, fits in ((APPENDED, appended), (MERGED, merged)):
        if fits:
            check_bounds(column(type_, *values), bounds)
        else:
            with pytest.raises(SourceQueryError) as caught:
                check_bounds(column(type_, *values), bounds)
            assert str(caught.value) == (
                "the query returns rows whose at is NULL or outside the interval: it must select at > "
                "'{start_timestamp}' AND at <= '{end_timestamp}' on the same column that it returns"
            )


def test_rows_target() -> None:
    running = plan(interval=INTERVAL, layout=TableLayout("updated_at"))
    assert rows_target(running) == StagingTarget(
        running.staging_folder,
        running.schema,
        TableLayout("updated_at"),
        TimestampBounds("updated_at", INTERVAL.start, INTERVAL.end),
    )
