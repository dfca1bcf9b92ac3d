"""Many more random histories than the tests play: `make soak HISTORIES=5000`.

A violation is printed with its history, cut down, and the search goes on. With `--tables` the runs are those of several
tables. With `--without NAME` one protection is removed, and the search ends at the first history that shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from google.cloud import bigquery
from hypothesis import strategies as st

import sandbox
from sync_pipeline.errors import PublishError
from tests.integration.histories import Mode, World
from tests.integration.history_sources import WORLDS
from tests.integration.history_strategies import histories
from tests.integration.protections import REMOVABLE, REMOVABLE_OF_TABLES
from tests.integration.random_histories import play_random
from tests.integration.table_histories import TableWorld
from tests.integration.table_history_strategies import table_histories

# Histories of one seed; then the modes change.
ROUND = 20

POSTGRESQL = "postgresql"


@dataclass
class Tally:
    """What the search has come to."""

    histories: int = 0
    rows: int = 0
    violations: int = 0

    def __str__(self) -> str:
        return f"{self.histories:,} histories, {self.rows:,} rows compared, {self.violations:,} violations"


@dataclass(frozen=True)
class Search:
    """Histories of one kind. `play` plays one, and returns how many rows were compared."""

    name: str
    histories: st.SearchStrategy[list[Any]]
    play: Callable[[list[Any]], int]


def main(argv: Sequence[str]) -> int:
    """Play histories and return 0 when none was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.soak", description=__doc__)
    parser.add_argument("--histories", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the first round; printed")
    parser.add_argument("--mode", choices=[mode.name.lower() for mode in Mode], help="only this one")
    parser.add_argument("--source", choices=[POSTGRESQL, *WORLDS], default=POSTGRESQL)
    parser.add_argument("--tables", action="store_true", help="runs of several tables")
    parser.add_argument(
        "--without", choices=sorted({**REMOVABLE, **REMOVABLE_OF_TABLES}), help="the protection to remove"
    )
    options = parser.parse_args(argv)
    removable = REMOVABLE_OF_TABLES if options.tables else REMOVABLE
    if options.without and options.without not in removable:
        parser.error(
            f"--without {options.without} is for runs of {'one table' if options.tables else 'several tables'}"
        )
    modes = [Mode[options.mode.upper()]] if options.mode else list(Mode)
    print(f"seed {options.seed}")
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    tally = Tally()
    with contextlib.ExitStack() as stack:
        endpoints = stack.enter_context(sandbox.running(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        os.environ.update(endpoints.environment())
        client = stack.enter_context(contextlib.closing(bigquery.Client(project=endpoints.project)))
        searches = _searches(stack, endpoints, client, modes, source=options.source, with_tables=options.tables)
        if options.without:
            stack.enter_context(removable[options.without]())
        for number, first in enumerate(range(0, options.histories, ROUND)):
            count = min(ROUND, options.histories - first)
            search = searches[number % len(searches)]
            play_round(search, options.seed + number, count, tally, shrink=not options.without)
            if options.without and tally.violations:
                break
            print(tally, flush=True)
    print(tally)
    return 1 if tally.violations else 0


def _searches(
    stack: contextlib.ExitStack,
    endpoints: sandbox.Endpoints,
    client: bigquery.Client,
    modes: Sequence[Mode],
    *,
    source: str,
    with_tables: bool,
) -> list[Search]:
    if with_tables:
        return [Search("tables", table_histories(), stack.enter_context(TableWorld.opened(endpoints, client)).play)]
    world = stack.enter_context((World if source == POSTGRESQL else WORLDS[source]).opened(endpoints, client))
    return [
        Search(
            mode.name, histories(deletes=mode.deletes, sessions=source == POSTGRESQL), partial(world.play, mode=mode)
        )
        for mode in modes
        if mode in world.modes
    ]


def play_round(search: Search, first_seed: int, count: int, tally: Tally, *, shrink: bool) -> None:
    """Play `count` histories of one seed; fewer when one goes wrong, which is then cut down and printed."""
    is_cutting = False

    def play(history: list[Any]) -> None:
        nonlocal is_cutting
        tally.histories += not is_cutting
        try:
            tally.rows += search.play(history)
        except PublishError:
            # Without a protection a run may also fail, and say so: that is no violation.
            if shrink:
                is_cutting = True
                raise
        except BaseException:
            is_cutting = True
            raise

    try:
        play_random(search.histories, play, count=count, first_seed=first_seed, shrinks=shrink)
    except Exception as error:  # noqa: BLE001 - the search goes on
        # Any other error is one that no run may end with.
        tally.violations += 1
        print(
            f"seed {first_seed}, {search.name}: {type(error).__name__}: {error}",
            *getattr(error, "__notes__", ()),
            sep="\n",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
