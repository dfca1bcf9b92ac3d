"""The context of the emulator's current request: its job's location, and the run of the product that sent it."""

import contextlib
import contextvars

# The product's label on its jobs.
_RUN_LABEL = "sync_run"

location: contextvars.ContextVar[str | None] = contextvars.ContextVar("location", default=None)
labels: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("labels", default=None)


def job_location() -> str | None:
    """Return the location of the current job, None outside a job."""
    return location.get()


def results_table(job_id: str) -> str:
    """Return the id of a job's anonymous result table; jobs in different locations may share a job id."""
    return job_id if location.get() in (None, "US") else f"{location.get()}_{job_id}"


def sync_run() -> str | None:
    """Return the product's run that started the job, None for any other job."""
    return (labels.get() or {}).get(_RUN_LABEL)


@contextlib.contextmanager
def bound(variable: contextvars.ContextVar, value):
    """Set a context variable inside the `with` block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
