"""The BigQuery client, its jobs, and the one place its errors become ours."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import google.auth.exceptions
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.errors import ConcurrentSyncError, PublishError, SyncError

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

# The label that says which run a job belongs to.
RUN_LABEL = "sync_run"

# A 409 may come before the job it speaks of can be read.
_VISIBLE_SECONDS = 30

# A kind of error of Google's client, what it is to us, and what to do about it. The most specific comes first.
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
    (exceptions.ServerError, PublishError, "BigQuery could not answer: run the job again"),
    (exceptions.GoogleAPICallError, PublishError, "see the reason BigQuery gives"),
)


def open_client(project: str, location: str | None = None) -> bigquery.Client:
    """Return a client whose jobs run in `project`. Raises PublishError when there are no credentials."""
    with translated_errors("find credentials"):
        return bigquery.Client(project=project, location=location)


@contextlib.contextmanager
def translated_errors(doing: str, meanings: Sequence[Meaning] = DESTINATION_MEANINGS) -> Iterator[None]:
    """Turn the client's errors into ours: "cannot <doing>: <what BigQuery says>: <remedy>"."""
    try:
        yield
    except (exceptions.GoogleAPICallError, google.auth.exceptions.GoogleAuthError) as error:
        _, kind, remedy = meaning_of(error, meanings)
        raise kind(f"BigQuery: cannot {doing}: {reason_of(error)}: {remedy}") from None


def meaning_of(error: Exception, meanings: Sequence[Meaning]) -> Meaning:
    """Return the first row that fits the error; the last row of a table fits every error that a call raises."""
    if isinstance(error, exceptions.Forbidden) and not _is_about_permissions(error):
        return meanings[-1]
    return next(meaning for meaning in meanings if isinstance(error, meaning[0]))


def _is_about_permissions(error: exceptions.Forbidden) -> bool:
    """Whether a 403 is what it says: BigQuery also answers it for quotas, and for results that are too large."""
    reasons = {detail.get("reason") for detail in error.errors or [] if isinstance(detail, dict)}
    return not reasons or bool(reasons & {"accessDenied", "forbidden"})


def query_config(
    job_project: str, default_project: str, default_dataset: str | None, maximum_bytes_billed: int | None
) -> bigquery.QueryJobConfig:
    """Return the settings of a query over the source; names without a project are looked up in `default_project`."""
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
    """Return what BigQuery said, on one line, without the address that was asked."""
    said = getattr(error, "errors", None) or []
    message = said[0].get("message") if said and isinstance(said[0], dict) else None
    return " ".join(str(message or getattr(error, "message", None) or error).split())


@dataclass(frozen=True)
class JobRequest:
    """A job that is to run once.

    Attributes:
        job_id: the id without the attempt. An id is spent even when its job failed, so jobs are `-r0`, `-r1` …
        run_id: the run it belongs to; a job of the same run under the same id is its own, begun by a repeated bundle.
        location: of the datasets it touches.
        doing: for messages: "cannot <doing>: …".
        max_retries: how often it is repeated after a passing failure of BigQuery.
        observed_at: BigQuery's clock when the run looked at the destination, for an id that other runs share: what
            succeeded before was seen by the run, what succeeded later was not, and the run must not publish. None for
            an id that is the run's alone.
        meanings: what the errors of the job and of the calls about it are to us.
    """

    job_id: str
    run_id: str
    location: str
    doing: str
    max_retries: int
    observed_at: datetime | None = None
    meanings: Sequence[Meaning] = DESTINATION_MEANINGS


@dataclass(frozen=True)
class FinishedJob:
    """A job that succeeded; `is_ours` is False when it is another run's that made ours superfluous."""

    job: Any
    is_ours: bool = True


def job_labels(run_id: str, data_source: str) -> dict[str, str]:
    """Return the labels by which a job is known to be the run's. Labels have no capitals."""
    return {"sync_source": data_source, RUN_LABEL: run_id.lower()}


def finish_job(client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any]) -> FinishedJob:
    """Run the job to its end, once, and return it.

    `begin` starts it under the id it is given, with the labels of `job_labels`, and returns it. BigQuery takes an id
    only once, so of runs that share one, one job gets through; a repeated step finds the job that is already there and
    waits for it. Raises PublishError when the job fails.
    """
    attempt = passing_failures = 0
    while True:
        job = _begun_job(client, request, begin, attempt)
        if job is None:
            free = _first_free(client, request, attempt)
            rival = _last_success(client, request, attempt, free)
            if rival is not None:
                return rival
            attempt = free
            continue
        failure = _failure_of(job)
        if failure is None:
            return FinishedJob(job)
        reason = (job.error_result or {}).get("reason", "")
        if reason not in TRANSIENT_REASONS or passing_failures == request.max_retries:
            raise _job_error(job, failure, request)
        _LOGGER.warning("BigQuery job %s failed (%s); trying again in %d s", job.job_id, reason, 2**passing_failures)
        time.sleep(2**passing_failures)
        passing_failures += 1
        attempt += 1


