from __future__ import annotations

from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError

from sync_pipeline.bigquery_api.client import DESTINATION_MEANINGS, meaning_of, query_config, translated_errors
from sync_pipeline.errors import PublishError, PublishUnavailableError


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(exceptions.ServiceUnavailable("try later"), "try later", id="503"),
        pytest.param(
            exceptions.RetryError("Timeout of 120.0s exceeded", exceptions.BadGateway("bad gateway")),
            "bad gateway",
            id="repeated in vain",
        ),
        pytest.param(
            exceptions.RetryError("Timeout of 120.0s exceeded", requests.ConnectionError("<object at 0x7f>")),
            "it could not be reached (ConnectionError)",
            id="no connection for long",
        ),
        pytest.param(
            exceptions.RetryError("Timeout of 120.0s exceeded", None), "it did not answer in time", id="no answer"
        ),
        pytest.param(requests.ConnectionError("x"), "it could not be reached (ConnectionError)", id="lost connection"),
        pytest.param(TransportError("x"), "it could not be reached (TransportError)", id="no connection for a token"),
        pytest.param(exceptions.TooManyRequests("too many"), "too many", id="429"),
        pytest.param(
            exceptions.Forbidden("slow down", errors=[{"reason": "rateLimitExceeded", "message": "slow down"}]),
            "slow down",
            id="rate limit",
        ),
    ],
)
def test_what_may_pass_is_told_apart(error: Exception, said: str) -> None:
    with pytest.raises(PublishUnavailableError) as caught, translated_errors("do it"):
        raise error
    assert str(caught.value) == f"BigQuery: cannot do it: {said}: BigQuery could not answer: run the job again"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RefreshError("no such account"), id="credentials"),
        pytest.param(exceptions.NotFound("no table"), id="404"),
        pytest.param(exceptions.BadRequest("bad"), id="400"),
    ],
)
def test_what_cannot_pass_is_final(error: Exception) -> None:
    with pytest.raises(PublishError) as caught, translated_errors("do it"):
        raise error
    assert not caught.value.is_transient
