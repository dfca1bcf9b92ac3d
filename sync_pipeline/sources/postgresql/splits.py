"""Cutting a read into partitions: whether it is safe, whether it pays, by which column, and where.

The user's SQL is never rewritten: a partition is a condition around it. Whatever the statistics say, and whatever is
written meanwhile, each value of the column fulfils the condition of exactly one partition; statistics and samples only
decide how even they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.postgresql.column_types import SourceColumn, quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.not_null import never_null_columns
from sync_pipeline.sources.postgresql.repeatable import explained, obstacle, reads_only
from sync_pipeline.sources.postgresql.split_points import (
    ReadStatement,
    SplitColumn,
    bounds_of,
    relation_of,
)
from sync_pipeline.suggestions import did_you_mean

# By size a read is cut into parts of this many bytes, as the planner counts them, but into no more than so many: the
# server has other clients, and each part is a session.
PARTITION_BYTES = 256 * 2**20
MAX_PARTITIONS = 16

# Fewer rows are not worth a session, whatever was asked for.
MIN_PARTITION_ROWS = 1000

# The parts together may cost the server so many times what the whole costs. Without an index each would read it all.
MAX_COST_RATIO = 2.5

# Types by which a read is cut unasked. The bounds are values of rows and are kept with the job: those of a text could
# be anything.
_UNASKED_TYPES = frozenset(
    {"int2", "int4", "int8", "numeric", "float4", "float8", "date", "timestamp", "timestamptz", "uuid"}
)

_KEY_SQL = "SELECT conrelid, conkey FROM pg_constraint WHERE conrelid = ANY(%(oids)s) AND contype = 'p'"


@dataclass(frozen=True)
class Cut:
    """How a read is cut.

    Attributes:
        statements: at least one, one for each partition.
        reason: why so, for the plan.
        estimated_rows: from the planner.
        risks: sentences for the plan.
    """

    statements: tuple[str, ...]
    reason: str
    estimated_rows: int | None
    risks: tuple[str, ...] = ()


def split_columns(
    connection: Connection,
    columns: Sequence[SourceColumn],
    origins: Sequence[tuple[int, int]],
    *,
    asked_for: str | None,
    timestamp_column: str | None,
    interval_condition: str,
    interval_has_no_null: bool,
) -> list[SplitColumn]:
    """Return the columns by which a query may be cut, the best first.

    Args:
        columns: of the query, and in `origins` the table and column number that each comes from unchanged, or 0.
        asked_for: the column that the user named.
        timestamp_column: Smart Sync's.
        interval_condition: what its values fulfil, with `{column}`.
        interval_has_no_null: the statement itself leaves rows without a timestamp out.

    Raises SourceQueryError when the query does not return the column that the user named.
    """
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_KEY_SQL, {"oids": [oid for oid, _ in origins if oid]})
        keys: dict[int, list[int]] = dict(cursor.fetchall())
    found = {
        column.name: SplitColumn(
            column.name,
            "" if column.is_array or column.is_composite else column.type_name,
            *origin,
            is_lasting=origin[1] in keys.get(origin[0], ()),
        )
        for column, origin in zip(columns, origins, strict=True)
    }
    if timestamp_column in found:
        found[timestamp_column] = replace(
            found[timestamp_column],
            condition=interval_condition,
            is_lasting=True,
            is_never_null=interval_has_no_null,
        )
    if asked_for is not None:
        if asked_for not in found:
            raise SourceQueryError(
                f"partition_column: {asked_for} is not among the columns of the query ({', '.join(found)})"
                f"{did_you_mean(asked_for, found)}"
            )
        return [replace(found[asked_for], is_asked_for=True)]
    chosen = [found[timestamp_column]] if timestamp_column in found else []
    # A key of several columns is cut by its first, which its index is sorted by.
    chosen += [
        replace(column, is_of_whole_table=True)
        for column in found.values()
        if keys.get(column.table_oid, [None])[0] == column.number
    ]
    return chosen


def cut(
    connection: Connection, statement: ReadStatement, columns: Sequence[SplitColumn], num_partitions: int | None
) -> Cut:
    """Decide how `statement` is read: by the first of `columns` by which it can be, into `num_partitions`.

    Without a number its size decides. Raises SourceQueryError when a column that the user named cannot be used.
    """
    with translated_errors(), connection.cursor() as cursor:
        plan = explained(cursor, statement.where())
        rows = plan.get("Plan Rows")
        whole = (statement.where(),)
        wanted = num_partitions if num_partitions is not None else MAX_PARTITIONS
        hindrance = obstacle(cursor, statement.source, plan)
        if hindrance and (named := next((column for column in columns if column.is_asked_for), None)):
            raise SourceQueryError(
                f"partition_column: the query cannot be read in parts by {named.name}, as {hindrance}: leave "
                "partition_column out, and it is read by one statement"
            )
        if wanted == 1:
            return Cut(whole, "as num_partitions says", rows)
        if hindrance:
            return Cut(whole, f"as {hindrance}", rows)
        reasons = [] if columns else ["there is no column to cut by: name one as partition_column"]
        for column in columns:
            result = _cut_by(cursor, statement, plan, column, num_partitions)
            if isinstance(result, Cut):
                return result
            reasons.append(result)
        return Cut(whole, "; ".join(dict.fromkeys(reasons)), rows)


def _cut_by(
    cursor: Any, statement: ReadStatement, plan: dict[str, Any], column: SplitColumn, num_partitions: int | None
) -> Cut | str:
    """Return the cut by one column, or why there is none."""
    rows = int(plan["Plan Rows"])
    relation = relation_of(cursor, column) if column.table_oid else None
    size = rows * int(plan["Plan Width"])
    if relation is not None and relation.rows:
        # The planner does not count values that lie outside of their rows.
        size = max(size, int(relation.size * min(1.0, rows / relation.rows)))
    wanted = min(num_partitions or min(MAX_PARTITIONS, size // PARTITION_BYTES), rows // MIN_PARTITION_ROWS)
    if wanted < 2:
        return f"one is enough for about {rows:,} rows, {size / 2**20:,.0f} MiB"
    is_alone = relation is not None and reads_only(plan, relation.members)
    if column.is_of_whole_table and not is_alone:
        return "the query reads more than one table: name a column as partition_column"
    if not column.is_asked_for and column.type_name not in _UNASKED_TYPES:
        return f"{column.name} is of a type that is only cut by when partition_column names it"
    bounds = bounds_of(cursor, statement, column, relation, wanted)
    if isinstance(bounds, str):
        return bounds
    if not bounds:
        return f"{column.name} has too few different values to cut by"
    reference = f"q.{quoted_identifier(column.name)}"
    has_no_null = column.is_never_null or (is_alone and column.number in never_null_columns(cursor, column.table_oid))
    statements = tuple(statement.where(condition) for condition in ranges(reference, bounds, with_null=not has_no_null))
    cost = sum(float(explained(cursor, part)["Total Cost"]) for part in statements) / max(float(plan["Total Cost"]), 1)
    risks = []
    if cost > MAX_COST_RATIO:
        work = f"the parts by {column.name} cost the server {cost:.1f} times as much as the whole"
        if not column.is_asked_for:
            return f"{work}: an index on {column.name} would help"
        risks.append(f"{work}: an index on {column.name} would help, or leave partition_column out")
    if not column.is_lasting:
        risks.append(
            f"the parts are read at moments of their own: a row whose {column.name} changes during the run may be read "
            "twice or not at all"
        )
    reason = f"by ranges of {column.name}, about {rows // len(statements):,} rows each"
    return Cut(statements, reason, rows, tuple(risks))


def ranges(reference: str, bounds: Sequence[str], *, with_null: bool) -> list[str]:
    """Return the conditions of the partitions between `bounds`, which are literals in rising order.

    Every value fulfils exactly one, as the types' comparisons are total: NaN and infinity have their place, too. NULL
    is in the first, with `with_null`.
    """
    first = f"{reference} <= {bounds[0]}" + (f" OR {reference} IS NULL" if with_null else "")
    between = [f"{reference} > {low} AND {reference} <= {high}" for low, high in itertools.pairwise(bounds)]
    return [first, *between, f"{reference} > {bounds[-1]}"]
