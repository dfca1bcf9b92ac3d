from __future__ import annotations

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from tests.parameter_sets import BIGQUERY, DESTINATION


def test_table() -> None:
    expected = BigquerySourceConfig(
        project="source-project",
        dataset="raw",
        table="events",
        query=None,
        read="auto",
        maximum_bytes_billed=None,
        job_project="my-project",
    )
    assert SyncConfig.from_parameters(BIGQUERY).source == expected


def test_query_needs_no_table() -> None:
    given = DESTINATION | {
        "data_source": "bigquery",
        "source_bigquery_project": "source-project",
        "source_bigquery_query": "SELECT 1 AS x",
    }
    given |= {"source_bigquery_read": "query", "maximum_bytes_billed": "1000000"}
    expected = BigquerySourceConfig("source-project", None, None, "SELECT 1 AS x", "query", 1_000_000, "source-project")
    assert SyncConfig.from_parameters(given).source == expected
