"""Plays random histories, for the tests and for `soak.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


def play_random(
    histories: st.SearchStrategy[list[Any]],
    play: Callable[[list[Any]], object],
    *,
    count: int,
    first_seed: int,
    shrinks: bool = True,
) -> None:
    """Let `play` play so many histories. One that fails is cut down if `shrinks`, and its error names it."""
    numbers = itertools.count()

    @seed(first_seed)
    @settings(
        max_examples=1 + count,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(history=histories)
    def play_one(history: list[Any]) -> None:
        # The first one is always the simplest.
        if next(numbers):
            play(history)

    play_one()
