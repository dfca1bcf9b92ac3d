from __future__ import annotations

import inspect

import google.auth.exceptions
import pytest
from google.api_core import exceptions

from sync_pipeline.errors import MissingRightError, SourceError, SourceQueryError, SourceUnavailableError
from sync_pipeline.sources.bigquery.client import (
    JOBS_CREATE,
    SESSIONS_CREATE,
    STORAGE_HOST_VARIABLE,
    TABLES_READ,
    meanings,
    open_read_client,
    source_errors,
)

SESSIONS = SESSIONS_CREATE.format(project="my-project")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        pytest.param(
            exceptions.Forbidden("Access Denied: Project my-project"),
            MissingRightError,
            "BigQuery: cannot read it: Access Denied: Project my-project: grant the job's service account "
            "bigquery.readsessions.create on the project my-project (roles/bigquery.readSessionUser) and "
            "bigquery.tables.getData on the table (roles/bigquery.dataViewer on its dataset)",
            id="REST: no permission",
        ),
        pytest.param(
            exceptions.Forbidden("Response too large to return", errors=[{"reason": "responseTooLarge"}]),
            SourceQueryError,
            "BigQuery: cannot read it: Response too large to return: see the reason BigQuery gives",
            id="not about permissions",
        ),
        pytest.param(
            exceptions.NotFound("Not found: Table p:d.t"),
            SourceQueryError,
            "BigQuery: cannot read it: Not found: Table p:d.t: correct source_bigquery_project, "
            "source_bigquery_dataset and source_bigquery_table, or the query",
            id="no such table",
        ),
        pytest.param(
            exceptions.BadRequest("Unrecognized name: nobody at [1:8]"),
            SourceQueryError,
            "BigQuery: cannot read it: Unrecognized name: nobody at [1:8]: correct the query or the parameters",
            id="bad query",
        ),
        pytest.param(
            exceptions.ServiceUnavailable("connection\nrefused"),
            SourceUnavailableError,
            "BigQuery: cannot read it: connection refused: BigQuery could not answer: run the job again",
            id="unreachable",
        ),
        pytest.param(
            google.auth.exceptions.DefaultCredentialsError("no credentials"),
            SourceUnavailableError,
            "BigQuery: cannot read it: no credentials: check the service account of the job",
            id="no credentials",
        ),
    ],
)
def test_errors(error: Exception, kind: type[SourceError], message: str) -> None:
    with pytest.raises(SourceError) as raised, source_errors("read it", SESSIONS, TABLES_READ):
        raise error
    assert (type(raised.value), str(raised.value)) == (kind, message)


def _kinds() -> list[type[exceptions.GoogleAPICallError]]:
    return [
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, exceptions.GoogleAPICallError)
    ]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_clients_has_a_meaning(kind: type[exceptions.GoogleAPICallError]) -> None:
    transient = issubclass(kind, exceptions.ServerError | exceptions.TooManyRequests)
    with pytest.raises(SourceUnavailableError if transient else SourceQueryError), source_errors("read it"):
        raise kind("x")


def test_the_most_specific_meaning_comes_first() -> None:
    kinds = [kind for kind, *_ in meanings(JOBS_CREATE)]
    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:index])


def test_the_storage_api_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE_HOST_VARIABLE, "127.0.0.1:1")
    client = open_read_client()
    with pytest.raises(SourceUnavailableError, match="run the job again"), source_errors("open a session"):
        client.create_read_session(parent="projects/p", retry=None, timeout=10)
    client.transport.close()
