"""Random histories of several tables: actors with scripts, as in `history_strategies.py`."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tests.integration.histories import Begin, Commit, Prepare, Rollback
from tests.integration.history_sites import Stamp
from tests.integration.history_strategies import CLOCKS
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


def _writes(transaction: int | None) -> st.SearchStrategy[Operation]:
    who = st.just(transaction)
    return st.one_of(
        st.builds(Insert, _TABLES, st.integers(1, 3), _STAMPS, who),
        st.builds(Update, _TABLES, _ROWS, _STAMPS, who),
        st.builds(Update, _TABLES, st.none(), st.just(Stamp.NOW), who),
        st.builds(Delete, _TABLES, _ROWS, who),
    )


@st.composite
def _writer(draw: st.DrawFn, _number: int) -> Script:
    """Transactions of one statement."""
    firsts = tuple(Insert(table, draw(st.integers(1, 3))) for table in list(TABLES)[:-1])
    one = st.one_of(_writes(None), _writes(None), st.builds(SetBack, _TABLES), st.builds(Truncate, _TABLES))
    return [firsts, *((operation,) for operation in draw(st.lists(one, max_size=3)))]


@st.composite
def _session(draw: st.DrawFn, number: int) -> Script:
    """A transaction that is opened early, may write late to several tables, and ends in one of four ways."""
    writes = draw(st.lists(_writes(number), min_size=1, max_size=4))
    commit, rollback, prepare = Commit(number), Rollback(number), Prepare(number)
    ends: tuple[Script, ...] = ([(commit,)], [(rollback,)], [(prepare,), (commit,)], [(prepare,), (rollback,)])
    end = draw(st.sampled_from((ends[0], *ends)))
    return [(Begin(number),), *((operation,) for operation in writes), *end]


@st.composite
def _breaker(draw: st.DrawFn, _number: int) -> Script:
    """Breaks a table, and mends it later or leaves that to the end."""
    table = draw(_TABLES)
    broken = Break(table, draw(st.sampled_from(Damage)), draw(_ROWS))
    return [(broken,), *draw(st.sampled_from(([], [(Mend(table),)])))]


@st.composite
def _definer(draw: st.DrawFn, _number: int) -> Script:
    """A table appears, and may disappear; a table of the destination is dropped."""
    fills = Insert("added", draw(st.integers(1, 3)))
    table = draw(_TABLES)
    # A run whose tables file names a table that does not exist is refused.
    dropped = draw(st.sampled_from([name for name in TABLES if name != WITH_LETTERS]))
    scripts: tuple[Script, ...] = (
        [(Create("added"), fills)],
        [(Create("added"),), (fills,), (Drop("added"),)],
        [(Create("added"), fills), (Drop("added"),), (Create("added"), fills)],
        [(Drop(dropped),)],
        [(Drop(dropped),), (Create(dropped), Insert(dropped, 2))],
        [(DropDestination(table),)],
    )
    return draw(st.sampled_from(scripts))


@st.composite
def _run(draw: st.DrawFn, number: int) -> Script:
    """Runs that are finished, abandoned or killed at some step, or repeat a step, or two of them at once."""
    manifests = draw(st.booleans())
    plan, stage, publish = Plan(number, draw(CLOCKS), manifests), Stage(number), Publish(number)
    other = number + MOST_ACTORS
    rival_plan, rival_stage, rival_publish = Plan(other, draw(CLOCKS), manifests), Stage(other), Publish(other)
    split, call = draw(st.integers(0, MOST_SPLITS)), draw(st.integers(0, MOST_CALLS))
    half = Stage(number, split, draw(st.sampled_from(READ_TROUBLES)))
    hurt = Publish(number, call, draw(st.sampled_from(PUBLISH_TROUBLES)))
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
    return draw(st.sampled_from(scripts))


_FIRST: tuple[Callable[[int], st.SearchStrategy[Script]], ...] = (_run, _writer, _breaker)
_OTHERS = (_run, _run, _session, _breaker, _definer)


@st.composite
def table_histories(draw: st.DrawFn) -> list[Operation]:
    """Return a history with at least a run, a writer and a table that breaks."""
    actors = [*_FIRST, *draw(st.lists(st.sampled_from(_OTHERS), max_size=MOST_ACTORS - len(_FIRST)))]
    scripts = [list(draw(actor(number))) for number, actor in enumerate(actors)]
    turns = draw(st.permutations([number for number, script in enumerate(scripts) for _ in script]))
    return [operation for number in turns for operation in scripts[number].pop(0)]
