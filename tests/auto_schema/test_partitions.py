from __future__ import annotations

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, check_partitions, partition_groups
from sync_pipeline.errors import SchemaError
from sync_pipeline.schema import Field, Schema

DATES = Schema(
    (
        Field("day", "DATE"),
        Field("local", "DATETIME"),
        Field("changed", "TIMESTAMP"),
    )
)


def partitions(number: int) -> frozenset[str | None]:
    return frozenset([None, *map(str, range(number - 1))])


@pytest.mark.parametrize(
    ("field", "granularity", "remedy"),
    [
        ("changed", "HOUR", "set partition_granularity=DAY for a new table, or "),
        ("changed", "DAY", "set partition_granularity=MONTH for a new table, or "),
        ("day", "DAY", "set partition_granularity=MONTH for a new table, or "),
        ("local", "MONTH", "set partition_granularity=YEAR for a new table, or "),
        ("day", "YEAR", ""),
    ],
)
def test_too_many_partitions(field: str, granularity: str, remedy: str) -> None:
    layout = TableLayout(field, granularity)
    check_partitions(partitions(MAX_PARTITIONS_PER_JOB), DATES, layout, MAX_PARTITIONS_PER_JOB)
    with pytest.raises(SchemaError) as caught:
        check_partitions(partitions(MAX_PARTITIONS_PER_JOB + 1), DATES, layout, MAX_PARTITIONS_PER_JOB)
    assert str(caught.value) == (
        f"the rows belong to more than 4,000 partitions of {field} by {granularity}, BigQuery's limit for one job: "
        f"{remedy}load a shorter interval per run"
    )


def test_partitions_are_grouped_as_one_job_can_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_pipeline.auto_schema.partitions.MAX_PARTITIONS_PER_JOB", 3)
    assert partition_groups(frozenset({"2", None, "1", "5", "4"})) == [{"1", "2", None}, {"4", "5"}]
    assert partition_groups(frozenset({None})) == [{None}]
    assert partition_groups(frozenset()) == []
