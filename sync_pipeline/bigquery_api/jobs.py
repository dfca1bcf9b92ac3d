"""BigQuery jobs that run once, even if a step is retried: each attempt finds the job by its id.

Only a job's own record (`jobs.get`) tells how it ended. If that request fails, the job may still be running or may have
succeeded, and the next attempt finds it by its id.
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

from sync_pipeline.bigquery_api.client import DESTINATION_MEANINGS, REQUEST_RETRY, Meaning, translated_errors
from sync_pipeline.bigquery_api.job_records import belongs_to, is_transient, job_error
from sync_pipeline.errors import ConcurrentSyncError, SyncError

_LOGGER = logging.getLogger(__name__)

# How long, in seconds, `jobs.get` is retried: longer than other requests, because hours of reading depend on it.
_POLL_RETRY = bigquery.DEFAULT_RETRY.with_timeout(600)

# Seconds between two polls of a running job: the first and the longest wait. Each wait is a tenth longer than the one
# before, so the end of a job is noticed within a tenth of its run time. A job of a minute is polled about 43 times.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_PAUSE_GROWTH = 1.1

# After a 409, `jobs.get` may not return the existing job at once.
_VISIBLE_SECONDS = 30


@dataclass(frozen=True)
class JobRequest:
    """A job that is to run once.

    Attributes:
        job_id: the id without the attempt. A failed job uses up its id too, so jobs are `-r0`, `-r1` …
        run_id: the run it belongs to. A job of the same run under the same id is its own, started by a retried bundle.
        location: the location of its datasets.
        action: for messages: "cannot <action>: …".
        max_retries: how often one attempt of the step restarts the job after a transient failure of BigQuery.
        observed_at: BigQuery's time when the run read the destination's state, for an id that runs share. The run has
            seen the effect of a job that succeeded before; after a job that succeeded later it must not publish. None
            for an id that only this run uses, or under which only one run may ever publish.
        meanings: how errors of the job, and of requests about it, are translated.
        repeatable: running the job twice has the same effect as once. Such a job takes another id if its own belongs
            to a job that BigQuery does not return: it keeps jobs for six months, and may reserve ids for longer.
            https://cloud.google.com/bigquery/docs/managing-jobs
    """

    job_id: str
    run_id: str
    location: str
    action: str
    max_retries: int
    observed_at: datetime | None = None
    meanings: Sequence[Meaning] = DESTINATION_MEANINGS
    repeatable: bool = False


@dataclass(frozen=True)
class FinishedJob:
    """A job that succeeded.

    Attributes:
        is_ours: False if another run won the id; this run must then publish nothing.
    """

    job: Any
    is_ours: bool = True


def finish_job(client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any]) -> FinishedJob:
    """Run the job to its end, once, and return it.

    `begin` starts the job under the given id, with the labels of `job_labels`, and returns it. BigQuery accepts an id
    only once, so only one of the runs that share an id starts a job. A retried step finds the existing job and waits
    for it.

    Raises:
        PublishUnavailableError: BigQuery does not tell how the job ended, or its last restart fails transiently too.
        PublishError: the job fails for good.
        ConcurrentSyncError: BigQuery does not return the job that holds the id.
    """
    attempt = failures = 0
    patience: float = _VISIBLE_SECONDS
    while True:
        job, begun_here = _begun_job(client, request, begin, attempt, patience)
        if job is None:
            # Ids are used in order, so BigQuery may not return the jobs of the next ids either: double the attempt, and
            # do not wait for each. A repeatable job may skip a free id, or the job of a run that has just started.
            attempt, patience = 2 * attempt + 1, 0
            continue
        if not begun_here and not belongs_to(job, request.run_id):
            free = _first_free(client, request, attempt)
            last = _last_success(client, request, attempt, free)
            if last is not None:
                return last
            attempt = free
            continue
        job = _ended(client, request, job)
        if not job.error_result:
            return FinishedJob(job)
        if not is_transient(job) or (begun_here and failures == request.max_retries):
            raise _error(job, request)
        if begun_here:
            _LOGGER.warning(
                "BigQuery job %s failed by a transient failure; trying again in %d s", job.job_id, 2**failures
            )
            time.sleep(2**failures)
            failures += 1
        attempt += 1


def find_concurrent_job(client: bigquery.Client, request: JobRequest) -> Any | None:
    """Return the job of another run that has already done this run's work, or None.

    Raises:
        PublishUnavailableError: BigQuery does not tell.
    """
    with translated_errors(request.action, request.meanings):
        if not _is_taken(client, request, 0):
            return None
        finished = _last_success(client, request, 0, _first_free(client, request, 0))
    return finished.job if finished is not None and not finished.is_ours else None


def _begun_job(
    client: bigquery.Client, request: JobRequest, begin: Callable[[str], Any], attempt: int, patience: float
) -> tuple[Any | None, bool]:
    """Start the job, or find the one that has its id; return the job, and whether this call started it.

    The job is None if the request is repeatable and BigQuery does not return the job with its id for `patience`
    seconds.

    Raises:
        ConcurrentSyncError: BigQuery does not return the job, and the request is not repeatable.
    """
    job_id = _id_of(request, attempt)
    with translated_errors(request.action, request.meanings):
        try:
            return begin(job_id), True
        except exceptions.Conflict:
            job = _shown_job(client, request, job_id, patience)
    if job is None:
        if not request.repeatable:
            raise _not_shown(request, job_id)
        _LOGGER.warning("BigQuery job %s is taken, and BigQuery does not show it: trying another id", job_id)
    elif belongs_to(job, request.run_id):
        _LOGGER.info("BigQuery job %s is already there: waiting for it instead of starting it again", job_id)
    return job, False


def _ended(client: bigquery.Client, request: JobRequest, job: Any) -> Any:
    """Wait until the job has ended and return its record. Raises PublishUnavailableError when it cannot be read."""
    pause = _FIRST_PAUSE
    while job.state != "DONE":
        time.sleep(pause)
        pause = min(_PAUSE_GROWTH * pause, _LONGEST_PAUSE)
        with translated_errors(f"tell how job {job.job_id} in {request.location} goes, which may still succeed"):
            shown = _shown_job(client, request, job.job_id, _VISIBLE_SECONDS)
        if shown is None:
            raise _not_shown(request, job.job_id)
        job = shown
    return job


def _shown_job(client: bigquery.Client, request: JobRequest, job_id: str, patience: float) -> Any | None:
    """Return a job's record; None if BigQuery does not return it for `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return client.get_job(job_id, location=request.location, retry=_POLL_RETRY)
        except exceptions.NotFound:
            if time.monotonic() >= deadline:
                return None
            time.sleep(1)


