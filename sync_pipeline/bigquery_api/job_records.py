"""What a job's record says: its run, its failure, the rows that its statements wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, Meaning, meaning_of, reason_of, translated_errors
from sync_pipeline.bigquery_api.messages import shown_message
from sync_pipeline.errors import PublishError, PublishUnavailableError, SyncError

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

# The reason for which a load job that only fills empty tables fails.
_NOT_EMPTY = "duplicate"

# The label that says which run a job belongs to.
RUN_LABEL = "sync_run"

# The label that says which execution of the platform a job belongs to, which may be attempted as several runs.
_EXECUTION_LABEL = "sync_execution"


def job_labels(run_id: str, data_source: str, execution: str = "") -> dict[str, str]:
    """Return the labels that mark a job as the run's; they have no capitals.

    Args:
        execution: the platform's id of what it attempts as several runs; empty where it has none.
    """
    labels = {"sync_source": data_source, RUN_LABEL: run_id.lower()}
    return {**labels, _EXECUTION_LABEL: _label_of(execution)} if execution else labels


def belongs_to(job: Any, run_id: str) -> bool:
    """Return whether the job has the label of the run."""
    return bool((job.labels or {}).get(RUN_LABEL) == run_id.lower())


def is_attempt_of(job: Any, execution: str) -> bool:
    """Return whether the job has the label of the execution; False without one."""
    return bool(execution) and (job.labels or {}).get(_EXECUTION_LABEL) == _label_of(execution)


def _label_of(execution: str) -> str:
    # A label allows neither every character nor any length.
    return hashlib.sha256(execution.encode()).hexdigest()[:32]


def is_transient(job: Any) -> bool:
    """Return whether the job failed for a transient reason; False if it did not fail."""
    failure = job.error_result or {}
    return failure.get("reason") in TRANSIENT_REASONS or _OVERTAKEN in str(failure.get("message"))


def job_error(job: Any, action: str, location: str, meanings: Sequence[Meaning]) -> SyncError:
    """Return the error of a job that failed: "cannot <action>: …", of the kind that `meanings` gives it.

    A PublishError is a PublishUnavailableError when the failure is transient.
    """
    details = [detail for detail in job.errors or [job.error_result or {}] if detail.get("message")]
    shown = (shown_message(each["message"], each.get("reason"), each.get("location")) for each in details)
    failure = "; ".join(dict.fromkeys(shown)) or reason_of(job.exception())
    message = f"BigQuery: cannot {action}: {failure} (job {job.job_id} in {location})"
    _, kind, remedy = meaning_of(job.exception(), meanings)
    if not issubclass(kind, PublishError):
        return kind(f"{message}: {remedy}")
    if (job.error_result or {}).get("reason") == _NOT_EMPTY:
        message += ": it has rows that were written after the plan: run the job again"
    return (PublishUnavailableError if is_transient(job) else PublishError)(f"{message}; nothing was published")


def last_row(job: Any, done: str) -> Any:
    """Return the first row that the last SELECT of a script returned. Raises PublishError.

    Args:
        done: what the row counts, for the error message, such as "deleted".
    """
    with translated_errors(f"read the result of job {job.job_id}"):
        row = next(iter(job.result()), None)
    if row is None:
        raise PublishError(f"BigQuery does not tell what job {job.job_id} has {done}")
    return row


def changed_rows(client: bigquery.Client, job: Any) -> int:
    """Return how many rows the INSERT and MERGE statements of a query job, or of its script, wrote.

    A script's own record counts no rows; the records of its statements do.
    https://cloud.google.com/bigquery/docs/multi-statement-queries#view_job

    Raises:
        PublishError: these records cannot be listed.
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
