from sync_pipeline.sources.postgresql.inheritance import Inheritance

# 1 has the partition 2, which has the partition 3; 10 and 11 are parents of 12, and 13 inherits from 12 and 10.
TREES = Inheritance(
    children={1: [2], 2: [3], 10: [12, 13], 11: [12], 12: [13]},
    parents={2: [1], 3: [2], 12: [10, 11], 13: [12, 10]},
    partitions=frozenset({2, 3}),
)


def test_members_are_reached_once() -> None:
    assert TREES.members(1) == [1, 2, 3]
    assert TREES.members(10) == [10, 12, 13]
    assert TREES.members(3) == [3]


def test_ancestors_have_the_nearest_first() -> None:
    assert TREES.ancestors(3) == [2, 1]
    assert TREES.ancestors(13) == [12, 10, 11]
    assert TREES.ancestors(1) == []


def test_a_partition_does_not_inherit() -> None:
    assert TREES.inheriting(1) == []
    assert TREES.inheriting(10) == [12, 13]
