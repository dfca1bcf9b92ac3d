"""Random histories of several tables: actors with scripts, as in `history_strategies.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable

from hypothesis import strategies as st

from tests.integration.histories import Begin, Commit, Prepare, Rollback
from tests.integration.history_sites import Stamp
from tests.integration.history_strategies import CLOCKS, in_any_order, lists_of, one_of
from tests.integration.table_operations import (
    PUBLISH_TROUBLES,
    READ_TROUBLES,
    TABLES,
    WITH_LETTERS,
    Break,
    Create,
    Damage,
    Delete,
    Drop,
    DropDestination,
    Insert,
    Mend,
    Operation,
    Plan,
    Publish,
    SetBack,
    Stage,
    Truncate,
    Update,
)

MOST_ACTORS = 6
# A run of all tables makes about as many calls, and reads as many splits.
MOST_CALLS, MOST_SPLITS = 48, 7

# What one actor does: a tuple of operations is done at one go, between two of them others may have their turn.
Turn = tuple[Operation, ...]
Script = list[Turn]

_ROWS = st.integers(0, 5)
_TABLES = st.sampled_from(tuple(TABLES))
_STAMPS = st.sampled_from((Stamp.NOW, Stamp.NOW, Stamp.NOW, Stamp.NOW, Stamp.NULL, Stamp.FUTURE))
_COUNTS = st.integers(1, 3)
_DAMAGES = st.sampled_from(Damage)
_BOOLEANS = st.booleans()
_SPLITS, _CALLS = st.integers(0, MOST_SPLITS), st.integers(0, MOST_CALLS)
_READ_TROUBLES, _PUBLISH_TROUBLES = st.sampled_from(READ_TROUBLES), st.sampled_from(PUBLISH_TROUBLES)
# A run whose tables file names a table that does not exist is refused.
_DROPPED = st.sampled_from([name for name in TABLES if name != WITH_LETTERS])

# As in `history_strategies.py` each strategy is made once.


def _writes(transaction: int | None) -> st.SearchStrategy[Operation]:
    who = st.just(transaction)
    return st.one_of(
        st.builds(Insert, _TABLES, _COUNTS, _STAMPS, who),
        st.builds(Update, _TABLES, _ROWS, _STAMPS, who),
        st.builds(Update, _TABLES, st.none(), st.just(Stamp.NOW), who),
        st.builds(Delete, _TABLES, _ROWS, who),
    )


@functools.cache
def _lists_of_writes(transaction: int) -> st.SearchStrategy[list[Operation]]:
    return st.lists(_writes(transaction), min_size=1, max_size=4)


_LISTS_OF_SINGLE_WRITES = st.lists(
    st.one_of(_writes(None), _writes(None), st.builds(SetBack, _TABLES), st.builds(Truncate, _TABLES)), max_size=3
)


@functools.cache
@st.composite
def _writer(draw: st.DrawFn, _number: int) -> Script:
    """Transactions of one statement."""
    firsts = tuple(Insert(table, draw(_COUNTS)) for table in list(TABLES)[:-1])
    return [firsts, *((operation,) for operation in draw(_LISTS_OF_SINGLE_WRITES))]


@functools.cache
@st.composite
def _session(draw: st.DrawFn, number: int) -> Script:
    """A transaction that is opened early, may write late to several tables, and ends in one of four ways."""
    writes = draw(_lists_of_writes(number))
    commit, rollback, prepare = Commit(number), Rollback(number), Prepare(number)
    ends: tuple[Script, ...] = ([(commit,)], [(rollback,)], [(prepare,), (commit,)], [(prepare,), (rollback,)])
    end = one_of(draw, (ends[0], *ends))
    return [(Begin(number),), *((operation,) for operation in writes), *end]


@functools.cache
@st.composite
def _breaker(draw: st.DrawFn, _number: int) -> Script:
    """Breaks a table, and mends it later or leaves that to the end."""
    table = draw(_TABLES)
    broken = Break(table, draw(_DAMAGES), draw(_ROWS))
    return [(broken,), *one_of(draw, ([], [(Mend(table),)]))]


@functools.cache
@st.composite
def _definer(draw: st.DrawFn, _number: int) -> Script:
    """A table appears, and may disappear; a table of the destination is dropped."""
    fills = Insert("added", draw(_COUNTS))
    table = draw(_TABLES)
    dropped = draw(_DROPPED)
    scripts: tuple[Script, ...] = (
        [(Create("added"), fills)],
        [(Create("added"),), (fills,), (Drop("added"),)],
        [(Create("added"), fills), (Drop("added"),), (Create("added"), fills)],
        [(Drop(dropped),)],
        [(Drop(dropped),), (Create(dropped), Insert(dropped, 2))],
        [(DropDestination(table),)],
    )
    return one_of(draw, scripts)


@functools.cache
@st.composite
def _run(draw: st.DrawFn, number: int) -> Script:
    """Runs that are finished, abandoned or killed at some step, or repeat a step, or two of them at once."""
    manifests = draw(_BOOLEANS)
    plan, stage, publish = Plan(number, draw(CLOCKS), manifests), Stage(number), Publish(number)
    other = number + MOST_ACTORS
    rival_plan, rival_stage, rival_publish = Plan(other, draw(CLOCKS), manifests), Stage(other), Publish(other)
    split, call = draw(_SPLITS), draw(_CALLS)
    half = Stage(number, split, draw(_READ_TROUBLES))
    hurt = Publish(number, call, draw(_PUBLISH_TROUBLES))
    scripts: tuple[Script, ...] = (
        [(plan, stage, publish)],
        [(plan, stage, publish), (plan, stage, publish)],
        [(plan,), (stage,), (publish,)],
        [(plan,), (stage, publish), (publish,)],
        [(plan,), (half,), (stage,), (publish,)],
        [(plan, half, stage), (stage, publish)],
        [(plan, stage, hurt)],
        [(plan, stage), (hurt,), (publish,)],
        [(plan, stage, hurt, publish), (plan, stage, publish)],
        [(plan, half)],
        [(plan,), (stage,)],
        [(plan,), (rival_plan, rival_stage), (stage,), (publish,), (rival_publish,)],
        [(plan, rival_plan), (rival_stage,), (stage, rival_publish), (publish,)],
        [(plan, rival_plan, stage), (rival_stage,), (hurt, rival_publish), (publish,)],
        [(plan,), (rival_plan, stage, rival_stage, hurt), (rival_publish,)],
    )
    return one_of(draw, scripts)


_FIRST: tuple[Callable[[int], st.SearchStrategy[Script]], ...] = (_run, _writer, _breaker)
_OTHERS = (_run, _run, _session, _breaker, _definer)


@functools.cache
@st.composite
def table_histories(draw: st.DrawFn) -> list[Operation]:
    """Return a history with at least a run, a writer and a table that breaks."""
    actors = [*_FIRST, *draw(lists_of(_OTHERS, MOST_ACTORS - len(_FIRST)))]
    return in_any_order(draw, [draw(actor(number)) for number, actor in enumerate(actors)])
