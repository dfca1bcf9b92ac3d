from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.publishing.backfill import changed_meanwhile, replace_interval_sql
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin
from tests.plans import INTERVAL, moment, plan
from tests.publishing.expected_sql import INSERT, THREE_STAGED, USERS_TABLE

BACKFILL = replace(INTERVAL, origin=StartOrigin.BACKFILL)
BEFORE_LATEST = replace(BACKFILL, latest=moment("2025-07-22 17:00"))
DELETE = (
    f"DELETE FROM {USERS_TABLE} AS t\nWHERE t.`updated_at` > TIMESTAMP '2025-07-22 13:00:00.000000+00' "
    "AND t.`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00'"
)


def test_the_rows_of_the_interval_are_deleted_and_inserted_in_one_transaction() -> None:
    transaction = ["BEGIN TRANSACTION", DELETE, INSERT, "COMMIT TRANSACTION"]
    assert replace_interval_sql(plan(interval=BACKFILL), 3).split(";\n") == [THREE_STAGED, *transaction]


def test_before_the_latest_row_a_later_row_has_to_be_there() -> None:
    table = plan(interval=BEFORE_LATEST)
    _, begin, check, delete, *_ = replace_interval_sql(table, 3).split(";\n")
    assert (begin, delete) == ("BEGIN TRANSACTION", DELETE)
    assert check == (
        f"ASSERT EXISTS (SELECT 1 FROM {USERS_TABLE} AS t WHERE t.`updated_at` > TIMESTAMP '2025-07-22 "
        "15:00:00.000000+00' AND t.`updated_at` <= TIMESTAMP '2025-07-22 17:00:00.000000+00') AS "
        f'"sync:ConcurrentSyncError: {changed_meanwhile(table)} :sync"'
    )


@pytest.mark.parametrize(
    ("required", "added"),
    [
        pytest.param("updated_at", "", id="the timestamp column"),
        pytest.param("day", " AND (t.`day` IS NOT NULL OR t.`day` IS NULL)", id="another column"),
    ],
)
def test_the_filter_that_the_table_requires(required: str, added: str) -> None:
    table = plan(interval=BACKFILL, required_filter_column=required)
    assert f"{DELETE}{added};\n" in replace_interval_sql(table, 3)


def test_a_datetime_is_compared_with_datetimes() -> None:
    schema = Schema((Field("id", "INT64"), Field("updated_at", "DATETIME")))
    assert "t.`updated_at` > DATETIME '2025-07-22 13:00:00.000000' AND" in replace_interval_sql(
        plan(schema=schema, interval=BACKFILL), 3
    )
