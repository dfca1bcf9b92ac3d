from __future__ import annotations

from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline.bigquery_api.required_filter import required_filter_column


@pytest.mark.parametrize(
    ("partitioning", "filtered", "expected"),
    [
        pytest.param({}, False, None, id="plain"),
        pytest.param({"timePartitioning": {"type": "DAY", "field": "day"}}, False, None, id="no filter required"),
        pytest.param({"timePartitioning": {"type": "DAY", "field": "day"}}, True, "day", id="by a column"),
        pytest.param({"timePartitioning": {"type": "DAY"}}, True, "_PARTITIONTIME", id="by the time of loading"),
        pytest.param({"rangePartitioning": {"field": "id", "range": {}}}, True, "id", id="by ranges of integers"),
    ],
)
def test_required_filter_column(partitioning: dict[str, Any], filtered: bool, expected: str | None) -> None:
    reference = {"projectId": "p", "datasetId": "d", "tableId": "t"}
    table = bigquery.Table.from_api_repr(
        {"tableReference": reference, "requirePartitionFilter": filtered, **partitioning}
    )
    assert required_filter_column(table) == expected
