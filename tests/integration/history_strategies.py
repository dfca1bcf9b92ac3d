"""Random histories: several actors, each with a script, whose steps come in any order between each other's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import strategies as st

from tests.integration.histories import (
    Begin,
    Commit,
    Insert,
    Operation,
    Plan,
    Prepare,
    Publish,
    Rollback,
    SetBack,
    Spoil,
    Stage,
    Stamp,
    Update,
    UpdateAll,
)

MOST_ACTORS = 5
MOST_CALLS = 7

_ROWS = st.integers(0, 5)
_STAMPS = st.sampled_from((Stamp.NOW, Stamp.NOW, Stamp.NOW, Stamp.NULL, Stamp.FUTURE))
_CLOCKS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - they get one

Script = tuple[Operation, ...]


def _writes(transaction: int | None) -> st.SearchStrategy[Operation]:
    return st.one_of(
        st.builds(Insert, st.integers(1, 3), _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, _STAMPS, st.just(transaction)),
        st.builds(Update, _ROWS, st.just(Stamp.NOW), st.just(transaction)),
        st.builds(UpdateAll, st.just(transaction)),
    )


def _writer(_number: int) -> st.SearchStrategy[Script]:
    """Transactions of one statement, and what somebody does to the destination."""
    foreign = st.builds(Spoil, st.none() | _ROWS)
    one = st.one_of(_writes(None), _writes(None), _writes(None), st.just(SetBack()), foreign)
    return st.lists(one, min_size=1, max_size=4).map(tuple)


@st.composite
def _session(draw: st.DrawFn, number: int) -> Script:
    """A transaction that is opened early, may write late, and ends in one of four ways."""
    writes = draw(st.lists(_writes(number), max_size=3))
    ends: tuple[Script, ...] = ((Commit(number),), (Rollback(number),), (Prepare(number), Commit(number)))
    ends += ((Prepare(number), Rollback(number)),)
    return (Begin(number), *writes, *draw(st.sampled_from((ends[0], *ends))))


@st.composite
def _run(draw: st.DrawFn, number: int) -> Script:
    """A run that is finished, or abandoned or killed at some step, or published twice."""
    plan, stage, publish = Plan(number, draw(_CLOCKS)), Stage(number), Publish(number)
    killed = Publish(number, calls=draw(st.integers(0, MOST_CALLS)))
    scripts: tuple[Script, ...] = (
        (plan, stage, publish),
        (plan, stage, publish),
        (plan, stage, publish),
        (plan, stage, publish, publish),
        # The step was repeated before anybody saw its files.
        (plan, Stage(number, files=1), stage, publish),
        (plan, stage, stage, publish),
        (plan, stage, killed),
        (plan, stage, killed, publish),
        (plan, Stage(number, files=1)),
        (plan, stage),
        (plan,),
    )
    return draw(st.sampled_from(scripts))


_ACTORS: tuple[Callable[[int], st.SearchStrategy[Script]], ...] = (_run, _run, _session, _session, _writer)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Return a history that begins with a few rows, and has at least one run."""
    actors = [_run, *draw(st.lists(st.sampled_from(_ACTORS), min_size=1, max_size=MOST_ACTORS - 1))]
    scripts = [list(draw(actor(number))) for number, actor in enumerate(actors)]
    turns = draw(st.permutations([number for number, script in enumerate(scripts) for _ in script]))
    return [Insert(draw(st.integers(1, 4))), *(scripts[number].pop(0) for number in turns)]
