from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing import tables
from sync_pipeline.publishing.tables import prepare_destination
from tests.plans import plan


@dataclass
class Recorded:
    """Notes the steps and the statements that would be sent to BigQuery, and the waits between them."""

    table: TableSync
    done: list[object] = field(default_factory=list)

    def query(self, sql: str, step: str) -> None:
        self.done.append((step, sql))


def test_alterations_keep_to_the_rate_of_bigquery(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Recorded(plan(alterations=tuple("abcdef")))
    monkeypatch.setattr(tables.time, "sleep", jobs.done.append)
    prepare_destination(jobs)  # type: ignore[arg-type]
    at_once = [("alter0", "a"), ("alter1", "b"), ("alter2", "c"), ("alter3", "d")]
    assert jobs.done == [*at_once, 2.5, ("alter4", "e"), 2.5, ("alter5", "f")]


def test_a_destination_that_fits_is_left_alone() -> None:
    jobs = Recorded(plan())
    prepare_destination(jobs)  # type: ignore[arg-type]
    assert jobs.done == []
