"""Which steps of a run are due, from the jobs that there are. Pure, and the same for every event and every order.

A step that has a job is never due again, whatever became of the job: repeated and late events start nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .chain import Chain

_FAILED = frozenset({"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED"})


class Outcome(enum.Enum):
    """What became of a job."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """A job as Dataflow lists it.

    Attributes:
        created: the time of creation, as Dataflow writes it.
        ended: the time of its state, as Dataflow writes it.
    """

    id: str
    name: str
    state: str
    created: str = ""
    ended: str = ""

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.state)


def outcome_of(state: str) -> Outcome:
    """Return the outcome of a job in a state. A state that is not known yet is one of an active job."""
    if state == "JOB_STATE_DONE":
        return Outcome.SUCCEEDED
    return Outcome.FAILED if state in _FAILED else Outcome.ACTIVE


def first_of(jobs: Iterable[Job]) -> Job | None:
    """Return the job that counts of all with one name, the first. A later one is a repetition that is cancelled."""
    return min(jobs, key=lambda job: (job.created, job.id), default=None)


def due_steps(chain: Chain, outcomes: Mapping[str, Outcome], *, starting: bool = False) -> list[str]:
    """Return the steps to start now, in the order of the chain.

    Args:
        outcomes: the outcomes of the steps that have a job.
        starting: whether to start the run. Else its first steps are due only if one of the run's jobs shows that it
            has been started.
    """
    due = []
    for name in chain.steps:
        if name in outcomes:
            continue
        before, failures = chain.before(name), chain.failures_before(name)
        if before:
            is_due = all(outcomes.get(step) is Outcome.SUCCEEDED for step in before)
        elif failures:
            is_due = any(outcomes.get(step) is Outcome.FAILED for step in failures)
        else:
            is_due = starting or bool(outcomes)
        if is_due:
            due.append(name)
    return due


def is_over(chain: Chain, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether nothing of a run is active or due."""
    return Outcome.ACTIVE not in outcomes.values() and not due_steps(chain, outcomes)
