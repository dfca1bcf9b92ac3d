from __future__ import annotations

import pytest

from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.bigquery.queries import Filter, rows_sql
from tests.plans import INTERVAL, USERS

BETWEEN = (
    "{x}`updated_at` > TIMESTAMP '2025-07-22 13:00:00.000000+00' AND "
    "{x}`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00'"
)


def test_all_rows() -> None:
    assert rows_sql("`p.d.t`", USERS, ["id", "name"], Filter()) == "SELECT q.`id`, q.`name`\nFROM `p.d.t` AS q"


def test_rows_of_an_interval() -> None:
    where = Filter(INTERVAL, "updated_at")
    sql = rows_sql("(\nSELECT 1\n)", USERS, ["id"], where)
    assert sql == f"SELECT q.`id`\nFROM (\nSELECT 1\n) AS q\nWHERE {BETWEEN.format(x='q.')}"
    assert where.condition() == BETWEEN.format(x="")


def test_rows_of_an_interval_of_wall_clocks() -> None:
    condition = Filter(INTERVAL, "seen", "DATETIME").condition()
    assert condition == (
        "`seen` > DATETIME '2025-07-22 13:00:00.000000' AND `seen` <= DATETIME '2025-07-22 15:00:00.000000'"
    )


def test_rows_without_a_timestamp() -> None:
    condition = Filter(INTERVAL, "updated_at", includes_null=True).condition("q")
    assert condition == f"({BETWEEN.format(x='q.')} OR q.`updated_at` IS NULL)"


@pytest.mark.parametrize(
    ("where", "condition"),
    [
        pytest.param(Filter(partition_column="day"), "(`day` IS NOT NULL OR `day` IS NULL)", id="all rows"),
        pytest.param(
            Filter(INTERVAL, "updated_at", partition_column="_PARTITIONTIME"),
            f"{BETWEEN.format(x='')} AND (`_PARTITIONTIME` IS NOT NULL OR `_PARTITIONTIME` IS NULL)",
            id="ingestion time",
        ),
        pytest.param(
            Filter(INTERVAL, "updated_at", partition_column="updated_at"),
            BETWEEN.format(x=""),
            id="the timestamp itself",
        ),
    ],
)
def test_a_demanded_partition_filter(where: Filter, condition: str) -> None:
    assert where.condition() == condition


def test_a_column_called_like_the_alias() -> None:
    schema = Schema((Field("Q", "INT64"), Field("q_", "INT64")))
    assert rows_sql("`p.d.t`", schema, schema.names, Filter()) == "SELECT q__.`Q`, q__.`q_`\nFROM `p.d.t` AS q__"
