"""The BigQuery client; translates its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import google.auth.exceptions
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_api.messages import shown_message
from sync_pipeline.errors import PublishError, PublishUnavailableError, SyncError

# How long, in seconds, a request is retried while BigQuery answers with 5xx; the client's default is ten minutes.
REQUEST_RETRY = bigquery.DEFAULT_RETRY.with_timeout(120)

# The exceptions of Google's clients: the service's answers, exhausted retries, missing credentials and lost
# connections (those of `requests` are OSErrors too).
CLIENT_ERRORS: tuple[type[Exception], ...] = (
    exceptions.GoogleAPIError,
    google.auth.exceptions.GoogleAuthError,
    OSError,
)

# Answers about permissions, names and the service itself.
_SPEAK_OF_NO_VALUE = (
    google.auth.exceptions.GoogleAuthError,
    exceptions.Unauthorized,
    exceptions.Forbidden,
    exceptions.NotFound,
    exceptions.Conflict,
    exceptions.TooManyRequests,
    exceptions.ServerError,
)

# Reasons of transient errors: a retry may succeed. https://cloud.google.com/bigquery/docs/error-messages
_RATE_REASONS = frozenset({"jobRateLimitExceeded", "rateLimitExceeded"})

# An exception of Google's client, the product's error for it, and the remedy. The most specific comes first.
Meaning = tuple[type[Exception], type[SyncError], str]

DESTINATION_MEANINGS: tuple[Meaning, ...] = (
    (google.auth.exceptions.GoogleAuthError, PublishError, "check the service account of the job"),
    (exceptions.Unauthorized, PublishError, "check the service account of the job"),
    (
        exceptions.Forbidden,
        PublishError,
        (
            "grant the job's service account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on "
            "the project"
        ),
    ),
    (exceptions.NotFound, PublishError, "create it, or correct destination_bigquery_project, _dataset and _table"),
    (exceptions.ServerError, PublishUnavailableError, "BigQuery could not answer: run the job again"),
    (exceptions.GoogleAPICallError, PublishError, "see the reason BigQuery gives"),
)


def open_client(project: str, location: str | None = None) -> bigquery.Client:
    """Return a client whose jobs run in `project`. Raises PublishError when there are no credentials."""
    with translated_errors("find credentials"):
        return bigquery.Client(project=project, location=location)


@contextlib.contextmanager
def translated_errors(action: str, meanings: Sequence[Meaning] = DESTINATION_MEANINGS) -> Iterator[None]:
    """Translate the client's errors: "cannot <action>: <what BigQuery says>: <remedy>"."""
    try:
        yield
    except CLIENT_ERRORS as error:
        answer = _answer_of(error)
        _, kind, remedy = meaning_of(answer, meanings)
        raise kind(f"BigQuery: cannot {action}: {reason_of(answer)}: {remedy}") from None


def meaning_of(error: Exception, meanings: Sequence[Meaning]) -> Meaning:
    """Return the first row that matches the error; the last row of a table matches every answer of the service."""
    if isinstance(error, exceptions.Forbidden) and not _reasons(error) <= {"accessDenied", "forbidden"}:
        # BigQuery also answers 403 for exceeded quotas and for results that are too large.
        return meanings[-1]
    return next(meaning for meaning in meanings if isinstance(error, meaning[0]))


def _answer_of(error: Exception) -> Exception:
    """Return the service's answer behind an error; ServiceUnavailable if there is none, or for a rate limit.

    After its last retry a client raises RetryError, which holds the last answer, or none.
    """
    if isinstance(error, exceptions.RetryError):
        error = error.cause or exceptions.ServiceUnavailable("it did not answer in time")
    if isinstance(error, exceptions.TooManyRequests) or (
        isinstance(error, exceptions.GoogleAPICallError) and _reasons(error) & _RATE_REASONS
    ):
        return exceptions.ServiceUnavailable(reason_of(error))
    if isinstance(error, exceptions.GoogleAPICallError):
        return error
    if isinstance(error, google.auth.exceptions.GoogleAuthError) and not _is_passing(error):
        return error
    # The message of a lost connection has addresses and Python objects.
    return exceptions.ServiceUnavailable(f"it could not be reached ({type(error).__name__})")


def _is_passing(error: google.auth.exceptions.GoogleAuthError) -> bool:
    return bool(error.retryable) or isinstance(error, google.auth.exceptions.TransportError)


def _reasons(error: exceptions.GoogleAPICallError) -> set[str]:
    return {str(detail.get("reason")) for detail in error.errors or [] if isinstance(detail, dict)}


def query_config(
    job_project: str, default_project: str, default_dataset: str | None, maximum_bytes_billed: int | None
) -> bigquery.QueryJobConfig:
    """Return the settings of a query over the source; `default_project` qualifies names without a project."""
    config = bigquery.QueryJobConfig(use_query_cache=False)
    if default_dataset is not None:
        config.default_dataset = f"{default_project}.{default_dataset}"
    if job_project != default_project:
        # https://cloud.google.com/bigquery/docs/reference/rest/v2/ConnectionProperty
        config.connection_properties = [bigquery.ConnectionProperty("dataset_project_id", default_project)]
    if maximum_bytes_billed is not None:
        config.maximum_bytes_billed = maximum_bytes_billed
    return config


def reason_of(error: Exception) -> str:
    """Return BigQuery's message on one line, without the request's URL and values of rows."""
    said = getattr(error, "errors", None) or []
    first = said[0] if said and isinstance(said[0], dict) else {}
    message = str(first.get("message") or getattr(error, "message", None) or error)
    if isinstance(error, _SPEAK_OF_NO_VALUE):
        return " ".join(message.split())
    return shown_message(message, first.get("reason"), first.get("location"))


def rows_in_table(client: bigquery.Client, table_id: str) -> int:
    """Return the number of rows in the table's metadata, hidden rows included, without those in its streaming buffer.

    Reading metadata is free, and needs no partition filter.

    Raises:
        PublishError: BigQuery does not return the table.
    """
    with translated_errors(f"count the rows of {table_id}"):
        return int(client.get_table(table_id, retry=REQUEST_RETRY).num_rows or 0)
