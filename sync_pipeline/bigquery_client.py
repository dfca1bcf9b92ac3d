"""The BigQuery client, its jobs, and the one place its errors become ours."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import google.auth.exceptions
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.errors import PublishError

_LOGGER = logging.getLogger(__name__)

# Seconds a single request is repeated for while BigQuery answers with 5xx, instead of the client's ten minutes.
REQUEST_RETRY = bigquery.DEFAULT_RETRY.with_timeout(120)

# Reasons after which the same job may succeed. https://cloud.google.com/bigquery/docs/error-messages
TRANSIENT_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
        "tableUnavailable",
        "timeout",
    }
)

# A 409 may come before the job it speaks of can be read.
_VISIBLE_SECONDS = 30

_MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (google.auth.exceptions.GoogleAuthError, "check the service account of the job"),
    (exceptions.Unauthorized, "check the service account of the job"),
    (
        exceptions.Forbidden,
        "grant the job's service account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project",
    ),
    (exceptions.NotFound, "create it, or correct destination_bigquery_project, _dataset and _table"),
    (exceptions.ServerError, "BigQuery could not answer: run the job again"),
    (exceptions.GoogleAPICallError, "see the reason BigQuery gives"),
)


def open_client(project: str, location: str | None = None) -> bigquery.Client:
    """Return a client whose jobs run in `project`. Raises PublishError when there are no credentials."""
    with translated_errors("find credentials"):
        return bigquery.Client(project=project, location=location)


@contextlib.contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Turn the client's errors into `PublishError`: "cannot <doing>: <what BigQuery says>: <remedy>"."""
    try:
        yield
    except (exceptions.GoogleAPICallError, google.auth.exceptions.GoogleAuthError) as error:
        remedy = next(remedy for kind, remedy in _MEANINGS if isinstance(error, kind))
        raise PublishError(f"BigQuery: cannot {doing}: {reason_of(error)}: {remedy}") from None


def reason_of(error: Exception) -> str:
    """Return what BigQuery said, on one line, without the address that was asked."""
    said = getattr(error, "errors", None) or []
    message = said[0].get("message") if said and isinstance(said[0], dict) else None
    return " ".join(str(message or getattr(error, "message", None) or error).split())


def finish_job(
    client: bigquery.Client,
    job_id: str,
    location: str,
    begin: Callable[[str], Any],
    *,
    doing: str,
    max_retries: int,
) -> Any:
    """Run a job to its end, at most once for each id, and return it.

    A job that is already there under its id is attached to, so that a repeated step does not repeat its effect.
    An id is spent even when its job failed: after a passing failure of BigQuery the next attempt is `-r1`, `-r2` …

    Args:
        job_id: the id without the attempt.
        begin: starts the job under the id it is given, and returns it.
        doing: for the message of the PublishError that is raised when the job fails.
    """
    for attempt in range(max_retries + 1):
        job = _begun_job(client, f"{job_id}-r{attempt}", location, begin, doing)
        try:
            job.result()
            return job
        except exceptions.GoogleAPICallError as error:
            reason = (job.error_result or {}).get("reason", "")
            if reason in TRANSIENT_REASONS and attempt < max_retries:
                wait = 2**attempt
                _LOGGER.warning("BigQuery job %s failed (%s); trying again in %d s", job.job_id, reason, wait)
                time.sleep(wait)
                continue
            raise PublishError(
                f"BigQuery: cannot {doing}: {_job_failure(job, error)} (job {job.job_id} in {location}); nothing was published"
            ) from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def _begun_job(client: bigquery.Client, job_id: str, location: str, begin: Callable[[str], Any], doing: str) -> Any:
    with translated_errors(doing):
        try:
            return begin(job_id)
        except exceptions.Conflict:
            _LOGGER.info("BigQuery job %s is already there: waiting for it instead of starting it again", job_id)
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while True:
            try:
                return client.get_job(job_id, location=location, retry=REQUEST_RETRY)
            except exceptions.NotFound:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


def _job_failure(job: Any, error: exceptions.GoogleAPICallError) -> str:
    details = [detail.get("message", "") for detail in job.errors or []]
    # The text of a failed PARSE_JSON quotes the value, which may be anything from the table.
    if any("PARSE_JSON" in detail for detail in [*details, reason_of(error)]):
        return "a text in a JSON column is not JSON that BigQuery accepts"
    return "; ".join(dict.fromkeys(" ".join(detail.split()) for detail in details if detail)) or reason_of(error)
