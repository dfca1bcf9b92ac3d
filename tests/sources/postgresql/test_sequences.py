from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from sync_pipeline.errors import SourceBusyError
from sync_pipeline.sources.postgresql import sequences
from sync_pipeline.sources.postgresql.sequences import Holder, NumberedColumn, number_clock

COLUMN = NumberedColumn("id", 1, "items_id_seq", is_always=True)


class Shared:
    """A connection that nothing is asked over."""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        yield


def looks(*holders: dict[str, Holder], max_hold: int = 60) -> int:
    """Return how often the run looked at the holders of numbers, given what it saw, until it went on."""
    seen = iter(holders)

    def look(*_: Any) -> dict[str, Holder]:
        return next(seen)

    with (
        mock.patch.object(NumberedColumn, "last", return_value=7),
        mock.patch.object(sequences, "_holders", look),
        mock.patch.object(sequences, "read_position", return_value=None),
        mock.patch.object(sequences.time, "sleep"),
    ):
        clock, _ = number_clock(Shared(), COLUMN, timedelta(seconds=max_hold))  # type: ignore[arg-type]
    assert (clock.now, clock.upper_bound) == (7, 7)
    return len(holders) - len(list(seen))


OPEN, LATER, PREPARED = Holder(11), Holder(12), Holder(None, gid="two")


@pytest.mark.parametrize(
    ("holders", "count"),
    [
        pytest.param([{}, {"1/1": OPEN}], 1, id="none"),
        pytest.param([{"1/1": OPEN}, {"1/1": OPEN}, {}, {}], 3, id="one"),
        pytest.param([{"1/1": OPEN}, {"1/2": OPEN}, {}], 2, id="its next transaction"),
        pytest.param([{"1/1": OPEN}, {"1/1": OPEN, "2/1": LATER}, {"2/1": LATER}, {}], 3, id="one that begins later"),
        pytest.param([{"1/1": OPEN}, {"1/1": PREPARED}, {}, {}], 3, id="prepared"),
        pytest.param([{"1/1": OPEN}, {"-1/700": PREPARED}, {}, {}], 3, id="prepared before version 14"),
        pytest.param(
            [{"1/1": OPEN}, {"1/1": OPEN, "-1/700": PREPARED}, {"1/1": OPEN, "-1/700": PREPARED}, {}],
            4,
            id="others are prepared",
        ),
    ],
)
def test_which_transactions_are_waited_for(holders: list[dict[str, Holder]], count: int) -> None:
    assert looks(*holders) == count


def test_the_wait_ends() -> None:
    with pytest.raises(SourceBusyError, match="=0: the session with pid 11 "):
        looks({"1/1": OPEN}, max_hold=0)


def test_the_risk_of_rows_that_change() -> None:
    assert "counted" not in COLUMN.risk
    assert "1,200 updates and deletes" in replace(COLUMN, changed=1200).risk


def test_the_risk_of_explicit_numbers() -> None:
    assert "not GENERATED ALWAYS" not in COLUMN.risk
    assert "not GENERATED ALWAYS" in NumberedColumn("id", 1, "items_id_seq", is_always=False).risk
