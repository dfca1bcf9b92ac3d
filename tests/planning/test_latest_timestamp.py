from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.latest_timestamp import latest_timestamp_sql
from sync_pipeline.schema import Field, Schema

LATEST = "SELECT MAX(IF(t.`a` <= @now, t.`a`, NULL)) AS latest, MAX(t.`a`) AS last\nFROM `my-project.d.t` AS t"


@pytest.mark.parametrize(
    ("demanded", "since", "expected"),
    [
        pytest.param(None, None, LATEST, id="any query"),
        pytest.param(
            "b", None, f"{LATEST}\nWHERE (t.`b` IS NOT NULL OR t.`b` IS NULL)", id="partition filter required"
        ),
        pytest.param(
            "a",
            datetime(2025, 7, 22, tzinfo=UTC),
            f"{LATEST}\nWHERE t.`a` >= TIMESTAMP '2025-07-22 00:00:00.000000+00:00'",
            id="newest partitions",
        ),
        pytest.param(
            "a",
            datetime(2025, 7, 22, tzinfo=UTC).replace(tzinfo=None),
            f"{LATEST}\nWHERE t.`a` >= DATETIME '2025-07-22 00:00:00.000000'",
            id="newest partitions of a wall clock",
        ),
    ],
)
def test_latest_timestamp_sql(demanded: str | None, since: datetime | None, expected: str) -> None:
    table = ExistingTable(Schema((Field("a", "TIMESTAMP"),)), TableLayout("b"), demanded)
    assert latest_timestamp_sql("my-project.d.t", "a", table, since) == expected
