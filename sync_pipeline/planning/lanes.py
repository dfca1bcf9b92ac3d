"""Lanes: the splits of all tables of a run, dealt so that only a limited number of connections is open at once.

A worker reads the splits of a lane one after the other, over one connection. The runner decides how many lanes are read
at once, so their number is the limit on all runners.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.sources.source import ReadSplit

# The cost of opening a split, as the number of values that could be read in the same time.
SPLIT_VALUES = 10_000


@dataclass(frozen=True)
class Lane:
    """Splits that are read one after the other, each with the number of its table; those of a table are neighbours."""

    splits: tuple[tuple[int, ReadSplit], ...]


def lanes_of(plan: RunPlan) -> list[Lane]:
    """Return the lanes of the tables that workers read.

    Tables in BigQuery, whose reads open no connection to a database, have a lane for each split.
    """
    return deal_lanes([table for table in plan.tables if table.selection is None], plan.run.max_source_connections)


def key_lanes_of(plan: RunPlan) -> list[Lane]:
    """Return the lanes of the reads of keys, which begin when the lanes of all rows have ended."""
    tables = [table.of_keys for table in plan.tables]
    return deal_lanes([table for table in tables if table is not None], plan.run.max_source_connections)


def deal_lanes(tables: Sequence[TableSync], connections: int) -> list[Lane]:
    """Return the lanes of tables; at most `connections`, unless the source is BigQuery."""
    if any(table.read.selection is not None for table in tables):
        return [Lane(((table.number, split),)) for table in tables for split in table.read.splits]
    sizes = split_sizes(tables)
    splits = [(sizes[table.number], table.number, split) for table in tables for split in table.read.splits]
    return [Lane(tuple(lane)) for lane in deal(splits, connections)]


def deal[Split](splits: Sequence[tuple[float, int, Split]], count: int) -> list[list[tuple[int, Split]]]:
    """Deal splits, each with its size and its table's number, into at most `count` lanes of about the same size.

    The largest split comes first, each into the lane that is the smallest so far. Splits of one table have one size, so
    within a lane they are neighbours and keep their order. No lane is empty.
    """
    lanes: list[list[tuple[int, Split]]] = [[] for _ in range(min(count, len(splits)))]
    smallest = [(0.0, lane) for lane in range(len(lanes))]
    for size, table, split in sorted(splits, key=lambda each: (-each[0], each[1])):
        filled, lane = smallest[0]
        lanes[lane].append((table, split))
        heapq.heapreplace(smallest, (filled + size, lane))
    return lanes


def split_sizes(tables: Iterable[TableSync]) -> dict[int, float]:
    """Return the estimated size of a split of each table, by the table's number, in values.

    A table without an estimate counts as an average one of the others.
    """
    values = {
        table.number: None
        if table.read.estimated_rows is None
        else table.read.estimated_rows * len(table.read_schema) / len(table.read.splits)
        for table in tables
    }
    known = [size for size in values.values() if size is not None]
    average = sum(known) / len(known) if known else 0.0
    return {number: SPLIT_VALUES + (average if size is None else size) for number, size in values.items()}
