"""Any order and number of events starts each step once, and only after what it waits for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.chain.flow.chain import Chain, by_name
from orchestration.chain.flow.conductor import ChainError, Conductor, JobUnknownError
from orchestration.chain.flow.dataflow import DataflowError, DataflowUnavailableError
from orchestration.chain.flow.decisions import Job
from orchestration.chain.flow.events import CheckEvent, JobEvent, StartEvent
from tests.orchestration.chain.job_list import PROJECT, REGION, RUN, JobList, chain

NOW = datetime(2025, 7, 22, 15, tzinfo=UTC)
# extract, then two at once, then a join; `alert` when anything fails.
DIAMOND = chain(
    extract=("left right", "alert"), left=("join", "alert"), right=("join", "alert"), join=("", "alert"), alert=("", "")
)


def conductor(jobs: JobList, *chains: Chain, patience: float = 0) -> Conductor:
    return Conductor(by_name(chains or (DIAMOND,)), lambda _project, _region: jobs, patience=patience)


@pytest.fixture
def jobs() -> JobList:
    return JobList()


def test_steps_start_when_all_before_them_have_succeeded(jobs: JobList) -> None:
    chains = conductor(jobs)
    assert chains.handle(StartEvent("nightly"), datetime(2025, 7, 22, 13, tzinfo=UTC)) == [f"nightly--extract--{RUN}"]
    assert chains.handle(jobs.end("extract"), NOW) == [f"nightly--left--{RUN}", f"nightly--right--{RUN}"]
    assert chains.handle(jobs.end("right"), NOW) == []
    assert chains.handle(jobs.end("left"), NOW) == [f"nightly--join--{RUN}"]
    assert chains.handle(jobs.end("join"), NOW) == []
    assert jobs.steps == ["extract", "left", "right", "join"]
    assert jobs.launches[0]["environment"]["additionalUserLabels"] == {
        "chain": "nightly",
        "chain_step": "extract",
        "chain_run": RUN,
    }


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_after_a_failure_only_its_own_step_starts(jobs: JobList, state: str, caplog: pytest.LogCaptureFixture) -> None:
    chains = conductor(jobs)
    chains.start("nightly", RUN)
    chains.handle(jobs.end("extract"), NOW)
    assert chains.handle(jobs.end("left", state), NOW) == [f"nightly--alert--{RUN}"]
    assert f"job nightly--left--{RUN} ended as JOB_STATE_{state}: the steps after it are not started" in caplog.messages
    assert chains.handle(jobs.end("right", "FAILED"), NOW) == [], "it has been started"
    assert "join" not in jobs.steps


@pytest.mark.parametrize("seed", range(20))
def test_events_may_be_repeated_late_and_out_of_order(seed: int) -> None:
    jobs, order = JobList(), random.Random(seed)
    chains = conductor(jobs)
    past: list[JobEvent | StartEvent | CheckEvent] = [StartEvent("nightly", RUN)]
    while True:
        for event in order.choices(past, k=3) + [past[-1]] * order.randrange(2):
            chains.handle(event, NOW)
        active = [job for job in jobs.all if job.state == "JOB_STATE_RUNNING"]
        if active:
            job = order.choice(active)
            past.append(jobs.end(job.name.split("--")[1]))
        elif len(jobs.all) == 4:
            break
        else:
            # The event was lost in this order: the timer finds the step.
            chains.handle(CheckEvent(), NOW)
            if not jobs.all:
                chains.handle(past[0], NOW)
    assert sorted(jobs.steps) == ["extract", "join", "left", "right"]
    assert jobs.steps[0] == "extract"
    assert jobs.steps[-1] == "join"
    assert jobs.cancelled == []


def test_two_events_at_once_start_a_step_once(jobs: JobList) -> None:
    chains, other = conductor(jobs), conductor(jobs)
    chains.start("nightly", RUN)
    event = jobs.end("extract")
    seen: list[str] = []

    def in_between(name: str) -> None:
        # The other delivery of the event works while this one is about to launch.
        if not seen:
            seen.append(name)
            other.handle(event, NOW)

    jobs.before_launch = in_between
    assert chains.handle(event, NOW) == []
    assert jobs.steps == ["extract", "left", "right"]


def test_job_that_ended_in_between_is_not_repeated(jobs: JobList) -> None:
    # Dataflow refuses a second active job of a name, and takes one when the first has ended.
    chains, other = conductor(jobs), conductor(jobs)
    chains.start("nightly", RUN)
    event = jobs.end("extract")
    seen: list[str] = []

    def in_between(name: str) -> None:
        if not seen:
            seen.append(name)
            other.handle(event, NOW)
            jobs.end("left")

    jobs.before_launch = in_between
    assert chains.handle(event, NOW) == []
    assert jobs.steps == ["extract", "left", "right", "left"]
    assert jobs.cancelled == ["id-3"], "the later one is cancelled"
    # The first job is the one that counts.
    jobs.all[3] = replace(jobs.all[3], state="JOB_STATE_CANCELLED")
    assert chains.handle(jobs.end("right"), NOW) == [f"nightly--join--{RUN}"]


def test_launch_whose_answer_was_lost_is_not_repeated(jobs: JobList) -> None:
    def lose(_name: str) -> None:
        raise DataflowUnavailableError("connection reset")

    jobs.after_launch = lose
    assert conductor(jobs, patience=5).start("nightly", RUN) == []
    assert jobs.steps == ["extract"]


def test_launch_that_did_not_happen_is_repeated(jobs: JobList) -> None:
    failures = [DataflowUnavailableError("503")]

    def fail(_name: str) -> None:
        if failures:
            raise failures.pop()

    jobs.before_launch = fail
    assert conductor(jobs, patience=5).start("nightly", RUN) == [f"nightly--extract--{RUN}"]


def test_dataflow_that_stays_away_gives_the_event_back(jobs: JobList) -> None:
    def fail(_name: str) -> None:
        raise DataflowUnavailableError("503")

    jobs.before_launch = fail
    with pytest.raises(DataflowUnavailableError):
        conductor(jobs).start("nightly", RUN)


def test_launch_that_is_refused_does_not_stop_the_others(jobs: JobList) -> None:
    chains = conductor(jobs)
    chains.start("nightly", RUN)

    def refuse(name: str) -> None:
        if "left" in name:
            raise DataflowError("Dataflow refused it (400): the template parameters are invalid")

    jobs.before_launch = refuse
    with pytest.raises(ChainError, match=f"nightly--left--{RUN}: Dataflow refused it"):
        chains.handle(jobs.end("extract"), NOW)
    assert jobs.steps == ["extract", "right"]


def test_api_that_does_not_know_the_end_yet_is_asked_again(jobs: JobList) -> None:
    chains = conductor(jobs, patience=5)
    chains.start("nightly", RUN)
    event = jobs.end("extract")
    jobs.unknown = 2
    assert len(chains.handle(event, NOW)) == 2


@pytest.mark.parametrize("unknown", [pytest.param(99, id="unknown"), pytest.param(0, id="running")])
def test_api_that_never_knows_it_gives_the_event_back(jobs: JobList, unknown: int) -> None:
    chains = conductor(jobs)
    chains.start("nightly", RUN)
    jobs.unknown = unknown
    event = JobEvent(PROJECT, REGION, "id-0", f"nightly--extract--{RUN}")
    with pytest.raises(JobUnknownError, match=r"has ended, but Dataflow (does not know it|says JOB_STATE_RUNNING)"):
        chains.handle(event, NOW)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(JobEvent(PROJECT, REGION, "x", "some-job", "JOB_STATE_DONE"), id="another name"),
        pytest.param(JobEvent(PROJECT, REGION, "x", "my-job-1--1607050850", "JOB_STATE_DONE"), id="another suffix"),
        pytest.param(JobEvent(PROJECT, REGION, "x", f"weekly--extract--{RUN}", "JOB_STATE_DONE"), id="another chain"),
        pytest.param(JobEvent(PROJECT, REGION, "x", f"nightly--load--{RUN}", "JOB_STATE_DONE"), id="another step"),
        pytest.param(JobEvent(PROJECT, "us-east1", "x", f"nightly--extract--{RUN}"), id="another region"),
        pytest.param(JobEvent("your-project", REGION, "x", f"nightly--extract--{RUN}"), id="another project"),
        pytest.param(JobEvent(PROJECT, REGION, "x", f"nightly--extract--{RUN}", "JOB_STATE_RUNNING"), id="no end"),
    ],
)
def test_foreign_jobs_are_ignored(jobs: JobList, event: JobEvent) -> None:
    assert conductor(jobs).handle(event, NOW) == []
    assert jobs.all == []


def test_runs_and_chains_at_once_do_not_mix(jobs: JobList) -> None:
    weekly, other_run = replace(DIAMOND, name="weekly"), "20250722t130001"
    chains = conductor(jobs, DIAMOND, weekly)
    starts = [("nightly", RUN), ("weekly", RUN), ("nightly", other_run)]
    for name, run in starts:
        assert chains.start(name, run) == [f"{name}--extract--{run}"]
    assert chains.start("nightly", RUN) == [], "it has been started"
    for step, (name, run) in itertools.product(["extract", "left"], starts[:2]):
        chains.handle(jobs.end(step, chain_name=name, run=run), NOW)
    assert chains.handle(jobs.end("right", chain_name="weekly"), NOW) == [f"weekly--join--{RUN}"]
    assert [job.name for job in jobs.all if other_run in job.name] == [f"nightly--extract--{other_run}"]


def test_step_that_did_not_start_is_found_by_the_timer(jobs: JobList, caplog: pytest.LogCaptureFixture) -> None:
    chains = conductor(jobs)
    chains.start("nightly", RUN)
    jobs.end("extract")  # and the event is lost
    assert chains.handle(CheckEvent(), NOW) == [f"nightly--left--{RUN}", f"nightly--right--{RUN}"]
    assert f"job nightly--left--{RUN} was due and had not been started: started now" in caplog.messages
    assert chains.handle(CheckEvent(), NOW) == []


def test_timer_leaves_old_runs_alone(jobs: JobList) -> None:
    # A step that is added to a chain does not start for all runs of the past.
    chains = conductor(jobs)
    chains.start("nightly", RUN)
    jobs.end("extract")
    assert chains.handle(CheckEvent(), datetime(2025, 7, 24, tzinfo=UTC)) == []


def test_timer_goes_on_with_other_runs_after_an_error(jobs: JobList) -> None:
    chains = conductor(jobs, DIAMOND, replace(DIAMOND, name="weekly"))
    for name in ("nightly", "weekly"):
        chains.start(name, RUN)
        jobs.end("extract", chain_name=name)

    def refuse(name: str) -> None:
        if name.startswith("nightly"):
            raise DataflowError("refused")

    jobs.before_launch = refuse
    with pytest.raises(ChainError, match="nightly--left"):
        chains.handle(CheckEvent(), NOW)
    assert [job.name for job in jobs.all[2:]] == [f"weekly--left--{RUN}", f"weekly--right--{RUN}"]


def test_steps_get_dates_run_and_outputs(jobs: JobList) -> None:
    texts = {
        "query": "SELECT '${date}', '${previous_date}', '${time}', '{start_timestamp}', $1",
        "run": "${run}",
        "end": "${steps.extract.output_interval_end} of ${steps.extract.num_workers}",
    }
    made = chain(extract=("load", ""), load=("", ""))
    load = replace(
        made.steps["load"], launch={"parameters": texts, "environment": {"additionalUserLabels": {"a": "b"}}}
    )
    made = replace(made, time_zone="Asia/Tokyo", steps={**made.steps, "load": load})
    chains = conductor(jobs, made)
    late = "20250722t153000"
    chains.start("nightly", late)
    jobs.options["id-0"] = {"output_interval_end": "2025-07-22 13:00:00+00", "num_workers": 3}
    chains.handle(jobs.end("extract", run=late), NOW)
    assert jobs.launches[1]["parameters"] == {
        "query": "SELECT '2025-07-23', '2025-07-22', '2025-07-22T15:30:00Z', '{start_timestamp}', $1",
        "run": late,
        "end": "2025-07-22 13:00:00+00 of 3",
    }
    assert jobs.launches[1]["environment"]["additionalUserLabels"] == {
        "a": "b",
        "chain": "nightly",
        "chain_step": "load",
        "chain_run": late,
    }


def test_output_that_is_missing_is_an_error(jobs: JobList) -> None:
    made = chain(extract=("load", ""), load=("", ""))
    load = replace(made.steps["load"], launch={"parameters": {"a": "${steps.extract.output_table}"}})
    chains = conductor(jobs, replace(made, steps={**made.steps, "load": load}))
    chains.start("nightly", RUN)
    with pytest.raises(ChainError, match="step extract has no option output_table"):
        chains.handle(jobs.end("extract"), NOW)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        pytest.param(lambda c: c.start("weekly", RUN), "there is no chain weekly; there are nightly", id="chain"),
        pytest.param(lambda c: c.start("nightly", "today"), "'today' is no run: give the time of its start", id="run"),
        pytest.param(lambda c: c.start("nightly", "20251322t000000"), "is no run", id="no date"),
    ],
)
def test_start_that_is_wrong(jobs: JobList, act: Callable[[Conductor], Any], message: str) -> None:
    with pytest.raises(ChainError, match=message):
        act(conductor(jobs))


def test_first_of_several_steps_without_any_before_them(jobs: JobList) -> None:
    made = chain(a=("c", ""), b=("c", ""), c=("", ""))
    jobs.all = [Job("x", f"nightly--a--{RUN}", "JOB_STATE_RUNNING", "2025-07-22T13:00:00Z")]
    # The start was interrupted after the first one.
    assert conductor(jobs, made).check(NOW) == [f"nightly--b--{RUN}"]
