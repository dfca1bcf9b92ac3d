"""What the emulator knows about the request it answers: where its job runs, and which run of the product it is of."""

import contextlib
import contextvars

# The label that the product gives to its jobs.
_RUN_LABEL = "sync_run"

location: contextvars.ContextVar[str | None] = contextvars.ContextVar("location", default=None)
labels: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("labels", default=None)


def job_location() -> str | None:
    """Return where the job runs, None outside of a job."""
    return location.get()


def results_table(job_id: str) -> str:
    """Return the id of the anonymous table with the result of a job: jobs in two locations may have one id."""
    return job_id if location.get() in (None, "US") else f"{location.get()}_{job_id}"


def sync_run() -> str | None:
    """Return the product's run that the job belongs to, None for every other job."""
    return (labels.get() or {}).get(_RUN_LABEL)


@contextlib.contextmanager
def bound(variable: contextvars.ContextVar, value):
    """Give a variable a value for as long as the context lasts."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
