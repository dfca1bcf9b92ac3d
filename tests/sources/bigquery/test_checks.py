from __future__ import annotations

import pytest

from tests.parameter_sets import BASE_QUERY, BIGQUERY, DESTINATION, NULLS_LEFT_OUT, problems


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            BIGQUERY | {"source_bigquery_dataset": ""},
            "source_bigquery_dataset is missing: it is required when data_source is bigquery "
            "(or source_bigquery_query instead)",
            id="source_bigquery_dataset",
        ),
        pytest.param(
            BIGQUERY | {"source_bigquery_table": ""},
            "source_bigquery_table is missing: it is required when data_source is bigquery "
            "(or source_bigquery_query or tables_file instead)",
            id="source_bigquery_table",
        ),
        pytest.param(
            DESTINATION | {"data_source": "bigquery", "source_bigquery_query": "SELECT 1 AS x"},
            "source_bigquery_project is missing: it is required when data_source is bigquery",
            id="project of a query",
        ),
    ],
)
def test_missing(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            BIGQUERY | {"source_bigquery_query": "SELECT 1 AS x"},
            "source_bigquery_table and source_bigquery_query are both given: omit one of them",
            id="table and query",
        ),
        pytest.param(
            BIGQUERY
            | {
                "source_bigquery_project": "my-project",
                "source_bigquery_dataset": "production",
                "source_bigquery_table": "users",
            },
            "source_bigquery_table is the destination table itself: name another",
            id="source and destination",
        ),
        pytest.param(
            BIGQUERY | {"source_bigquery_table": "events_*"},
            "source_bigquery_table is 'events_*': name one table",
            id="wildcard of a source",
        ),
        pytest.param(
            BIGQUERY | {"source_bigquery_table": "events$20240101"},
            "source_bigquery_table is 'events$20240101': partition decorators ($) and wildcards (*) are not table "
            "names: use source_bigquery_query with a condition on the partition column instead",
            id="partition of a source",
        ),
        pytest.param(
            BIGQUERY
            | {"source_bigquery_table": "", "source_bigquery_query": f"{BASE_QUERY}", "primary_key": "id"}
            | {"enable_smart_sync": "true", "smart_sync_null_timestamps": "include"},
            f"smart_sync_null_timestamps is 'include', but source_bigquery_query {NULLS_LEFT_OUT}",
            id="NULL timestamps and placeholders, BigQuery",
        ),
        pytest.param(
            BIGQUERY | {"source_bigquery_table": "", "source_bigquery_query": "SELECT '{end_timestamp}' AS x"},
            "source_bigquery_query contains {end_timestamp}, which only Smart Sync fills in: set "
            "enable_smart_sync=true, or use literal timestamps",
            id="placeholders without Smart Sync, BigQuery",
        ),
        pytest.param(
            BIGQUERY
            | {
                "enable_smart_sync": "true",
                "source_bigquery_table": "",
                "source_bigquery_query": "SELECT * FROM t WHERE x > '{start_timestamp}' AND x <= '{end_ts}'",
            },
            "source_bigquery_query lacks {end_timestamp}: replace {end_ts} with it",
            id="one of two, BigQuery",
        ),
    ],
)
def test_contradiction(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]