def _first_free(client: bigquery.Client, request: JobRequest, taken: int) -> int:
    """Return the first attempt after `taken` whose id is free. Ids are used in order, so few lookups suffice."""
    with translated_errors(request.action, request.meanings):
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
        client.get_job(_id_of(request, attempt), location=request.location, retry=REQUEST_RETRY)
    except exceptions.NotFound:
        return False
    return True


def _last_success(client: bigquery.Client, request: JobRequest, first: int, free: int) -> FinishedJob | None:
    """Return the job that did this run's work, of the attempts from `first` to before `free`; None if none did.

    The last job that succeeded decides: the run that started it had seen the effects of all earlier jobs.

    Raises:
        SyncError: this run's own job failed for good; `request.meanings` determines the class.
    """
    for attempt in reversed(range(first, free)):
        job_id = _id_of(request, attempt)
        with translated_errors(request.action, request.meanings):
            job = _shown_job(client, request, job_id, _VISIBLE_SECONDS)
        if job is None:
            if request.repeatable:
                continue
            raise _not_shown(request, job_id)
        job = _ended(client, request, job)
        failed = bool(job.error_result)
        if belongs_to(job, request.run_id):
            if not failed:
                return FinishedJob(job)
            if not is_transient(job):
                raise _error(job, request)
        elif not failed:
            seen = request.observed_at is not None and job.ended is not None and job.ended < request.observed_at
            return None if seen else FinishedJob(job, is_ours=False)
    return None


def _id_of(request: JobRequest, attempt: int) -> str:
    return f"{request.job_id}-r{attempt}"


def _error(job: Any, request: JobRequest) -> SyncError:
    return job_error(job, request.action, request.location, request.meanings)


def _not_shown(request: JobRequest, job_id: str) -> ConcurrentSyncError:
    return ConcurrentSyncError(
        f"BigQuery: cannot {request.action}: another run holds job {job_id}, and BigQuery does not show it: look at "
        "the destination, then run the job again"
    )
