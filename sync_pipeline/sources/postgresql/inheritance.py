"""The trees of partitions and inheritance children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_INHERITS_SQL = """
    SELECT i.inhparent, i.inhrelid, c.relispartition
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relkind IN ('r', 'p', 'f')
"""


@dataclass(frozen=True)
class Inheritance:
    """Which tables are read with which.

    Attributes:
        children, parents: the direct ones, by oid.
        partitions: the tables that are partitions of their only parent.
    """

    children: Mapping[int, Sequence[int]]
    parents: Mapping[int, Sequence[int]]
    partitions: frozenset[int]

    def members(self, oid: int) -> list[int]:
        """Return a table and its descendants at any depth, whose rows a read of the table returns."""
        return _reached(oid, self.children)

    def ancestors(self, oid: int) -> list[int]:
        """Return the tables that a table's rows are read with, the nearest first."""
        return _reached(oid, self.parents)[1:]

    def inheriting(self, oid: int) -> list[int]:
        """Return the descendants that are no partitions: a key is not unique across them."""
        return [member for member in self.members(oid)[1:] if member not in self.partitions]


def read_inheritance(cursor: Any) -> Inheritance:
    """Return the trees of all tables of the database."""
    cursor.execute(_INHERITS_SQL)
    rows = cursor.fetchall()
    return Inheritance(
        _grouped((parent, child) for parent, child, _ in rows),
        _grouped((child, parent) for parent, child, _ in rows),
        frozenset(child for _, child, is_partition in rows if is_partition),
    )


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _reached(oid: int, neighbours: Mapping[int, Sequence[int]]) -> list[int]:
    # A table may inherit from several, so that it is reached more than once.
    found = {oid: None}
    waiting = [oid]
    while waiting:
        waiting = [other for one in waiting for other in neighbours.get(one, ()) if other not in found]
        found.update(dict.fromkeys(waiting))
    return list(found)
