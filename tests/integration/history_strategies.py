"""Random histories: several actors, each with a script, whose steps come in any order between each other's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.integration.histories import (
    Begin,
    Commit,
    Damage,
    Delete,
    Harm,
    Insert,
    Operation,
    Plan,
    PlanBackfill,
    PlanReconcile,
    Prepare,
    Publish,
    Reinsert,
    Rollback,
    SetBack,
    Spoil,
    Stage,
    StageKeys,
    Update,
    UpdateAll,
    Vanish,
)
from tests.integration.history_sites import Stamp

MOST_ACTORS = 5
MOST_CALLS = 7

_ROWS = st.integers(0, 5)
_STAMPS = st.sampled_from((Stamp.NOW, Stamp.NOW, Stamp.NOW, Stamp.NULL, Stamp.FUTURE))
CLOCKS = st.sampled_from(
    (
        datetime(2025, 7, 22, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC),
    )
)
_CALLS = st.integers(0, MOST_CALLS)
_SPOILS = st.builds(Spoil, st.none() | _ROWS)
_LISTS_OF_SPOILS = st.lists(_SPOILS, max_size=2)
_FIRST_ROWS = st.integers(1, 4)
_PLACES = st.integers(0, 4)
_BOOLEANS = st.booleans()
_VERBS = st.sampled_from(("report", "repair", "repair"))
_ENDS: st.SearchStrategy[Sequence[Operation]] = st.one_of(
    st.lists(st.builds(Damage, st.sampled_from(Harm), _ROWS), max_size=3),
    st.builds(Vanish, st.integers(0, 3)).map(lambda end: [end]),
)

# What one actor does: a tuple of operations is done at one go, between two of them others may have their turn.
Turn = tuple[Operation, ...]
Script = list[Turn]

# Hypothesis looks at each new strategy before it draws from it, which takes longer than the draw: each is made once.


@functools.cache
def _writes(transaction: int | None, *, deletes: bool) -> st.SearchStrategy[Operation]:
    return st.one_of(
        st.builds(Insert, st.integers(1, 3), _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, st.just(Stamp.NOW), st.just(transaction)),
        st.builds(UpdateAll, st.just(transaction)),
        *([st.builds(Delete, _ROWS, st.just(transaction))] * 2 if deletes else []),
    )


@functools.cache
def _lists_of_writes(transaction: int, *, deletes: bool) -> st.SearchStrategy[list[Operation]]:
    return st.lists(_writes(transaction, deletes=deletes), min_size=1, max_size=3)


@functools.cache
def _lists_of_single_writes(*, deletes: bool) -> st.SearchStrategy[list[Operation]]:
    write = _writes(None, deletes=deletes)
    again = [st.builds(Reinsert, _ROWS, _STAMPS)] * 2 if deletes else []
    return st.lists(st.one_of(write, write, write, st.just(SetBack()), _SPOILS, *again), max_size=3)


@functools.cache
@st.composite
def _writer(draw: st.DrawFn, _number: int, *, deletes: bool) -> Script:
    """Transactions of one statement, and what somebody else does to the destination."""
    first = Insert(draw(_FIRST_ROWS))
    return [(first,), *((operation,) for operation in draw(_lists_of_single_writes(deletes=deletes)))]


@functools.cache
@st.composite
def _session(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """A transaction that is opened early, may write late, and ends in one of four ways."""
    writes = draw(_lists_of_writes(number, deletes=deletes))
    commit, rollback, prepare = Commit(number), Rollback(number), Prepare(number)
    ends: tuple[Script, ...] = ([(commit,)], [(rollback,)], [(prepare,), (commit,)], [(prepare,), (rollback,)])
    end = one_of(draw, (ends[0], *ends))
    return [(Begin(number),), *((operation,) for operation in writes), *end]


@functools.cache
@st.composite
def _run(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """Runs that are finished, or abandoned or killed at some step, or published twice, or two of them at once."""
    plan, stage, publish = Plan(number, draw(CLOCKS)), Stage(number), Publish(number)
    concurrent_job = number + MOST_ACTORS
    rival_plan, rival_stage, rival_publish = (
        Plan(concurrent_job, draw(CLOCKS)),
        Stage(concurrent_job),
        Publish(concurrent_job),
    )
    half = Stage(number, files=1)
    killed = Publish(number, calls=draw(_CALLS))
    scripts: tuple[Script, ...] = (
        [(plan, stage, publish)],
        [(plan, stage, publish)],
        [(plan, stage, publish), (plan, stage, publish)],
        [(plan,), (stage,), (publish,)],
        [(plan,), (stage,), (publish,)],
        [(plan,), (stage, publish), (publish,)],
        # The step was repeated before anybody saw its files.
        [(plan, half), (stage,), (publish,)],
        [(plan, stage), (stage, publish)],
        [(plan, stage, killed)],
        [(plan, stage), (killed,), (publish,)],
        [(plan, half)],
        [(plan,), (stage,)],
        [(plan,), (rival_plan, rival_stage), (stage,), (publish,), (rival_publish,)],
        [(plan, rival_plan), (rival_stage,), (stage, rival_publish), (publish,)],
        [(plan, rival_plan, stage), (rival_stage,), (killed, rival_publish)],
        [(plan,), (rival_plan, stage, rival_stage, killed), (rival_publish,)],
    )
    if deletes:
        # Others write while rows and keys are read.
        rows, keys = Stage(number, without_keys=True), StageKeys(number)
        rival_rows, rival_keys = Stage(concurrent_job, without_keys=True), StageKeys(concurrent_job)
        scripts += (
            [(plan,), (rows,), (keys,), (publish,)],
            [(plan, rows), (keys,), (rows,), (keys, publish)],
            [(plan, rival_plan), (rows,), (rival_rows, keys), (rival_keys, rival_publish), (publish,)],
            [(plan, rows, keys), (rival_plan, rival_rows), (publish, rival_keys), (rival_publish,)],
        )
    return one_of(draw, scripts)


@functools.cache
@st.composite
def _backfill(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """A run of Smart Sync and backfills, finished, abandoned or killed at some step, or two of them at once."""
    sync = (Plan(number), Stage(number), Publish(number))

    def planned(run: int) -> PlanBackfill:
        return PlanBackfill(run, draw(_PLACES), draw(_PLACES), draw(_BOOLEANS))

    rival = number + MOST_ACTORS
    plan, rival_plan = planned(number), planned(rival)
    stage, publish, rival_stage, rival_publish = Stage(number), Publish(number), Stage(rival), Publish(rival)
    killed = Publish(number, calls=draw(_CALLS))
    scripts: tuple[Script, ...] = (
        [sync, (plan, stage, publish)],
        [sync, (plan,), (stage,), (publish,)],
        [sync, (plan, stage), (killed,), (publish,)],
        [sync, (plan, stage, killed)],
        [sync, (plan,), (rival_plan, rival_stage), (stage, publish), (rival_publish,)],
        [sync, (Plan(rival), plan), (stage, rival_stage), (publish,), (rival_publish,)],
        [sync, (Plan(rival), plan), (stage, rival_stage), (rival_publish,), (publish,)],
    )
    return one_of(draw, scripts)


@functools.cache
@st.composite
def _reconcile(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """Reports and repairs, finished or killed at some step, beside a run from the same timestamp.

    At the end the table is damaged and repaired, or most rows of the source vanish.
    """
    del deletes
    plan = PlanReconcile(number, draw(_VERBS))
    stage, publish = Stage(number), Publish(number)
    rival = number + MOST_ACTORS
    rival_plan, rival_stage, rival_publish = Plan(rival), Stage(rival), Publish(rival)
    killed = Publish(number, calls=draw(_CALLS))
    spoils = tuple(draw(_LISTS_OF_SPOILS))
    scripts: tuple[Script, ...] = (
        [(*spoils, plan, stage, publish)],
        [(plan,), (stage,), (publish,)],
        [(*spoils, plan, stage), (killed,), (publish,)],
        [(plan, rival_plan), (stage,), (rival_stage, rival_publish), (publish,)],
        [(rival_plan, plan), (rival_stage,), (stage,), (publish,), (rival_publish,)],
    )
    ends = draw(_ENDS)
    return [*one_of(draw, scripts), *((end,) for end in ends)]


_ACTORS: tuple[Callable[..., st.SearchStrategy[Script]], ...] = (_run, _session, _writer)


@functools.cache
@st.composite
def histories(draw: st.DrawFn, *, deletes: bool = False, sessions: bool = True) -> list[Operation]:
    """Return a history with at least one run, one writer and, if the source has transactions, one session.

    With `deletes` rows are deleted, and inserted again.
    """
    first = _ACTORS if sessions else tuple(actor for actor in _ACTORS if actor is not _session)
    actors = [*first, *draw(lists_of((*first, _backfill, _backfill, _reconcile), MOST_ACTORS - len(first)))]
    return in_any_order(draw, [draw(actor(number, deletes=deletes)) for number, actor in enumerate(actors)])


def in_any_order(draw: st.DrawFn, scripts: Sequence[Sequence[tuple[Any, ...]]]) -> list[Any]:
    """Return the operations of all scripts: the turns of each script in their order, and others' between them."""
    turns = [number for number, script in enumerate(scripts) for _ in script]
    left = [iter(script) for script in scripts]
    return [operation for place in draw(_orders(len(turns))) for operation in next(left[turns[place]])]


def one_of(draw: st.DrawFn, choices: Sequence[Any]) -> Any:
    """Return one of the choices."""
    return choices[draw(_numbers(len(choices)))]


@functools.cache
def lists_of(choices: tuple[Any, ...], most: int) -> st.SearchStrategy[list[Any]]:
    """Return lists of up to so many of the choices."""
    return st.lists(st.sampled_from(choices), max_size=most)


@functools.cache
def _numbers(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@functools.cache
def _orders(count: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(count))
