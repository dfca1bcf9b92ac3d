from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.latest_timestamp import Question
from sync_pipeline.schema import Field, Schema

NOW = datetime(2025, 7, 24, 12, 0, 0, 1, tzinfo=UTC)
LATEST = (
    "SELECT MAX(IF(t.`a` <= TIMESTAMP '2025-07-24 12:00:00.000001+00', t.`a`, NULL)) AS latest, MAX(t.`a`) AS last\n"
    "FROM `my-project.d.t` AS t"
)
LATEST_READING = (
    "SELECT TIMESTAMP(MAX(IF(t.`a` <= DATETIME '2025-07-24 12:00:00.000001', t.`a`, NULL))) AS latest, "
    "TIMESTAMP(MAX(t.`a`)) AS last\nFROM `my-project.d.t` AS t"
)


@pytest.mark.parametrize(
    ("type_name", "demanded", "since", "expected"),
    [
        pytest.param("TIMESTAMP", None, None, LATEST, id="any query"),
        pytest.param(
            "TIMESTAMP", "b", None, f"{LATEST}\nWHERE (t.`b` IS NOT NULL OR t.`b` IS NULL)", id="required filter"
        ),
        pytest.param(
            "TIMESTAMP",
            "a",
            datetime(2025, 7, 22, tzinfo=UTC),
            f"{LATEST}\nWHERE t.`a` >= TIMESTAMP '2025-07-22 00:00:00.000000+00'",
            id="newest partitions",
        ),
        pytest.param(
            "DATETIME",
            "a",
            datetime(2025, 7, 22, tzinfo=UTC),
            f"{LATEST_READING}\nWHERE t.`a` >= DATETIME '2025-07-22 00:00:00.000000'",
            id="newest partitions of a wall clock",
        ),
    ],
)
def test_sql(type_name: str, demanded: str | None, since: datetime | None, expected: str) -> None:
    table = ExistingTable(Schema((Field("a", type_name),)), TableLayout("b"), demanded)
    assert Question("my-project.d.t", "A", table, NOW).sql(since) == expected


def test_a_column_of_another_type_is_refused() -> None:
    table = ExistingTable(Schema((Field("a", "DATE"),)), TableLayout())
    with pytest.raises(SchemaError, match=r"a is DATE in p\.d\.t: Smart Sync needs it as TIMESTAMP or DATETIME"):
        _ = Question("p.d.t", "a", table, NOW).field
