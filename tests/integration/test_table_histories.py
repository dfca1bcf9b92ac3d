"""Random histories of several tables in one run, some of which fail: nothing is lost, and nobody else suffers.

A failure prints its history; `TableWorld.play` plays it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from google.cloud import bigquery

from sandbox import Endpoints
from tests.integration import protections
from tests.integration.histories import Begin, Commit
from tests.integration.history_sites import ViolationError
from tests.integration.random_histories import play_random
from tests.integration.table_histories import TableWorld
from tests.integration.table_history_strategies import table_histories
from tests.integration.table_operations import (
    Break,
    Damage,
    Insert,
    Operation,
    Plan,
    Publish,
    Stage,
    Trouble,
    Truncate,
    sync,
)


@pytest.fixture(scope="module")
def world(endpoints: Endpoints, bigquery_client: bigquery.Client) -> Iterator[TableWorld]:
    with TableWorld.opened(endpoints, bigquery_client) as world:
        yield world


# Parts, for the processes of the tests to share. The time is for the histories of a failure, which are cut down.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(3))
def test_random_histories_of_several_tables(world: TableWorld, part: int) -> None:
    play_random(table_histories(), world.play, count=3, first_seed=part)


UNFIT = Break("events", Damage.UNFIT)
# The first table that is published is `clicks`: it is created, looked at and loaded.
REFUSED = Publish(0, 1, Trouble.REFUSED)
LOADED = Publish(0, 3, Trouble.KILLED_AT_CALL)


@pytest.mark.parametrize(
    ("remove", "history", "words"),
    [
        pytest.param(
            protections.without_shared_job_id,
            [Insert("clicks"), Plan(0), Plan(1), Stage(0), Stage(1), LOADED, Publish(1)],
            "versions more than once",
            id="shared job id",
        ),
        pytest.param(
            protections.with_start_included,
            [Insert("clicks"), *sync(), Insert("clicks")],
            "versions more than once",
            id="excluded start",
        ),
        pytest.param(
            protections.without_commit_safe_end,
            [Begin(0), Insert("clicks"), Insert("clicks", transaction=0), *sync(), Commit(0)],
            "has none",
            id="commit-safe end",
        ),
        pytest.param(
            protections.with_a_late_clock,
            [Plan(0), Insert("people"), Stage(0)],
            "rows that the source did not have",
            id="the clock is read first",
        ),
        pytest.param(
            protections.with_a_lost_file_and_no_count, [Insert("events", 4)], "loaded 5 rows .*, but events", id="count"
        ),
        pytest.param(
            protections.with_early_clean_up,
            [Insert("clicks"), Plan(0), Stage(0), REFUSED, Publish(0)],
            "clicks.* were not published, and nothing was wrong",
            id="clean-up after success",
        ),
        pytest.param(protections.without_clean_up, [Insert("prices")], "left over", id="clean-up"),
        pytest.param(
            protections.with_failed_tables_published,
            [Insert("prices"), *sync(), Break("prices", Damage.UNFIT), *sync()],
            "prices could not be read, and is published",
            id="a table that failed is not published",
        ),
        pytest.param(
            protections.with_half_a_failure,
            [Insert("events", 4), *sync(), UNFIT, *sync()],
            "events could not be read, and is published",
            id="nor are its other splits",
        ),
        pytest.param(
            protections.with_one_failure_for_all,
            [Insert("events"), UNFIT, *sync()],
            "'people', 'prices'.* were not published",
            id="a table fails alone",
        ),
        pytest.param(
            protections.with_early_manifests,
            [
                Insert("events", 2),
                Insert("people", 2),
                Insert("clicks", 2),
                Plan(0),
                Stage(0, 1, Trouble.KILLED),
                Stage(0),
            ],
            "rows that were not staged",
            id="manifests are complete",
        ),
    ],
)
def test_without_the_protection_the_history_goes_wrong(
    world: TableWorld,
    remove: Callable[[], AbstractContextManager[Any]],
    history: Sequence[Operation],
    words: str,
) -> None:
    with remove(), pytest.raises(ViolationError, match=words):
        world.play(history)


def test_a_table_that_another_run_has_created_is_emptied(world: TableWorld) -> None:
    """The run that found it empty is the last to replace it, though there was no table when it was planned."""
    events = [Insert("events"), Plan(0), Plan(1), Stage(0), Truncate("events"), Stage(1), Publish(0), Publish(1)]
    assert world.play(events) == 0
