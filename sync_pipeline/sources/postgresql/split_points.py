"""Where to cut: what the server knows of a column's table, and a sample of the column's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2.errors
from psycopg2.extensions import adapt

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.postgresql.column_types import quoted_identifier

# How much of a table is looked at to find even cuts: 8 MiB of it, evenly drawn.
SAMPLE_PAGES = 1000
SAMPLE_MILLISECONDS = 10_000

# Below this many drawn rows for each part, there is no telling where to cut.
MIN_SAMPLED_ROWS = 10

_RELATION_SQL = """
    WITH RECURSIVE tree AS (
        SELECT %(oid)s::oid AS oid
      UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT %(oid)s::regclass::text,
           (SELECT relkind IN ('r', 'p', 'm') FROM pg_class WHERE oid = %(oid)s),
           sum(pg_relation_size(c.oid)) / current_setting('block_size')::int,
           sum(pg_table_size(c.oid)),
           sum(greatest(c.reltuples, 0)),
           array_agg(n.nspname || '.' || c.relname)
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass(frozen=True)
class ReadStatement:
    """What one read selects, and from where; `conditions` hold for all of its rows."""

    selected: str
    source: str
    conditions: tuple[str, ...] = ()

    def where(self, *conditions: str) -> str:
        """Return the statement with more conditions."""
        return f"SELECT {self.selected}\nFROM {self.source}" + where((*self.conditions, *conditions))


def where(conditions: Sequence[str]) -> str:
    """Return the clause for rows that fulfil all `conditions`, empty for none."""
    if len(conditions) > 1:
        conditions = [f"({condition})" for condition in conditions]
    return "\nWHERE " + "\n  AND ".join(conditions) if conditions else ""


@dataclass(frozen=True)
class SplitColumn:
    """A column of the query by which it may be cut.

    Attributes:
        name: in the query.
        type_name: pg_type.typname, empty for what is no base type.
        table_oid, number: the table column it comes from unchanged; 0 where there is none.
        condition: what the rows that are read fulfil, as SQL with `{column}`: others do not count for the cuts.
        is_lasting: no row is expected to change it, or then leaves what is read: a key, Smart Sync's timestamp.
        is_asked_for: the user named it.
        is_of_whole_table: it cuts only a statement that reads its table and no other.
        is_never_null: the statement has no row in which it is NULL.
    """

    name: str
    type_name: str
    table_oid: int
    number: int
    condition: str = ""
    is_lasting: bool = False
    is_asked_for: bool = False
    is_of_whole_table: bool = False
    is_never_null: bool = False


@dataclass(frozen=True)
class Relation:
    """A table with its partitions or children; sizes in pages and bytes."""

    name: str
    can_be_sampled: bool
    pages: int
    size: int
    rows: float
    members: frozenset[str]


def bounds_of(
    cursor: Any, statement: ReadStatement, column: SplitColumn, relation: Relation | None, wanted: int
) -> list[str] | str:
    """Return literals that cut the column's values into even parts, or why there are none."""
    share = 100.0
    reference = f"q.{quoted_identifier(column.name)}"
    source, condition = statement.source, where(statement.conditions)
    if relation is not None and relation.can_be_sampled:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum = %s", (column.table_oid, column.number)
        )
        reference = f"q.{quoted_identifier(cursor.fetchone()[0])}"
        share = min(100.0, 100.0 * SAMPLE_PAGES / max(relation.pages, 1))
        source = f"{relation.name} AS q TABLESAMPLE SYSTEM ({share})"
        condition = where([column.condition.format(column=reference)] if column.condition else [])
    elif not column.is_asked_for:
        return f"{column.name} does not come from a table unchanged, so there is no telling where to cut"
    fractions = [part / wanted for part in range(1, wanted + 1)]
    cursor.execute("SAVEPOINT sampling")
    cursor.execute(f"SET LOCAL statement_timeout = {SAMPLE_MILLISECONDS}")
    try:
        cursor.execute(
            f"SELECT count({reference}), (percentile_disc(ARRAY{fractions}::float8[]) WITHIN GROUP (ORDER BY "
            f"{reference}))::text[]\nFROM {source}{condition}"
        )
        count, quantiles = cursor.fetchone()
    except psycopg2.errors.QueryCanceled:
        return f"there was no time to look at the values of {column.name}"
    except psycopg2.errors.UndefinedFunction:
        raise SourceQueryError(
            f"partition_column: {column.name} is of a type whose values have no order: name another column"
        ) from None
    except psycopg2.errors.InsufficientPrivilege:
        return f"the user may not look at the values of {column.name}"
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT sampling")
    if share < 100.0 and count < wanted * MIN_SAMPLED_ROWS:
        return f"too few rows were drawn to tell where to cut by {column.name}"
    # Of a value that many rows have, several quantiles are the same; above the greatest there is nothing.
    different = list(dict.fromkeys(quantiles or ()))[:-1]
    return [_literal(cursor, bound) for bound in different]


def _literal(cursor: Any, text: str) -> str:
    # Without a type: the server reads it as a value of the column's.
    literal = adapt(text)
    literal.prepare(cursor.connection)
    return str(literal.getquoted().decode())


def relation_of(cursor: Any, column: SplitColumn) -> Relation:
    """Ask the server for the table that `column` comes from."""
    cursor.execute(_RELATION_SQL, {"oid": column.table_oid})
    name, can_be_sampled, pages, size, rows, members = cursor.fetchone()
    return Relation(name, can_be_sampled, int(pages or 0), int(size or 0), float(rows), frozenset(members))
