"""What is shown for PostgreSQL elsewhere holds for the other sources too: runs that are killed, and two at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing, finished
from tests.integration.test_sync_crashes import CLEANING, SMART, kill

STAGED = [
    "planned",
    "reading",
    "file staged",
    "staging table created",
    "staging table loaded",
    "merge begun",
    *CLEANING,
]
# Nothing is staged, so there is nothing to remove.
SELECTED = ["planned", "merge begun", "published"]
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Origin:
    """A source with two rows, of which one changes and a third comes.

    Attributes:
        fixture: which has runs from there.
        reading: the step at which the first rows have come.
        steps: of a run that merges.
    """

    name: str
    fixture: str
    key: str
    fill: Callable[[Any], None]
    change: Callable[[Any], None]
    steps: list[str]
    reading: str = ""
    way: str = ""

    def of(self, request: pytest.FixtureRequest) -> Syncing:
        syncing = request.getfixturevalue(self.fixture)
        self.fill(syncing)
        return syncing.by(self.way) if self.way else syncing

    @property
    def parameters(self) -> dict[str, str]:
        return {"primary_key": self.key}


def fill_collection(syncing: MongodbSyncing) -> None:
    syncing.insert(*({"_id": number, "note": "old", "updated_at": LONG_AGO} for number in (1, 2)))


def change_collection(syncing: MongodbSyncing) -> None:
    now = datetime.now(UTC) - timedelta(milliseconds=1)
    syncing.collection.update_one({"_id": 2}, {"$set": {"note": "changed", "updated_at": now}})
    syncing.insert({"_id": 3, "note": "new", "updated_at": now})


def fill_table(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE items (id INT64, note STRING, updated_at TIMESTAMP)")
    syncing.at_source(
        "INSERT INTO items SELECT id, 'old', TIMESTAMP '2024-01-01 00:00:00+00' FROM UNNEST([1, 2]) AS id"
    )


def change_table(syncing: BigquerySyncing) -> None:
    syncing.at_source("UPDATE items SET note = 'changed', updated_at = CURRENT_TIMESTAMP() WHERE id = 2")
    syncing.at_source("INSERT INTO items VALUES (3, 'new', CURRENT_TIMESTAMP())")


ORIGINS = [
    Origin("mongodb", "mongodb_syncing", "_id", fill_collection, change_collection, STAGED, "documents read"),
    Origin("bigquery, query", "bigquery_syncing", "id", fill_table, change_table, SELECTED, way="query"),
    Origin(
        "bigquery, storage_api", "bigquery_syncing", "id", fill_table, change_table, STAGED, "rows read", "storage_api"
    ),
]


@pytest.mark.parametrize(
    ("origin", "step"),
    [pytest.param(origin, step, id=f"{origin.name}-{step}") for origin in ORIGINS for step in origin.steps],
)
def test_a_run_that_is_killed_is_made_good_by_the_next(
    request: pytest.FixtureRequest, origin: Origin, step: str
) -> None:
    syncing = origin.of(request)
    syncing.smart(**origin.parameters).succeeded()
    origin.change(syncing)
    kill(syncing, origin.reading if step == "reading" else step, {**SMART, **origin.parameters})
    syncing.smart(**origin.parameters).succeeded()
    assert syncing.query("SELECT * EXCEPT (updated_at) FROM items ORDER BY 1") == [
        (1, "old"),
        (2, "changed"),
        (3, "new"),
    ]
    assert syncing.left_over() == []


@pytest.mark.parametrize("origin", ORIGINS, ids=lambda origin: origin.name)
def test_two_processes_at_the_same_moment(request: pytest.FixtureRequest, origin: Origin) -> None:
    syncing = origin.of(request)
    without_a_key = {
        "enable_smart_sync": "true",
        **({"mongodb_projection": '{"_id": 0}'} if origin.key == "_id" else {}),
    }
    processes = [syncing.begin_process(**without_a_key) for _ in range(2)]
    runs = [finished(process).succeeded() for process in processes]
    # One is too late to publish, or came so late that there was nothing new any more.
    assert sorted(run.rows_loaded for run in runs) == [0, 2]
    assert syncing.column("SELECT note FROM items") == ["old", "old"]
    assert syncing.left_over() == []