def find_rival(client: bigquery.Client, request: JobRequest) -> Any | None:
    """Return the job of another run that makes this one superfluous, None when there is none."""
    with translated_errors(request.doing, request.meanings):
        if not _is_taken(client, request, 0):
            return None
        finished = _last_success(client, request, 0, _first_free(client, request, 0))
    return finished.job if finished is not None and not finished.is_ours else None


def _begun_job(client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any], attempt: int) -> Any | None:
    """Begin the job, or return the run's own that is already there; None when the id is another run's."""
    job_id = f"{request.job_id}-r{attempt}"
    with translated_errors(request.doing, request.meanings):
        try:
            return begin(job_id)
        except exceptions.Conflict:
            job = _existing_job(client, request, attempt)
    if not _is_ours(job, request):
        return None
    _LOGGER.info("BigQuery job %s is already there: waiting for it instead of starting it again", job_id)
    return job


def _existing_job(client: bigquery.Client, request: JobRequest, attempt: int) -> Any:
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        try:
            return client.get_job(f"{request.job_id}-r{attempt}", location=request.location, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            if time.monotonic() > deadline:
                raise ConcurrentSyncError(
                    f"BigQuery: cannot {request.doing}: another run holds job {request.job_id}-r{attempt}, and "
                    "BigQuery does not show it: look at the destination, then run the job again"
                ) from None
            time.sleep(1)


def _first_free(client: bigquery.Client, request: JobRequest, taken: int) -> int:
    """Return the first attempt after `taken` whose id is free. Ids are spent in order, so few have to be asked for."""
    with translated_errors(request.doing, request.meanings):
        step = 1
        while _is_taken(client, request, taken + step):
            taken += step
            step *= 2
        free = taken + step
        while free - taken > 1:
            middle = (taken + free) // 2
            taken, free = (middle, free) if _is_taken(client, request, middle) else (taken, middle)
        return free


def _is_taken(client: bigquery.Client, request: JobRequest, attempt: int) -> bool:
    try:
        client.get_job(f"{request.job_id}-r{attempt}", location=request.location, retry=REQUEST_RETRY)
    except exceptions.NotFound:
        return False
    return True


def _last_success(client: bigquery.Client, request: JobRequest, first: int, free: int) -> FinishedJob | None:
    """Return the job that makes ours superfluous among the attempts from `first` to before `free`; None lets us go on.

    The last that succeeded decides: whoever began it had seen what all before it did.
    """
    for attempt in reversed(range(first, free)):
        with translated_errors(request.doing, request.meanings):
            job = _existing_job(client, request, attempt)
        failure = _failure_of(job)
        if _is_ours(job, request):
            if failure is not None:
                raise _job_error(job, failure, request)
            return FinishedJob(job)
        if failure is None:
            seen = request.observed_at is not None and job.ended is not None and job.ended < request.observed_at
            return None if seen else FinishedJob(job, is_ours=False)
    return None


def _is_ours(job: Any, request: JobRequest) -> bool:
    return bool((job.labels or {}).get(RUN_LABEL) == request.run_id.lower())


def _failure_of(job: Any) -> exceptions.GoogleAPICallError | None:
    """Wait for the job's end; return its failure, or None."""
    try:
        job.result()
    except exceptions.GoogleAPICallError as error:
        return error
    return None


def _job_error(job: Any, failure: exceptions.GoogleAPICallError, request: JobRequest) -> SyncError:
    _, kind, remedy = meaning_of(failure, request.meanings)
    told = f"BigQuery: cannot {request.doing}: {_job_failure(job, failure)} (job {job.job_id} in {request.location})"
    return PublishError(f"{told}; nothing was published") if kind is PublishError else kind(f"{told}: {remedy}")


def _job_failure(job: Any, error: exceptions.GoogleAPICallError) -> str:
    details = [detail.get("message", "") for detail in job.errors or []]
    # The text of a failed PARSE_JSON quotes the value, which may be anything from the table.
    if any("PARSE_JSON" in detail for detail in [*details, reason_of(error)]):
        return "a text in a JSON column is not JSON that BigQuery accepts"
    return "; ".join(dict.fromkeys(" ".join(detail.split()) for detail in details if detail)) or reason_of(error)
