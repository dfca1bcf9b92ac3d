"""Random histories of source, destination and runs: nothing is lost, nothing is there twice.

A failure prints its history; `World.play` plays it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from google.cloud import bigquery

from sandbox import Endpoints
from tests.integration.histories import Mode, World
from tests.integration.history_sources import WORLDS
from tests.integration.history_strategies import histories
from tests.integration.random_histories import play_random


@pytest.fixture(scope="module")
def world(endpoints: Endpoints, bigquery_client: bigquery.Client) -> Iterator[World]:
    with World.opened(endpoints, bigquery_client) as world:
        yield world


# Parts, for the processes of the tests to share: 220 histories.
# The time is for the histories of a failure, which are cut down one by one.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("mode", "part"),
    [
        *(pytest.param(Mode.APPEND, part, id=f"append-{part}") for part in range(3)),
        *(pytest.param(Mode.MERGE, part, id=f"merge-{part}") for part in range(6, 8)),
        *(pytest.param(Mode.REMOVE, part, id=f"remove-{part}") for part in range(10, 12)),
        *(pytest.param(Mode.MARK, part, id=f"mark-{part}") for part in range(12, 14)),
        *(pytest.param(Mode.APPEND_STEPS, part, id=f"append-steps-{part}") for part in range(14, 15)),
        *(pytest.param(Mode.MERGE_STEPS, part, id=f"merge-steps-{part}") for part in range(15, 16)),
    ],
)
def test_random_histories_lose_nothing_and_repeat_nothing(world: World, mode: Mode, part: int) -> None:
    play_random(histories(deletes=mode.deletes), partial(world.play, mode=mode), count=20, first_seed=part)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("source", "mode"),
    [
        pytest.param("mongodb", Mode.REMOVE, id="mongodb-remove"),
        pytest.param("mongodb", Mode.MARK, id="mongodb-mark"),
        pytest.param("bigquery", Mode.REMOVE, id="bigquery-remove"),
        pytest.param("pushdown", Mode.MARK, id="pushdown-mark"),
    ],
)
def test_random_histories_of_other_sources_keep_what_these_have(
    endpoints: Endpoints, bigquery_client: bigquery.Client, source: str, mode: Mode
) -> None:
    with WORLDS[source].opened(endpoints, bigquery_client) as world:
        some = histories(deletes=True, sessions=False)
        play_random(some, partial(world.play, mode=mode), count=4, first_seed=len(source))
