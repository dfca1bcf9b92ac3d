"""Jobs of BigQuery that are to run once, whatever is attempted again: they are found by their id.

A job is judged by its own record (`jobs.get`) alone. An error of asking says nothing of the job: it may be running, it
may have succeeded, and the next attempt finds it under its id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import (
    DESTINATION_MEANINGS,
    REQUEST_RETRY,
    Meaning,
    meaning_of,
    reason_of,
    translated_errors,
)
from sync_pipeline.bigquery_api.messages import shown_message
from sync_pipeline.errors import ConcurrentSyncError, PublishError, PublishUnavailableError, SyncError

_LOGGER = logging.getLogger(__name__)

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

# A statement that another one has overtaken has no reason of its own.
# https://cloud.google.com/bigquery/docs/transactions#transaction_concurrency
_OVERTAKEN = "due to concurrent update"

# The label that says which run a job belongs to.
RUN_LABEL = "sync_run"

# Seconds that a look at a running job is repeated for: longer than other requests, as hours of reading depend on it.
_POLL_RETRY = bigquery.DEFAULT_RETRY.with_timeout(600)

# Seconds between two looks at a running job: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0

# A 409 may come before the job it speaks of can be read.
_VISIBLE_SECONDS = 30


@dataclass(frozen=True)
class JobRequest:
    """A job that is to run once.

    Attributes:
        job_id: the id without the attempt. An id is spent even when its job failed, so jobs are `-r0`, `-r1` …
        run_id: the run it belongs to; a job of the same run under the same id is its own, begun by a repeated bundle.
        location: of the datasets it touches.
        doing: for messages: "cannot <doing>: …".
        max_retries: how often one attempt of the step begins it again after a transient failure of BigQuery.
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
    """A job that succeeded.

    Attributes:
        is_ours: False when it is another run's that won the id: this run must publish nothing.
    """

    job: Any
    is_ours: bool = True


def job_labels(run_id: str, data_source: str) -> dict[str, str]:
    """Return the labels by which a job is known to be the run's. Labels have no capitals."""
    return {"sync_source": data_source, RUN_LABEL: run_id.lower()}


def finish_job(client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any]) -> FinishedJob:
    """Run the job to its end, once, and return it.

    `begin` starts it under the id it is given, with the labels of `job_labels`, and returns it. BigQuery takes an id
    only once, so of runs that share one, one job gets through; a repeated step finds the job that is already there and
    waits for it.

    Raises PublishUnavailableError when it cannot be known how the job ended, or when it fails by a transient failure
    `max_retries` times; PublishError when it fails for good.
    """
    attempt = failures = 0
    while True:
        job, begun_here = _begun_job(client, request, begin, attempt)
        if job is None:
            free = _first_free(client, request, attempt)
            last = _last_success(client, request, attempt, free)
            if last is not None:
                return last
            attempt = free
            continue
        job = _ended(client, request, job)
        if not job.error_result:
            return FinishedJob(job)
        if not _is_transient(job) or (begun_here and failures == request.max_retries):
            raise _job_error(job, request)
        if begun_here:
            _LOGGER.warning(
                "BigQuery job %s failed by a transient failure; trying again in %d s", job.job_id, 2**failures
            )
            time.sleep(2**failures)
            failures += 1
        attempt += 1


def find_concurrent_job(client: bigquery.Client, request: JobRequest) -> Any | None:
    """Return the job of another run that makes this one superfluous, None when there is none."""
    with translated_errors(request.doing, request.meanings):
        if not _is_taken(client, request, 0):
            return None
        finished = _last_success(client, request, 0, _first_free(client, request, 0))
    return finished.job if finished is not None and not finished.is_ours else None


def changed_rows(client: bigquery.Client, job: Any) -> int:
    """Return how many rows the INSERT and MERGE statements of a query job, or of its script, have written.

    A script's own record counts no rows; the records of its statements do.
    https://cloud.google.com/bigquery/docs/multi-statement-queries#view_job
    """
    with translated_errors(f"look at the statements of job {job.job_id}"):
        statements = [job]
        if job.statement_type == "SCRIPT":
            statements = list(client.list_jobs(project=job.project, parent_job=job.job_id, retry=REQUEST_RETRY))
        return sum(
            int(statement.num_dml_affected_rows or 0)
            for statement in statements
            if statement.statement_type in ("INSERT", "MERGE")
        )


def _begun_job(
    client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any], attempt: int
) -> tuple[Any | None, bool]:
    """Begin the job, or return the run's own that is already there, and whether it was begun now.

    The job is None when the id is another run's.
    """
    job_id = f"{request.job_id}-r{attempt}"
    with translated_errors(request.doing, request.meanings):
        try:
            return begin(job_id), True
        except exceptions.Conflict:
            job = _existing_job(client, request, job_id)
    if not _is_ours(job, request):
        return None, False
    _LOGGER.info("BigQuery job %s is already there: waiting for it instead of starting it again", job_id)
    return job, False


def _ended(client: bigquery.Client, request: JobRequest, job: Any) -> Any:
    """Return the job's record when the job has ended."""
    pause = _FIRST_PAUSE
    while job.state != "DONE":
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
        with translated_errors(f"tell how job {job.job_id} in {request.location} goes, which may still succeed"):
            job = _existing_job(client, request, job.job_id)
    return job


def _existing_job(client: bigquery.Client, request: JobRequest, job_id: str) -> Any:
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        try:
            return client.get_job(job_id, location=request.location, retry=_POLL_RETRY)
        except exceptions.NotFound:
            if time.monotonic() > deadline:
                raise ConcurrentSyncError(
                    f"BigQuery: cannot {request.doing}: another run holds job {job_id}, and BigQuery does not show "
                    "it: look at the destination, then run the job again"
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
            job = _existing_job(client, request, f"{request.job_id}-r{attempt}")
        job = _ended(client, request, job)
        failed = bool(job.error_result)
        if _is_ours(job, request):
            if not failed:
                return FinishedJob(job)
            if not _is_transient(job):
                raise _job_error(job, request)
        elif not failed:
            seen = request.observed_at is not None and job.ended is not None and job.ended < request.observed_at
            return None if seen else FinishedJob(job, is_ours=False)
    return None


def _is_ours(job: Any, request: JobRequest) -> bool:
    return bool((job.labels or {}).get(RUN_LABEL) == request.run_id.lower())


def _is_transient(job: Any) -> bool:
    failure = job.error_result or {}
    return failure.get("reason") in TRANSIENT_REASONS or _OVERTAKEN in str(failure.get("message"))


def _job_error(job: Any, request: JobRequest) -> SyncError:
    told = f"BigQuery: cannot {request.doing}: {_job_failure(job)} (job {job.job_id} in {request.location})"
    _, kind, remedy = meaning_of(job.exception(), request.meanings)
    if not issubclass(kind, PublishError):
        return kind(f"{told}: {remedy}")
    return (PublishUnavailableError if _is_transient(job) else PublishError)(f"{told}; nothing was published")


def _job_failure(job: Any) -> str:
    details = [detail for detail in job.errors or [job.error_result or {}] if detail.get("message")]
    shown = (shown_message(each["message"], each.get("reason"), each.get("location")) for each in details)
    return "; ".join(dict.fromkeys(shown)) or reason_of(job.exception())
