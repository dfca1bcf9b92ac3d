"""The names and labels of a chain's jobs: chain, step and run, and nothing else, so that a name is taken once a run.

The name alone decides: Dataflow lists it as soon as a launch is accepted. The labels are for people and for costs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_SEPARATOR = "--"
# Neither begins or ends with a hyphen, nor has two in a row.
NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME_LENGTH = 40
_RUN_FORMAT = "%Y%m%dt%H%M%S"
_RUN = re.compile("[0-9]{8}t[0-9]{6}")


@dataclass(frozen=True)
class JobName:
    """The parts of a job's name. `run` is the time of the chain's start in UTC, such as 20250722t130000."""

    chain: str
    step: str
    run: str

    def __str__(self) -> str:
        return _SEPARATOR.join((self.chain, self.step, self.run))

    @property
    def labels(self) -> dict[str, str]:
        return {"chain": self.chain, "chain_step": self.step, "chain_run": self.run}


def parse_job_name(text: str) -> JobName | None:
    """Return the parts of a job's name, None if it is not the name of a chain's job."""
    parts = text.split(_SEPARATOR)
    if len(parts) != 3 or not NAME.fullmatch(parts[0]) or not NAME.fullmatch(parts[1]) or not is_run(parts[2]):
        return None
    return JobName(*parts)


def run_id(started: datetime) -> str:
    """Return the run of a chain that starts at a time, which is aware."""
    return started.astimezone(UTC).strftime(_RUN_FORMAT)


def is_run(text: str) -> bool:
    """Whether the text is the id of a run."""
    if not _RUN.fullmatch(text):
        return False
    try:
        start_of(text)
    except ValueError:
        return False
    return True


def start_of(run: str) -> datetime:
    """Return the time in UTC of which a run's id is made."""
    return datetime.strptime(run, _RUN_FORMAT).replace(tzinfo=UTC)
