"""Google's clients for the BigQuery source, and the translation of their errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import google.auth.exceptions
import grpc
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from sync_pipeline.bigquery_api.client import Meaning, translated_errors
from sync_pipeline.errors import MissingRightError, SourceQueryError, SourceUnavailableError

# `host:port` of an emulator of the Storage API without TLS. Google's client has no such variable; the name is analogous
# to BIGQUERY_EMULATOR_HOST of the REST client.
STORAGE_HOST_VARIABLE = "BIGQUERY_STORAGE_EMULATOR_HOST"

JOBS_CREATE = "bigquery.jobs.create on the project {project} (roles/bigquery.jobUser)"
TABLES_GET = "bigquery.tables.get on the table (roles/bigquery.dataViewer on its dataset)"
TABLES_LIST = "bigquery.tables.list on the dataset (roles/bigquery.dataViewer)"
TABLES_READ = "bigquery.tables.getData on the table (roles/bigquery.dataViewer on its dataset)"
SESSIONS_CREATE = "bigquery.readsessions.create on the project {project} (roles/bigquery.readSessionUser)"


def meanings(*permissions: str) -> tuple[Meaning, ...]:
    """Return the meanings of the errors of a call that needs these permissions, the most specific first."""
    grant = f"grant the job's service account {' and '.join(permissions)}"
    return (
        (google.auth.exceptions.GoogleAuthError, SourceUnavailableError, "check the service account of the job"),
        (exceptions.Unauthorized, SourceQueryError, "check the service account of the job"),
        (exceptions.Forbidden, MissingRightError, grant),
        (
            exceptions.NotFound,
            SourceQueryError,
            "correct source_bigquery_project, source_bigquery_dataset and source_bigquery_table, or the query",
        ),
        (exceptions.TooManyRequests, SourceUnavailableError, "run the job again when BigQuery has fewer requests"),
        (exceptions.BadRequest, SourceQueryError, "correct the query or the parameters"),
        (exceptions.ServerError, SourceUnavailableError, "BigQuery could not answer: run the job again"),
        (exceptions.GoogleAPICallError, SourceQueryError, "see the reason BigQuery gives"),
    )


@contextlib.contextmanager
def source_errors(action: str, *permissions: str) -> Iterator[None]:
    """Translate the clients' errors to SourceError: "BigQuery: cannot <action>: <message>: <remedy>"."""
    with translated_errors(action, meanings(*permissions)):
        yield


def open_source_client(project: str) -> bigquery.Client:
    """Return a client whose jobs run in `project`. Raises SourceUnavailableError when credentials are missing."""
    with source_errors("find credentials"):
        return bigquery.Client(project=project)


def open_read_client() -> BigQueryReadClient:
    """Return a client of the Storage Read API. Raises SourceUnavailableError when credentials are missing."""
    host = os.environ.get(STORAGE_HOST_VARIABLE)
    if host:
        channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    with source_errors("find credentials"):
        return BigQueryReadClient()


@contextlib.contextmanager
def connected_read_client() -> Iterator[BigQueryReadClient]:
    """Open a client of the Storage Read API, and close it at the end."""
    client = open_read_client()
    try:
        yield client
    finally:
        client.transport.close()
