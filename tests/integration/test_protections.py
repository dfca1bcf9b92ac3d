"""Each protection is needed: a short history goes wrong without it, and ends well with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from google.cloud import bigquery

from sandbox import Endpoints
from sync_pipeline.errors import PublishError, SourceQueryError
from tests.integration import protections
from tests.integration.histories import (
    Begin,
    Commit,
    Delete,
    Insert,
    Mode,
    Operation,
    Plan,
    PlanReconcile,
    Publish,
    Spoil,
    Stage,
    Update,
    Vanish,
    World,
    sync,
)
from tests.integration.history_sites import Stamp, ViolationError

# Publishing ends with these calls: the run is killed before it tidies up.
LOADED, MERGED = 3, 4
# Rows and keys are loaded first. A job more would delete what is gone.
DELETED_LATE = 7

LATE_COMMIT = [Begin(0), Insert(transaction=0), Insert(), *sync(), Commit(0)]
LATE_WRITE = [Begin(0), Insert(), *sync(), Insert(transaction=0), Commit(0)]
TWO_RUNS = [
    *(Insert(), Plan(0), Plan(1), Stage(0), Stage(1)),
    *(Publish(0, calls=LOADED), Publish(1)),
]
# A row of somebody else moves the destination on, so that run 1 starts from another timestamp than run 0. Its last row
# moves it on again: the one that run 0 overwrites is not read any more.
OVERTAKEN = [
    *(Insert(), *sync(2), Update(0), Plan(0), Stage(0)),
    *(Spoil(stamp=Stamp.NOW), Update(0), Insert(), Plan(1), Stage(1)),
    *(Publish(1, calls=MERGED), Publish(0)),
]
BOUNDARY = [Insert(), *sync(), Insert()]
BEHIND = [Insert(), Plan(0), Stage(0), Plan(0), Stage(0), Insert()]
TWO_FILES = [Insert(5)]

REPORT = (PlanReconcile(1, "report"), Stage(1), Publish(1))
THREE_RUNS = [Insert(), *sync(), Insert(), *sync(), Insert()]
EMPTIED = [Insert(4), *sync(), Vanish()]
KILLED_DELETION = [Insert(2), *sync(), Delete(0), Insert(), Plan(), Stage(), Publish(calls=DELETED_LATE)]
KILLED_REPAIR = [
    *(Insert(2), *sync(), Spoil(None), Spoil(0)),
    *(PlanReconcile(), Stage(), Publish(calls=MERGED)),
]
NOT_YET_SYNCED = [Insert(), *sync(), Insert(), *REPORT]
BEHIND_A_RUN = [Insert(), *sync(), *REPORT[:2], Update(), *sync(), REPORT[2]]
OLDER_VERSION = [Insert(), *sync(), Update(), *sync(), *REPORT]
DELETED = [Insert(2), *sync(), Delete(), *REPORT]
REMOVED_MEANWHILE = [Insert(2), *sync(), *REPORT[:2], Delete(), *sync(), REPORT[2]]


@pytest.fixture(scope="module")
def world(endpoints: Endpoints, bigquery_client: bigquery.Client) -> Iterator[World]:
    with World.opened(endpoints, bigquery_client) as world:
        yield world


@pytest.mark.parametrize(
    ("remove", "mode", "history", "words"),
    [
        pytest.param(
            protections.without_commit_safe_end, Mode.APPEND, LATE_COMMIT, "has none", id="commit-safe end, append"
        ),
        pytest.param(
            protections.without_commit_safe_end, Mode.MERGE, LATE_WRITE, "has none", id="commit-safe end, merge"
        ),
        pytest.param(protections.with_writers_only, Mode.APPEND, LATE_WRITE, "has none", id="open, append"),
        pytest.param(protections.with_writers_only, Mode.MERGE, LATE_WRITE, "has none", id="open, merge"),
        pytest.param(
            protections.without_shared_job_id, Mode.APPEND, TWO_RUNS, "versions more than once", id="shared job id"
        ),
        pytest.param(
            protections.with_start_included, Mode.APPEND, BOUNDARY, "versions more than once", id="excluded start"
        ),
        pytest.param(
            protections.with_steps_from_the_start, Mode.APPEND_STEPS, BOUNDARY, "do not end", id="steps, empty stretch"
        ),
        pytest.param(protections.without_a_last_step, Mode.MERGE_STEPS, BEHIND, "with nobody about", id="steps, end"),
        pytest.param(protections.without_newer_wins, Mode.MERGE, OVERTAKEN, "rows that differ", id="newer wins"),
        pytest.param(protections.with_earlier_keys, Mode.REMOVE, THREE_RUNS, "has none", id="key order"),
        pytest.param(
            protections.without_limit_of_deletions,
            Mode.REMOVE,
            EMPTIED,
            "0 of 4 in the destination",
            id="deletion limit",
        ),
        pytest.param(
            protections.with_deletions_of_their_own, Mode.REMOVE, KILLED_DELETION, "are not gone", id="one change"
        ),
        pytest.param(
            protections.without_limit_of_repairs, Mode.MERGE, EMPTIED, "0 of 4 in the destination", id="repair limit"
        ),
        pytest.param(
            protections.with_repairs_in_two_changes, Mode.MERGE, KILLED_REPAIR, "repair leaves", id="repair, one change"
        ),
        pytest.param(protections.with_new_rows_compared, Mode.MERGE, NOT_YET_SYNCED, "missing=1", id="new rows"),
        pytest.param(protections.with_later_rows_compared, Mode.MERGE, BEHIND_A_RUN, "different=1", id="later rows"),
        pytest.param(
            protections.with_older_versions_compared, Mode.APPEND, OLDER_VERSION, "surplus=1", id="older versions"
        ),
        pytest.param(protections.with_deleted_rows_compared, Mode.REMOVE, DELETED, "surplus=1", id="deleted rows"),
        pytest.param(
            protections.without_question_for_other_runs, Mode.REMOVE, REMOVED_MEANWHILE, "missing=1", id="removed rows"
        ),
    ],
)
def test_without_the_protection_the_history_goes_wrong(
    world: World,
    remove: Callable[[], AbstractContextManager[Any]],
    mode: Mode,
    history: Sequence[Operation],
    words: str,
) -> None:
    assert world.play(history, mode) > 0
    with remove(), pytest.raises(ViolationError, match=words):
        world.play(history, mode)


def test_a_transaction_that_has_written_is_seen_by_either_rule(world: World) -> None:
    with protections.with_writers_only():
        assert world.play(LATE_COMMIT, Mode.APPEND) == 2


def test_a_query_that_reads_its_start_again_is_stopped_before_it_stages(world: World) -> None:
    with (
        protections.with_start_included_by_the_query(),
        pytest.raises(SourceQueryError, match="outside the interval"),
    ):
        world.play(BOUNDARY, Mode.APPEND)


@pytest.mark.parametrize("mode", [pytest.param(Mode.APPEND, id="append"), pytest.param(Mode.MERGE, id="merge")])
def test_rows_that_bigquery_loses_fail_the_run(world: World, mode: Mode) -> None:
    with protections.with_a_lost_file(), pytest.raises(PublishError, match="but 5 were staged"):
        world.play(TWO_FILES, mode)


def test_rows_that_bigquery_loses_are_missed_without_the_count(world: World) -> None:
    with protections.with_a_lost_file_and_no_count(), pytest.raises(ViolationError, match="has none"):
        world.play(TWO_FILES, Mode.APPEND)


def test_a_statement_counts_the_staged_rows_itself(world: World) -> None:
    with (
        protections.with_a_lost_file_and_no_count(),
        pytest.raises(PublishError, match="the staging table does not hold the 5 rows that were staged"),
    ):
        world.play(TWO_FILES, Mode.MERGE)
