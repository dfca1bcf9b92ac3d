"""Splits the read of a whole table by ranges of its pages: no key, index or sample is needed.

A row that is updated moves to another page, so all splits must see one snapshot: see `snapshot`. Each page is in one
range, also those that are added meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg2.extensions import connection as Connection

from sync_pipeline.schema import Schema
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.query_columns import QUERY_ALIAS, QueryColumns
from sync_pipeline.sources.postgresql.repeatable import explained, reads_only, why_not_splittable
from sync_pipeline.sources.postgresql.snapshot import SnapshotSplit
from sync_pipeline.sources.postgresql.split_points import ReadStatement
from sync_pipeline.sources.postgresql.splits import Cut, read_plan, wanted_splits
from sync_pipeline.sources.postgresql.wal_position import WalPosition
from sync_pipeline.sources.source import ReadPlan

# Scans of a range of pages: https://www.postgresql.org/docs/release/14.0/
_FIRST_VERSION = 140_000

# A SELECT of nothing but columns, or all, of one table. Other words than columns come from no table, which is checked.
_NAME = r'(?:"[^"]+"|[^\W\d][\w$]*)'
_WHOLE_TABLE = re.compile(
    rf"\s*SELECT\s+(?:\*|{_NAME}(?:\s*,\s*{_NAME})*)\s+FROM\s+{_NAME}(?:\.{_NAME})?\s*", re.IGNORECASE
)

# A table or materialized view that stores its rows itself, in a heap, and has no children.
_TABLE_SQL = """
    SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname || '.' || c.relname,
           pg_relation_size(c.oid) / current_setting('block_size')::int, pg_table_size(c.oid),
           array(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(%(numbers)s)
                 ORDER BY array_position(%(numbers)s, a.attnum::int))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
    WHERE c.oid = %(oid)s AND c.relkind IN ('r', 'm') AND a.amname = 'heap' AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
"""


@dataclass(frozen=True)
class _Table:
    """A table; `reference` is its name as SQL. Sizes are in pages and bytes."""

    reference: str
    name: str
    pages: int
    size: int


def plan_by_pages(
    connection: Connection,
    query: str,
    columns: QueryColumns,
    schema: Schema,
    num_partitions: int | None,
    position: WalPosition | None,
) -> ReadPlan | None:
    """Return the plan of a read of a whole table by ranges of its pages; None if the query is no such or is small.

    Raises:
        SourceError: the server rejects a request.
    """
    with translated_errors(), connection.cursor() as cursor:
        table = _whole_table(cursor, query, columns)
        if connection.server_version < _FIRST_VERSION or table is None:
            return None
        statement = ReadStatement(columns.selected(schema), f"{table.reference} AS {QUERY_ALIAS}")
        plan = explained(cursor, statement.where())
        if why_not_splittable(cursor, statement.source, plan) or not reads_only(plan, frozenset({table.name})):
            return None
        rows = int(plan["Plan Rows"])
        conditions = page_ranges(table.pages, wanted_splits(num_partitions, table.size, rows))
        statements = tuple(statement.where(condition) for condition in conditions)
        # A setting of the server may prevent it.
        if len(statements) < 2 or "Tid Range Scan" not in str(explained(cursor, statements[0])):
            return None
    reason = f"by ranges of the table's pages, about {rows // len(statements):,} rows each, all in one snapshot"
    found = read_plan(query, Cut(statements, reason, rows, table.size), position)
    splits = [
        SnapshotSplit(split.index, split.count, split.statement, position, table.reference, statement.where())
        for split in found.splits
    ]
    return replace(found, splits=tuple(splits))


def page_ranges(pages: int, wanted: int) -> list[str]:
    """Return the conditions of about `wanted` ranges of pages; the last has no end."""
    bounds: Sequence[int] = sorted({pages * part // wanted for part in range(1, wanted)} - {0}) if wanted > 1 else []
    begins = [f"{QUERY_ALIAS}.ctid >= '({page},0)'" for page in bounds]
    ends = [f"{QUERY_ALIAS}.ctid < '({page},0)'" for page in bounds]
    ranges = zip(["", *begins], [*ends, ""], strict=True)
    return [" AND ".join(filter(None, conditions)) for conditions in ranges]


def _whole_table(cursor: Any, query: str, columns: QueryColumns) -> _Table | None:
    """Return the table whose rows are those of the query; None if they are computed, chosen, or come from others."""
    oids, numbers = {oid for oid, _ in columns.origins}, [number for _, number in columns.origins]
    if _WHOLE_TABLE.fullmatch(query) is None or len(oids) != 1 or not all(number > 0 for number in numbers):
        return None
    cursor.execute(_TABLE_SQL, {"oid": oids.pop(), "numbers": numbers})
    found = cursor.fetchone()
    if found is None or found[4] != [column.name for column in columns.columns]:
        return None
    reference, name, pages, size, _ = found
    return _Table(reference, name, int(pages), int(size))
