from __future__ import annotations

import pytest

from sync_pipeline.planning.billed_queries import BilledQuery
from sync_pipeline.planning.merge_costs import MergeCosts
from sync_pipeline.schema import Field


def test_a_table_that_is_read_whole() -> None:
    costs = MergeCosts(10 * 2**40)
    assert str(costs) == ("the merge reads the whole table: 10.0 TiB, about $62.50 per run on demand at $6.25 per TiB")
    assert costs.risk == (
        f"{costs}: partition the table by a column that rarely changes, such as created_at; or run less often, or "
        "append and keep the newest versions in a view"
    )


def test_a_table_of_which_partitions_are_left_out() -> None:
    costs = MergeCosts(2**40, Field("day", "DATE"))
    assert str(costs) == (
        "the merge reads the key and day of all rows: 1.0 TiB, about $6.25 per run on demand at $6.25 per TiB; and all "
        "columns of the partitions with older versions of the rows"
    )
    assert costs.risk == f"{costs}: run less often, or append and keep the newest versions in a view"


@pytest.mark.parametrize(
    ("costs", "text"),
    [
        pytest.param(
            MergeCosts(0, Field("day", "DATE"), is_part_of_key=True),
            "the merge reads the partitions of its rows, and nothing of the others",
            id="partitioned by a part of the key",
        ),
        pytest.param(
            MergeCosts(2**40, clustered_by=Field("id", "INT64")),
            "the merge reads the blocks from the lowest to the highest id of its rows, at most: 1.0 TiB, about $6.25 "
            "per run on demand at $6.25 per TiB",
            id="clustered",
        ),
        pytest.param(
            MergeCosts(2**40, Field("day", "DATE"), Field("id", "INT64")),
            "the merge reads the key and day of the blocks from the lowest to the highest id of its rows, at most: "
            "1.0 TiB, about $6.25 per run on demand at $6.25 per TiB; and all columns of the partitions with older "
            "versions of the rows",
            id="partitioned and clustered",
        ),
    ],
)
def test_a_table_of_which_the_key_leaves_parts_out(costs: MergeCosts, text: str) -> None:
    assert str(costs) == text


def test_a_small_table_is_no_risk() -> None:
    assert MergeCosts(2**30).risk is None


def test_a_merge_as_a_billed_query() -> None:
    assert MergeCosts(5).billed == BilledQuery("merge", 5, "the table's metadata")
    assert MergeCosts(5, Field("day", "DATE")).billed == BilledQuery("merge", 5, "BigQuery's dry run", is_least=True)
