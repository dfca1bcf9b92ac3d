"""Sizes of many tables, and estimates of their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2

# The functions for sizes wait for a table that is locked against reads. Tables that are locked already are omitted;
# this is the limit for one that is locked in between.
_LOCK_MILLISECONDS = 1000

_SIZES_SQL = """
    SELECT c.oid, c.relkind IN ('r', 'm'), c.reltuples, c.relpages,
           CASE WHEN c.relkind IN ('r', 'm') AND NOT l.is_locked THEN pg_relation_size(c.oid) END
               / current_setting('block_size')::int,
           CASE WHEN c.relkind IN ('r', 'm') AND NOT l.is_locked THEN pg_table_size(c.oid) END
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT c.oid = ANY(ARRAY(
            SELECT relation FROM pg_locks
            WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )) AS is_locked
    ) l
    WHERE c.oid = ANY(%(oids)s) AND c.relkind <> 'p'
"""


@dataclass(frozen=True)
class TableSize:
    """The size of a table without its children.

    Attributes:
        rows: an estimate; None if the table was never analysed.
        size: bytes with values that are stored out of line, without indexes; None if unknown.
    """

    rows: int | None
    size: int | None


def read_sizes(cursor: Any, oids: Collection[int]) -> Mapping[int, TableSize]:
    """Return the sizes of tables; a partitioned table has none of its own. Never waits long for a lock."""
    cursor.execute("SAVEPOINT sizes")
    cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
    try:
        cursor.execute(_SIZES_SQL, {"oids": list(oids)})
        return {oid: _size(*rest) for oid, *rest in cursor.fetchall()}
    except psycopg2.errors.LockNotAvailable:
        return {}
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT sizes")


def total(sizes: Sequence[TableSize | None]) -> TableSize:
    """Return the size of several tables together, unknown if that of one is."""
    rows = [size.rows for size in sizes if size is not None and size.rows is not None]
    bytes_ = [size.size for size in sizes if size is not None and size.size is not None]
    return TableSize(sum(rows) if len(rows) == len(sizes) else None, sum(bytes_) if len(bytes_) == len(sizes) else None)


def _size(stores_rows: bool, rows: float, analysed_pages: int, pages: int | None, size: int | None) -> TableSize:
    if pages == 0:
        return TableSize(0, size)
    # Before PostgreSQL 14, a table that was never analysed has 0 rows in 0 pages; since then, -1 rows.
    if rows < 0 or (stores_rows and analysed_pages == 0):
        return TableSize(None, size)
    # As the server's planner does, for a table that has grown since.
    return TableSize(round(rows * (pages / analysed_pages if pages and analysed_pages else 1)), size)
