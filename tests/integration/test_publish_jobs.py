"""Of runs that share a job id one gets through, whatever became of those before: against the server's own jobs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_api import jobs
from sync_pipeline.bigquery_api.job_records import TRANSIENT_REASONS, job_labels
from sync_pipeline.bigquery_api.jobs import FinishedJob, JobRequest, find_concurrent_job, finish_job
from sync_pipeline.errors import ConcurrentSyncError, PublishError, PublishUnavailableError
from sync_pipeline.planning.destination import bigquery_clock

FAILS = "SELECT ERROR('no such thing')"
FAR_FUTURE = datetime(2999, 1, 1, tzinfo=UTC)
FAR_PAST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Runs:
    """Runs that publish under one id. `begun` counts what was sent to BigQuery."""

    client: bigquery.Client
    shared_id: str = field(default_factory=lambda: f"sync-{uuid.uuid4().hex}")
    begun: list[str] = field(default_factory=list)

    def request(
        self, run_id: str, observed_at: datetime | None = FAR_PAST, max_retries: int = 0, repeatable: bool = False
    ) -> JobRequest:
        action = "publish the rows of p.d.t"
        return JobRequest(self.shared_id, run_id, "US", action, max_retries, observed_at, repeatable=repeatable)

    def begin(self, run_id: str, sql: str = "SELECT 1") -> Callable[[str], Any]:
        def run(job_id: str) -> Any:
            self.begun.append(job_id.removeprefix(f"{self.shared_id}-"))
            config = bigquery.QueryJobConfig(labels=job_labels(run_id, "postgresql"))
            return self.client.query(sql, job_id=job_id, location="US", job_config=config, job_retry=None)

        return run

    def finish(self, run_id: str, sql: str = "SELECT 1", observed_at: datetime | None = FAR_PAST) -> FinishedJob:
        return finish_job(self.client, self.request(run_id, observed_at), self.begin(run_id, sql))

    def fail(self, run_id: str, observed_at: datetime | None = FAR_PAST) -> str:
        with pytest.raises(PublishError) as caught:
            self.finish(run_id, FAILS, observed_at)
        return str(caught.value)

    def job_ids(self) -> list[str]:
        """Return the attempts that BigQuery knows."""
        found = [job.job_id for job in self.client.list_jobs(max_results=100_000)]
        return sorted(each.removeprefix(f"{self.shared_id}-") for each in found if each.startswith(self.shared_id))


@pytest.fixture
def runs(bigquery_client: bigquery.Client) -> Runs:
    return Runs(bigquery_client)


def test_a_job_that_succeeds(runs: Runs) -> None:
    finished = runs.finish("run_1")
    assert finished.is_ours
    assert finished.job.job_id == f"{runs.shared_id}-r0"
    assert [tuple(row) for row in finished.job.result()] == [(1,)]


def test_of_two_runs_one_wins(runs: Runs) -> None:
    assert runs.finish("run_1").is_ours
    second = runs.finish("run_2")
    assert not second.is_ours
    assert (second.job.job_id, second.job.labels["sync_run"]) == (f"{runs.shared_id}-r0", "run_1")
    assert runs.job_ids() == ["r0"]


def test_of_runs_at_the_same_time_one_wins(runs: Runs) -> None:
    results: list[FinishedJob] = []
    together = Barrier(4)

    def run(number: int) -> None:
        together.wait()
        results.append(runs.finish(f"run_{number}"))

    threads = [Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.is_ours for result in results) == [False, False, False, True]
    assert len({result.job.labels["sync_run"] for result in results}) == 1
    assert runs.job_ids() == ["r0"]


def test_what_succeeded_before_the_run_looked_does_not_stop_it(runs: Runs) -> None:
    runs.finish("run_1")
    later = runs.finish("run_2", observed_at=FAR_FUTURE)
    assert later.is_ours
    assert later.job.job_id == f"{runs.shared_id}-r1"


def test_the_servers_own_clock_tells_before_from_after(runs: Runs) -> None:
    before = bigquery_clock(runs.client, "US")
    runs.finish("run_1")
    after = bigquery_clock(runs.client, "US")
    assert not runs.finish("run_2", observed_at=before).is_ours
    assert runs.finish("run_3", observed_at=after).is_ours


def test_the_last_success_decides(runs: Runs) -> None:
    runs.finish("run_1")
    runs.finish("run_2", observed_at=FAR_FUTURE)
    third = runs.finish("run_3", observed_at=FAR_PAST)
    assert (third.is_ours, third.job.labels["sync_run"]) == (False, "run_2")


def test_another_run_that_failed_lets_the_next_through(runs: Runs) -> None:
    assert "no such thing" not in runs.fail("run_1")
    second = runs.finish("run_2")
    assert second.is_ours
    assert second.job.job_id == f"{runs.shared_id}-r1"


def test_a_success_before_a_failure_still_decides(runs: Runs) -> None:
    runs.finish("run_1")
    runs.fail("run_2", observed_at=FAR_FUTURE)
    third = runs.finish("run_3")
    assert (third.is_ours, third.job.labels["sync_run"]) == (False, "run_1")


def test_ids_that_are_spent_are_skipped_in_strides(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        runs.begin(f"run_{number}")(f"{runs.shared_id}-r{number}").result()
    runs.begun.clear()
    asked: list[int] = []
    is_taken = jobs._is_taken
    monkeypatch.setattr(jobs, "_is_taken", lambda *args: (asked.append(args[2]), is_taken(*args))[1])
    finished = runs.finish("run_20", observed_at=FAR_FUTURE)
    assert finished.is_ours
    assert runs.begun == ["r0", "r20"]
    assert asked == [1, 3, 7, 15, 31, 23, 19, 21, 20]


@pytest.mark.parametrize("spent", range(1, 10))
def test_the_first_free_id(runs: Runs, monkeypatch: pytest.MonkeyPatch, spent: int) -> None:
    monkeypatch.setattr(jobs, "_is_taken", lambda _client, _request, attempt: attempt < spent)
    assert jobs._first_free(runs.client, runs.request("run_1"), 0) == spent


def test_a_repeated_step_finds_its_own_job(runs: Runs) -> None:
    first = runs.begin("run_1")(f"{runs.shared_id}-r0")
    again = runs.finish("run_1")
    assert again.is_ours
    assert again.job.job_id == first.job_id
    assert runs.job_ids() == ["r0"]


def test_a_repeated_step_finds_its_own_job_behind_another_runs(runs: Runs) -> None:
    runs.fail("run_1")
    assert runs.finish("run_2").job.job_id == f"{runs.shared_id}-r1"
    again = runs.finish("run_2")
    assert (again.is_ours, again.job.job_id) == (True, f"{runs.shared_id}-r1")
    assert runs.job_ids() == ["r0", "r1"]


def test_a_repeated_step_finds_its_own_failure(runs: Runs) -> None:
    message = runs.fail("run_1")
    with pytest.raises(PublishError) as caught:
        runs.finish("run_1")
    assert str(caught.value) == message
    assert runs.job_ids() == ["r0"]


def test_a_repeated_step_finds_its_own_failure_behind_another_runs(runs: Runs) -> None:
    runs.fail("run_1")
    runs.fail("run_2")
    with pytest.raises(PublishError, match=f"job {runs.shared_id}-r1 in US"):
        runs.finish("run_2")
    assert runs.job_ids() == ["r0", "r1"]


def test_a_run_is_known_by_its_id_in_small_letters(runs: Runs) -> None:
    runs.finish("20250722T150000_0a1b2c3d")
    assert runs.finish("20250722T150000_0a1b2c3d").is_ours


def test_the_message_of_a_failure(runs: Runs) -> None:
    message = runs.fail("run_1")
    assert message.startswith("BigQuery: cannot publish the rows of p.d.t: ")
    assert message.endswith(f" (job {runs.shared_id}-r0 in US); nothing was published")
    assert "\n" not in message
    assert "http" not in message


class FailedJob:
    """A job that BigQuery could not finish; the sandbox's always can."""

    errors: tuple[Any, ...] = ()

    def __init__(self, job_id: str, reason: str) -> None:
        self.job_id = job_id
        self.error_result = {"reason": reason, "message": "try later"}

    state = "DONE"

    def exception(self) -> Exception:
        return exceptions.InternalServerError("try later")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(jobs.time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize("reason", sorted(TRANSIENT_REASONS))
def test_a_passing_failure_is_tried_again_under_the_next_id(runs: Runs, slept: list[float], reason: str) -> None:
    begin = runs.begin("run_1")
    ids: list[str] = []

    def begin_in_vain_twice(job_id: str) -> Any:
        ids.append(job_id.removeprefix(f"{runs.shared_id}-"))
        return FailedJob(job_id, reason) if len(ids) < 3 else begin(job_id)

    finished = finish_job(runs.client, runs.request("run_1", max_retries=2), begin_in_vain_twice)
    assert finished.is_ours
    assert ids == ["r0", "r1", "r2"]
    assert slept == [1, 2]


def test_passing_failures_end_with_the_retries(runs: Runs, slept: list[float]) -> None:
    with pytest.raises(PublishError) as caught:
        finish_job(runs.client, runs.request("run_1", max_retries=1), lambda job_id: FailedJob(job_id, "backendError"))
    assert str(caught.value) == (
        f"BigQuery: cannot publish the rows of p.d.t: try later (job {runs.shared_id}-r1 in US); nothing was published"
    )
    assert slept == [1]


def test_a_lasting_failure_is_not_tried_again(runs: Runs, slept: list[float]) -> None:
    with pytest.raises(PublishError):
        finish_job(runs.client, runs.request("run_1", max_retries=9), lambda job_id: FailedJob(job_id, "invalid"))
    assert slept == []


def test_a_job_that_nobody_shows(runs: Runs, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_VISIBLE_SECONDS", -1)

    def refuse(job_id: str) -> Any:
        raise exceptions.Conflict("already exists")

    with pytest.raises(ConcurrentSyncError) as caught:
        finish_job(runs.client, runs.request("run_1"), refuse)
    assert str(caught.value) == (
        f"BigQuery: cannot publish the rows of p.d.t: another run holds job {runs.shared_id}-r0, and BigQuery does not "
        "show it: look at the destination, then run the job again"
    )
    assert slept == []


@pytest.mark.parametrize(
    ("forgotten", "shown", "begun", "free"),
    [
        pytest.param(1, 1, ["r0"], "r1", id="one"),
        pytest.param(6, 6, ["r0", "r1", "r3"], "r7", id="several"),
        pytest.param(2, 9, ["r0", "r1", "r3"], "r9", id="several, with later ones"),
    ],
)
def test_a_repeatable_job_goes_on_behind_ids_whose_jobs_nobody_shows(
    runs: Runs,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
    forgotten: int,
    shown: int,
    begun: list[str],
    free: str,
) -> None:
    monkeypatch.setattr(jobs, "_VISIBLE_SECONDS", 0)
    for number in range(shown):
        runs.begin("run_1")(f"{runs.shared_id}-r{number}")
    runs.begun.clear()
    get_job = runs.client.get_job
    hidden = {f"{runs.shared_id}-r{number}" for number in range(forgotten)}

    def forgetful(job_id: str, **options: Any) -> Any:
        if job_id in hidden:
            raise exceptions.NotFound("gone")
        return get_job(job_id, **options)

    monkeypatch.setattr(runs.client, "get_job", forgetful)
    request = runs.request("run_2", observed_at=FAR_FUTURE, repeatable=True)
    finished = finish_job(runs.client, request, runs.begin("run_2"))
    assert (finished.is_ours, finished.job.job_id) == (True, f"{runs.shared_id}-{free}")
    assert runs.begun == [*begun, free]
    # The same step once more finds its job.
    again = finish_job(runs.client, request, runs.begin("run_2"))
    assert again.job.job_id == finished.job.job_id


@pytest.fixture
def running(runs: Runs) -> Callable[[str], Any]:
    """Begin a job that is said to run when it is begun, as jobs of the service are."""
    begin = runs.begin("run_1")

    def begin_running(job_id: str) -> Any:
        job = begin(job_id)
        job._properties["status"] = {"state": "RUNNING"}
        return job

    return begin_running


def test_a_running_job_is_looked_at_until_it_has_ended(
    runs: Runs, slept: list[float], running: Callable[[str], Any]
) -> None:
    assert finish_job(runs.client, runs.request("run_1"), running).job.state == "DONE"
    assert slept == [0.1]


@pytest.mark.parametrize(("seconds", "polls"), [(2.1, 13), (60, 44), (3600, 400)])
def test_the_end_of_a_job_is_noticed_after_a_tenth_of_its_time(
    runs: Runs,
    slept: list[float],
    running: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    polls: int,
) -> None:
    get_job = runs.client.get_job

    def still_running(job_id: str, **options: Any) -> Any:
        return get_job(job_id, **options) if sum(slept) >= seconds else running_job

    running_job = running(f"{runs.shared_id}-r0")
    monkeypatch.setattr(runs.client, "get_job", still_running)
    finish_job(runs.client, runs.request("run_1"), lambda _: running_job)
    assert sum(slept) - seconds <= 0.1 * (seconds + 1)
    assert max(slept) <= 10
    assert len(slept) <= polls


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(exceptions.RetryError("Timeout of 600.0s exceeded", exceptions.BadGateway("x")), id="given up"),
        pytest.param(requests.ConnectionError("x"), id="no connection"),
        pytest.param(exceptions.ServiceUnavailable("x"), id="503"),
    ],
)
def test_a_look_that_fails_says_nothing_of_the_job(
    runs: Runs,
    slept: list[float],
    running: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(runs.client, "get_job", fail)
        with pytest.raises(PublishUnavailableError, match="which may still succeed"):
            finish_job(runs.client, runs.request("run_1"), running)
    # The next attempt finds the job, which has published meanwhile.
    assert runs.finish("run_1").is_ours
    assert runs.job_ids() == ["r0"]


def test_a_failed_look_at_another_runs_job_lets_nobody_publish(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.finish("run_1")
    get_job = runs.client.get_job
    looks = iter([get_job, get_job])

    def fail_at_third(*arguments: Any, **options: Any) -> Any:
        look = next(looks, None)
        if look is None:
            raise exceptions.RetryError("Timeout of 120.0s exceeded", exceptions.BadGateway("x"))
        return look(*arguments, **options)

    monkeypatch.setattr(runs.client, "get_job", fail_at_third)
    with pytest.raises(PublishUnavailableError):
        runs.finish("run_2")
    assert runs.begun == ["r0", "r0"]


def test_an_attempt_goes_on_behind_transient_failures_of_earlier_ones(
    runs: Runs, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.fail("run_1")
    monkeypatch.setattr(jobs, "is_transient", lambda job: True)
    assert runs.finish("run_1").job.job_id == f"{runs.shared_id}-r1"
    assert slept == []


def test_find_concurrent_job(runs: Runs) -> None:
    assert find_concurrent_job(runs.client, runs.request("run_1")) is None
    runs.fail("run_1")
    assert find_concurrent_job(runs.client, runs.request("run_2")) is None
    runs.finish("run_2")
    concurrent_job = find_concurrent_job(runs.client, runs.request("run_3"))
    assert concurrent_job is not None
    assert concurrent_job.labels["sync_run"] == "run_2"
    assert find_concurrent_job(runs.client, runs.request("run_3", observed_at=FAR_FUTURE)) is None
    assert find_concurrent_job(runs.client, runs.request("run_2")) is None
    assert runs.job_ids() == ["r0", "r1"]


def test_the_clock_runs(runs: Runs) -> None:
    first, second = bigquery_clock(runs.client, "US"), bigquery_clock(runs.client, "US")
    assert first <= second
    assert abs(second - datetime.now(UTC)) < timedelta(minutes=1)
