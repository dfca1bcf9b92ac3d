"""`Conductor`: starts what is due. Dataflow's list of jobs is the only state, so any number of them may work at once.

A step's job has a name that follows from chain, step and run. Dataflow refuses a second active job of a name; whether
one has ended already is looked up before each attempt to launch. If one slipped in between all the same, the later job
is cancelled, and the first one counts.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from .chain import Chain, Step
from .dataflow import DataflowError, DataflowUnavailableError, JobIsActiveError, job_of, waits
from .decisions import Job, Outcome, due_steps, first_of, outcome_of
from .events import CheckEvent, JobEvent, StartEvent
from .names import JobName, is_run, parse_job_name, run_id
from .placeholders import OF_A_RUN, filled_in, step_of, values_of_run

_LOGGER = logging.getLogger(__name__)


class JobUnknownError(Exception):
    """Dataflow does not show the end of a job yet. The event has to be delivered again."""


class ChainError(Exception):
    """A request cannot be carried out, now or later; the text says why."""


class Api(Protocol):
    """What is asked of Dataflow; see `dataflow.Dataflow`."""

    def launch(self, parameter: Mapping[str, Any]) -> str: ...

    def get(self, job_id: str) -> dict[str, Any] | None: ...

    def cancel(self, job_id: str) -> None: ...

    def jobs(self, *, name: str = "", created_after: datetime | None = None) -> Iterable[Job]: ...


class Conductor:
    """Starts the steps of chains.

    Args:
        chains: by name.
        connect: returns the API for a project and region.
        patience: how many seconds to wait until Dataflow shows what an event says, or accepts a launch.
        check_hours: how long after its last change a run is still looked after by `check`.
    """

    def __init__(
        self,
        chains: Mapping[str, Chain],
        connect: Callable[[str, str], Api],
        *,
        patience: float = 60,
        check_hours: float = 24,
    ) -> None:
        self._chains = chains
        self._connect = connect
        self._patience = patience
        self._check_hours = check_hours

    def handle(self, event: JobEvent | StartEvent | CheckEvent, now: datetime) -> list[str]:
        """Do what an event asks for; return the names of the jobs that were started.

        Args:
            now: the time, aware; the id of a run that has none is made of it.

        Raises:
            JobUnknownError, DataflowUnavailableError: deliver the event again.
            ChainError, DataflowError: the event cannot be handled.
        """
        match event:
            case JobEvent():
                return self.job_changed(event)
            case StartEvent():
                return self.start(event.chain, event.run or run_id(now))
            case CheckEvent():
                return self.check(now)

    def job_changed(self, event: JobEvent) -> list[str]:
        """Start what a job's end makes due."""
        name = parse_job_name(event.job_name)
        chain = self._chains.get(name.chain) if name is not None else None
        if name is None or chain is None or name.step not in chain.steps:
            _LOGGER.info("job %s belongs to no chain: ignored", event.job_name)
            return []
        if (event.project, event.region) != (chain.project, chain.region):
            _LOGGER.info("job %s is not in the project and region of its chain: ignored", event.job_name)
            return []
        if event.state and outcome_of(event.state) is Outcome.ACTIVE:
            return []
        state = self._wait_for_end(self._api(chain), event)
        if outcome_of(state) is Outcome.FAILED:
            _LOGGER.error("job %s ended as %s: the steps after it are not started", event.job_name, state)
        return self.advance(chain, name.run)

    def start(self, chain_name: str, run: str) -> list[str]:
        """Start a run of a chain. Starting it again starts nothing that has been started."""
        chain = self._chains.get(chain_name)
        if chain is None:
            raise ChainError(f"there is no chain {chain_name}; there are {', '.join(self._chains) or 'none'}")
        if not is_run(run):
            raise ChainError(f"{run!r} is no run: give the time of its start in UTC, such as 20250722t130000")
        return self.advance(chain, run, starting=True)

    def check(self, now: datetime) -> list[str]:
        """Start steps that are due and were not started, of runs with a job that ended lately."""
        started, problems = [], []
        for chain in self._chains.values():
            for run in self._recent_runs(chain, now):
                try:
                    late = self.advance(chain, run)
                except (ChainError, DataflowError) as error:
                    problems.append(f"{chain.name}, run {run}: {error}")
                    continue
                for name in late:
                    _LOGGER.warning("job %s was due and had not been started: started now", name)
                started += late
        if problems:
            raise ChainError("; ".join(problems))
        return started

    def advance(self, chain: Chain, run: str, *, starting: bool = False) -> list[str]:
        """Start all steps of a run that are due; return the names of their jobs."""
        api = self._api(chain)
        jobs = self.jobs_of(chain, run)
        outcomes = {step: job.outcome for step, job in jobs.items()}
        started, problems = [], []
        for step in due_steps(chain, outcomes, starting=starting):
            name = JobName(chain.name, step, run)
            try:
                if self._launch(api, name, self._parameter(api, chain, chain.steps[step], name, jobs)):
                    started.append(str(name))
            except DataflowUnavailableError:
                raise
            except (DataflowError, ChainError) as error:
                # The other steps do not depend on this one.
                problems.append(f"{name}: {error}")
        if problems:
            raise ChainError("; ".join(problems))
        return started

    def jobs_of(self, chain: Chain, run: str) -> dict[str, Job]:
        """Return the jobs of a run that count, by step. Asks for each name: a list of all may be long."""
        api = self._api(chain)
        found = {step: first_of(api.jobs(name=str(JobName(chain.name, step, run)))) for step in chain.steps}
        return {step: job for step, job in found.items() if job is not None}

    def _api(self, chain: Chain) -> Api:
        return self._connect(chain.project, chain.region)

    def _recent_runs(self, chain: Chain, now: datetime) -> list[str]:
        since = now.astimezone(UTC) - timedelta(hours=self._check_hours)
        runs: dict[str, None] = {}
        # A step may have been created long before it ended.
        for job in self._api(chain).jobs(created_after=since - timedelta(hours=self._check_hours)):
            name = parse_job_name(job.name)
            if name is not None and name.chain == chain.name and (not job.ended or job.ended >= since.isoformat()[:19]):
                runs.setdefault(name.run)
        return sorted(runs)

    def _wait_for_end(self, api: Api, event: JobEvent) -> str:
        """Return the state of a job when Dataflow shows the end that an event tells of."""
        deadline = time.monotonic() + self._patience
        for wait in waits():
            body = api.get(event.job_id)
            if body is not None and (job := job_of(body)).outcome is not Outcome.ACTIVE:
                return job.state
            if time.monotonic() + wait > deadline:
                state = "does not know it" if body is None else f"says {body.get('currentState')}"
                raise JobUnknownError(f"job {event.job_name} has ended, but Dataflow {state}")
            time.sleep(wait)
        raise AssertionError("the waits have no end")

    def _parameter(self, api: Api, chain: Chain, step: Step, name: JobName, jobs: Mapping[str, Job]) -> dict[str, Any]:
        values = values_of_run(name.run, chain.time_zone)
        options: dict[str, Mapping[str, Any]] = {}

        def find(placeholder: str) -> str:
            if placeholder in OF_A_RUN:
                return values[placeholder]
            step_option = step_of(placeholder)
            assert step_option is not None, "the file was checked"
            other, option = step_option
            if other not in options:
                options[other] = _options(api.get(jobs[other].id)) if other in jobs else {}
            if option not in options[other]:
                raise ChainError(f"step {other} has no option {option}, which ${{{placeholder}}} asks for")
            return _text(options[other][option])

        parameter = filled_in(step.launch, find)
        environment = parameter.get("environment", {})
        labels = environment.get("additionalUserLabels", {}) | name.labels
        return {**parameter, "jobName": str(name), "environment": {**environment, "additionalUserLabels": labels}}

    def _launch(self, api: Api, name: JobName, parameter: Mapping[str, Any]) -> bool:
        """Launch a step unless it has a job; return whether this call did it. Never leaves two jobs of one name."""
        deadline = time.monotonic() + self._patience
        for wait in waits():
            # Also after an answer that was lost: the job may be there.
            if (there := first_of(api.jobs(name=str(name)))) is not None:
                _LOGGER.info("job %s is there: %s", name, there.state)
                return False
            try:
                job_id = api.launch(parameter)
            except JobIsActiveError:
                _LOGGER.info("job %s is being started by another event", name)
                return False
            except DataflowUnavailableError:
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)
                continue
            return self._is_first(api, name, job_id)
        raise AssertionError("the waits have no end")

    def _is_first(self, api: Api, name: JobName, job_id: str) -> bool:
        """Whether a job that was launched is the first of its name; if not, cancel it."""
        first = first_of(api.jobs(name=str(name)))
        if first is None or first.id == job_id:
            _LOGGER.info("job %s started: %s", name, job_id)
            return True
        _LOGGER.warning("job %s had already run as %s: %s is cancelled", name, first.id, job_id)
        api.cancel(job_id)
        return False


def _options(body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    options: Mapping[str, Any] = (body or {}).get("environment", {}).get("sdkPipelineOptions", {}).get("options", {})
    return options


def _text(value: Any) -> str:
    """Return an option as the text of a parameter."""
    return value if isinstance(value, str) else json.dumps(value)
