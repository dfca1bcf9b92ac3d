from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions

from sync_pipeline.bigquery_client import DESTINATION_MEANINGS, meaning_of, query_config, translated_errors
from sync_pipeline.errors import PublishError


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        pytest.param(("p", "p", None, None), {"useQueryCache": False}, id="one project"),
        pytest.param(
            ("jobs", "source", "raw", 10**12),
            {
                "useQueryCache": False,
                "defaultDataset": {"projectId": "source", "datasetId": "raw"},
                "connectionProperties": [{"key": "dataset_project_id", "value": "source"}],
                "maximumBytesBilled": "1000000000000",
            },
            id="names of another project",
        ),
    ],
)
def test_query_config(arguments: Any, query: dict[str, Any]) -> None:
    assert query_config(*arguments).to_api_repr() == {"query": query}


def test_a_missing_permission_has_its_remedy() -> None:
    error = exceptions.Forbidden("Access Denied", errors=[{"reason": "accessDenied", "message": "Access Denied: x"}])
    with (
        pytest.raises(
            PublishError, match=r"^BigQuery: cannot do it: Access Denied: x: grant the job's service account"
        ),
        translated_errors("do it"),
    ):
        raise error


def test_a_spent_quota_is_not_a_missing_permission() -> None:
    error = exceptions.Forbidden("Quota exceeded", errors=[{"reason": "quotaExceeded", "message": "Quota exceeded"}])
    assert meaning_of(error, DESTINATION_MEANINGS)[2] == "see the reason BigQuery gives"
