from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from sync_pipeline.planning.lanes import SPLIT_VALUES, deal, key_lanes_of, lanes_of, split_sizes
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.schema import Schema
from sync_pipeline.sources.source import ReadPlan, ReadSplit, Selection
from tests.plans import deletions, plan, run_plan


def table(splits: int, rows: int | None = None) -> TableSync:
    parts = tuple(ReadSplit(number, splits, f"SELECT {number}") for number in range(1, splits + 1))
    return plan(read=ReadPlan("SELECT 1", parts, estimated_rows=rows))


def running(*tables: TableSync, connections: int = 8) -> RunPlan:
    named = [
        replace(each, config=plan({"destination_bigquery_table": f"t{number}"}).config)
        for number, each in enumerate(tables)
    ]
    made = run_plan(*named)
    run = replace(made.run, max_source_connections=connections)
    return replace(made, run=run, tables=tuple(replace(each, run=run) for each in made.tables))


@pytest.mark.parametrize("seed", range(50))
def test_properties_of_lanes(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice([1.0, 1.0, 10.0, chance.uniform(1, 1000)]) for _ in range(chance.randint(1, 60))]
    splits = [(size, number, part) for number, size in enumerate(sizes) for part in range(chance.choice([1, 1, 2, 9]))]
    count = chance.randint(1, 20)
    lanes = deal(splits, count)
    assert len(lanes) == min(count, len(splits))
    assert all(lanes)
    assert Counter(split for lane in lanes for split in lane) == Counter((number, part) for _, number, part in splits)
    for lane in lanes:
        # The largest first; those of a table one after the other, in their order.
        assert lane == sorted(lane, key=lambda split: (-sizes[split[0]], split))
    # Graham's bound of "longest processing time first".
    loads = [sum(sizes[number] for number, _ in lane) for lane in lanes]
    total = sum(size for size, _, _ in splits)
    assert max(loads) <= total / len(lanes) + max(sizes)
    assert max(loads) - min(loads) <= max(sizes)


def test_the_splits_of_one_table_share_the_connections_too() -> None:
    lanes = lanes_of(running(table(10), connections=8))
    indexes = [[split.index for _, split in lane.splits] for lane in lanes]
    assert indexes == [[1, 9], [2, 10], [3], [4], [5], [6], [7], [8]]


def test_many_tables_share_the_connections() -> None:
    lanes = lanes_of(running(*(table(1, 1000) for _ in range(50)), connections=4))
    assert sorted(len(lane.splits) for lane in lanes) == [12, 12, 13, 13]
    assert sorted(number for lane in lanes for number, _ in lane.splits) == list(range(50))


def test_a_large_table_has_a_lane_of_its_own() -> None:
    lanes = lanes_of(running(table(1, 10), table(1, 10**9), *(table(1, 10) for _ in range(9)), connections=2))
    assert sorted([number for number, _ in lane.splits] for lane in lanes) == [[0, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1]]


def test_fewer_splits_than_connections() -> None:
    assert len(lanes_of(running(table(1), table(2), connections=8))) == 3


def test_tables_of_bigquery_open_no_connection() -> None:
    rows = Selection("SELECT 1", Schema(()), None, "my-project")
    tables = [replace(each, read=replace(each.read, selection=rows)) for each in (table(1), table(1), table(1))]
    assert len(lanes_of(running(*tables, connections=1))) == 3
    # A query moves the rows.
    tables[1] = replace(tables[1], selection=rows)
    assert [number for lane in lanes_of(running(*tables)) for number, _ in lane.splits] == [0, 2]


def test_sizes_of_splits() -> None:
    known, parted, unknown = running(table(1, 100), table(2, 100), table(1)).tables
    sizes = split_sizes([known, parted, unknown])
    assert [size - SPLIT_VALUES for size in sizes.values()] == [300, 150, 225]
    assert split_sizes([unknown]) == {2: SPLIT_VALUES}


def test_lanes_of_keys_are_dealt_like_those_of_rows() -> None:
    keyed = replace(table(5), deletions=deletions())
    made = running(table(3), keyed, replace(keyed, deletions=replace(deletions(), keys=None)), connections=4)
    (lane,) = key_lanes_of(made)
    assert [number for number, _ in lane.splits] == [1]
