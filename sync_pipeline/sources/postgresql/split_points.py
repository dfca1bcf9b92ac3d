"""Finds the split points of a read, from the server's statistics and a sample of the column's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2.errors
from psycopg2.extensions import adapt

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.postgresql.column_types import quoted_identifier

# The sample for even split points: 8 MiB of the table, evenly drawn.
SAMPLE_PAGES = 1000
SAMPLE_MILLISECONDS = 10_000

# The sample must have at least this many rows per split.
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
    """The SELECT of a read; all rows fulfil `conditions`."""

    selected: str
    source: str
    conditions: tuple[str, ...] = ()

    def where(self, *conditions: str) -> str:
        """Return the statement with additional conditions."""
        return f"SELECT {self.selected}\nFROM {self.source}" + where((*self.conditions, *conditions))


def where(conditions: Sequence[str]) -> str:
    """Return the WHERE clause for `conditions`, empty without conditions."""
    if len(conditions) > 1:
        conditions = [f"({condition})" for condition in conditions]
    return "\nWHERE " + "\n  AND ".join(conditions) if conditions else ""


@dataclass(frozen=True)
class SplitColumn:
    """A column of the query that may split the read.

    Attributes:
        name: the column's name in the query.
        type_name: pg_type.typname of a base type, else empty.
        table_oid, number: the table and number of the column that the query returns unchanged, else 0.
        condition: condition of the rows to read, as SQL with `{column}`. The sample excludes other rows.
        is_lasting: whether its values do not change during the read, or changed rows leave the interval: a key, Smart
            Sync's timestamp column.
        is_asked_for: whether the user named it.
        is_of_whole_table: whether it can split only a statement that reads no other table.
        is_never_null: whether the statement returns no row with NULL in it.
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
    """A table with its partitions or children. Sizes are in pages and bytes."""

    name: str
    can_be_sampled: bool
    pages: int
    size: int
    rows: float
    members: frozenset[str]


def bounds_of(
    cursor: Any, statement: ReadStatement, column: SplitColumn, relation: Relation | None, wanted: int
) -> list[str] | str:
    """Return literals that split the column's values evenly, or the reason why they cannot be determined."""
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
        return f"the query computes {column.name}, so its values cannot be sampled"
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
        return f"sampling the values of {column.name} took too long"
    except psycopg2.errors.UndefinedFunction:
        raise SourceQueryError(
            f"partition_column: the type of {column.name} has no order: name another column"
        ) from None
    except psycopg2.errors.UndefinedObject:
        # PostgreSQL has no type for several arrays in one array.
        return f"{column.name} is an array, so its values cannot be sampled"
    except psycopg2.errors.InsufficientPrivilege:
        return f"the user may not read the values of {column.name}"
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT sampling")
    if share < 100.0 and count < wanted * MIN_SAMPLED_ROWS:
        return f"the sample has too few rows to split by {column.name}"
    # A frequent value may occur as several quantiles. The greatest value is dropped: no rows lie above it.
    different = list(dict.fromkeys(quantiles or ()))[:-1]
    return [_literal(cursor, bound) for bound in different]


def _literal(cursor: Any, text: str) -> str:
    # An untyped literal, which the server reads as the column's type.
    literal = adapt(text)
    literal.prepare(cursor.connection)
    return str(literal.getquoted().decode())


def relation_of(cursor: Any, column: SplitColumn) -> Relation:
    """Return the table that `column` comes from."""
    cursor.execute(_RELATION_SQL, {"oid": column.table_oid})
    name, can_be_sampled, pages, size, rows, members = cursor.fetchone()
    return Relation(name, can_be_sampled, int(pages or 0), int(size or 0), float(rows), frozenset(members))
