"""The clock with jobs that run: the emulator has no job that lasts, so a client of ours stands in for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.bigquery import TableReference

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.smart_sync.upper_bound import OpenTransaction
from sync_pipeline.sources.bigquery.clock import Observation, may_write, read_clock
from sync_pipeline.sources.source import SourceClock
from tests.parameter_sets import BIGQUERY

NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)


@dataclass
class Job:
    job_type: str
    minutes: int = 0
    statement_type: str | None = None
    job_id: str = "job"
    destination: TableReference | None = None

    @property
    def created(self) -> datetime:
        return NOW - timedelta(minutes=self.minutes)


@dataclass
class Client:
    jobs: list[Job] = field(default_factory=list)
    refusal: Exception | None = None
    project: str = "jobs-project"
    listed: dict[str, Any] = field(default_factory=dict)

    def query_and_wait(self, _: str, **__: Any) -> list[tuple[datetime]]:
        return [(NOW,)]

    def list_jobs(self, **options: Any) -> list[Job]:
        self.listed = options
        if self.refusal is not None:
            raise self.refusal
        return self.jobs


def read(client: Client) -> SourceClock:
    smart_sync = SyncConfig.from_parameters(
        BIGQUERY
        | {"enable_smart_sync": "true", "smart_sync_settle_seconds": "1", "smart_sync_max_hold_seconds": "3600"}
    ).smart_sync
    return read_clock(client, "tables-project", looks_at_jobs=True).source_clock(smart_sync)  # type: ignore[arg-type]


def test_the_end_settles_behind_the_clock() -> None:
    client = Client()
    clock = read(client)
    assert (clock.now, clock.upper_bound, clock.risks) == (NOW, NOW - timedelta(seconds=1), ())
    assert client.listed["project"] == "tables-project"
    assert client.listed["all_users"] is True
    assert client.listed["state_filter"] == "running"


def test_the_end_stays_before_the_oldest_job_that_may_write() -> None:
    jobs = [Job("load", 3), Job("query", 10, "INSERT", "the-oldest"), Job("query", 20, "SELECT"), Job("extract", 30)]
    clock = read(Client(jobs))
    assert clock.upper_bound == NOW - timedelta(minutes=10, seconds=1, microseconds=1)
    assert clock.risks == (
        "the end is held back to before the BigQuery job the-oldest, open since 2024-01-01 11:50:00.000000+00",
    )


def test_a_job_that_never_ends_does_not_hold_for_ever() -> None:
    clock = read(Client([Job("query", 61, None)]))
    assert clock.upper_bound == NOW - timedelta(seconds=1)
    assert "is older than smart_sync_max_hold_seconds=3600" in clock.risks[0]


def test_hidden_jobs_are_told_of() -> None:
    clock = read(Client(refusal=exceptions.Forbidden("no")))
    assert clock.upper_bound == NOW - timedelta(seconds=1)
    (warning,) = clock.risks
    assert warning == (
        "running jobs of others in tables-project are hidden: rows that one of them commits late may be missed: grant "
        "bigquery.jobs.listAll on the project (roles/bigquery.resourceViewer), or use primary_key with "
        "smart_sync_lookback_seconds"
    )


def test_any_other_failure_to_look_at_jobs_is_an_error() -> None:
    with pytest.raises(SourceUnavailableError, match="cannot list the jobs that run in tables-project"):
        read(Client(refusal=exceptions.ServiceUnavailable("gone")))


def test_without_an_interval_nobody_looks_at_jobs() -> None:
    client: Any = Client(refusal=exceptions.Forbidden("no"))
    assert read_clock(client, "tables-project", looks_at_jobs=False) == Observation(NOW)
    assert Observation(NOW).source_clock(None) == SourceClock(NOW, NOW)
    # A catalog has looked, for other tables.
    observed = Observation(NOW, (OpenTransaction(NOW - timedelta(hours=1), "a job"),), ("jobs are hidden",))
    assert observed.source_clock(None) == SourceClock(NOW, NOW)


def table(table_id: str) -> TableReference:
    return TableReference.from_string(f"project.{table_id}")


@pytest.mark.parametrize(
    ("job", "writes"),
    [
        (Job("query", statement_type="SELECT"), False),
        (Job("query", statement_type="SELECT", destination=table("_0a1b2c.anon3d4e5f")), False),
        (Job("query", statement_type="SELECT", destination=table("raw.events")), True),
        (Job("query", statement_type="SELECT", destination=table("raw.anonymous")), True),
        (Job("query", statement_type="SELECT", destination=table("_hidden.events")), True),
        (Job("query", statement_type="MERGE"), True),
        (Job("query", statement_type="SCRIPT"), True),
        (Job("query", statement_type=None), True),
        (Job("load"), True),
        (Job("copy"), True),
        (Job("extract"), False),
    ],
)
def test_may_write(job: Job, writes: bool) -> None:
    assert may_write(job) is writes
