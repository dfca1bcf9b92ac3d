"""Random histories: several actors, each with a script, whose steps come in any order between each other's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

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
CLOCKS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - they get one

# What one actor does: a tuple of operations is done at one go, between two of them others may have their turn.
Turn = tuple[Operation, ...]
Script = list[Turn]


def _writes(transaction: int | None, *, deletes: bool) -> st.SearchStrategy[Operation]:
    return st.one_of(
        st.builds(Insert, st.integers(1, 3), _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, st.just(Stamp.NOW), st.just(transaction)),
        st.builds(UpdateAll, st.just(transaction)),
        *([st.builds(Delete, _ROWS, st.just(transaction))] * 2 if deletes else []),
    )


@st.composite
def _writer(draw: st.DrawFn, _number: int, *, deletes: bool) -> Script:
    """Transactions of one statement, and what somebody else does to the destination."""
    foreign = st.builds(Spoil, st.none() | _ROWS)
    write = _writes(None, deletes=deletes)
    again = [st.builds(Reinsert, _ROWS, _STAMPS)] * 2 if deletes else []
    one = st.one_of(write, write, write, st.just(SetBack()), foreign, *again)
    first = Insert(draw(st.integers(1, 4)))
    return [(first,), *((operation,) for operation in draw(st.lists(one, max_size=3)))]


@st.composite
def _session(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """A transaction that is opened early, may write late, and ends in one of four ways."""
    writes = draw(st.lists(_writes(number, deletes=deletes), min_size=1, max_size=3))
    commit, rollback, prepare = Commit(number), Rollback(number), Prepare(number)
    ends: tuple[Script, ...] = ([(commit,)], [(rollback,)], [(prepare,), (commit,)], [(prepare,), (rollback,)])
    end = draw(st.sampled_from((ends[0], *ends)))
    return [(Begin(number),), *((operation,) for operation in writes), *end]


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
    killed = Publish(number, calls=draw(st.integers(0, MOST_CALLS)))
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
    return draw(st.sampled_from(scripts))


@st.composite
def _backfill(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """A run of Smart Sync and backfills, finished, abandoned or killed at some step, or two of them at once."""
    sync = (Plan(number), Stage(number), Publish(number))
    places = st.integers(0, 4)

    def planned(run: int) -> PlanBackfill:
        return PlanBackfill(run, draw(places), draw(places), draw(st.booleans()))

    rival = number + MOST_ACTORS
    plan, rival_plan = planned(number), planned(rival)
    stage, publish, rival_stage, rival_publish = Stage(number), Publish(number), Stage(rival), Publish(rival)
    killed = Publish(number, calls=draw(st.integers(0, MOST_CALLS)))
    scripts: tuple[Script, ...] = (
        [sync, (plan, stage, publish)],
        [sync, (plan,), (stage,), (publish,)],
        [sync, (plan, stage), (killed,), (publish,)],
        [sync, (plan, stage, killed)],
        [sync, (plan,), (rival_plan, rival_stage), (stage, publish), (rival_publish,)],
        [sync, (Plan(rival), plan), (stage, rival_stage), (publish,), (rival_publish,)],
        [sync, (Plan(rival), plan), (stage, rival_stage), (rival_publish,), (publish,)],
    )
    return draw(st.sampled_from(scripts))


@st.composite
def _reconcile(draw: st.DrawFn, number: int, *, deletes: bool) -> Script:
    """Reports and repairs, finished or killed at some step, beside a run from the same timestamp.

    At the end the table is damaged and repaired, or most rows of the source vanish.
    """
    del deletes
    plan = PlanReconcile(number, draw(st.sampled_from(("report", "repair", "repair"))))
    stage, publish = Stage(number), Publish(number)
    rival = number + MOST_ACTORS
    rival_plan, rival_stage, rival_publish = Plan(rival), Stage(rival), Publish(rival)
    killed = Publish(number, calls=draw(st.integers(0, MOST_CALLS)))
    spoils = tuple(draw(st.lists(st.builds(Spoil, st.none() | _ROWS), max_size=2)))
    scripts: tuple[Script, ...] = (
        [(*spoils, plan, stage, publish)],
        [(plan,), (stage,), (publish,)],
        [(*spoils, plan, stage), (killed,), (publish,)],
        [(plan, rival_plan), (stage,), (rival_stage, rival_publish), (publish,)],
        [(rival_plan, plan), (rival_stage,), (stage,), (publish,), (rival_publish,)],
    )
    damages = st.lists(st.builds(Damage, st.sampled_from(Harm), _ROWS), max_size=3)
    ends = draw(st.one_of(damages, st.builds(Vanish, st.integers(0, 3)).map(lambda end: [end])))
    return [*draw(st.sampled_from(scripts)), *((end,) for end in ends)]


_ACTORS: tuple[Callable[..., st.SearchStrategy[Script]], ...] = (_run, _session, _writer)


@st.composite
def histories(draw: st.DrawFn, *, deletes: bool = False, sessions: bool = True) -> list[Operation]:
    """Return a history with at least one run, one writer and, if the source has transactions, one session.

    With `deletes` rows are deleted, and inserted again.
    """
    first = _ACTORS if sessions else tuple(actor for actor in _ACTORS if actor is not _session)
    others = st.sampled_from((*first, _backfill, _backfill, _reconcile))
    actors = [*first, *draw(st.lists(others, max_size=MOST_ACTORS - len(first)))]
    scripts = [list(draw(actor(number, deletes=deletes))) for number, actor in enumerate(actors)]
    turns = draw(st.permutations([number for number, script in enumerate(scripts) for _ in script]))
    return [operation for number in turns for operation in scripts[number].pop(0)]
