"""Decides how to split a read: whether that is safe and worthwhile, by which column, and at which values.

The user's SQL is never rewritten: a split adds a condition around it. Each value of the column fulfils the condition of
exactly one split, whatever is written meanwhile. Statistics and samples only determine how even the splits are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.postgresql.column_types import quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.not_null import never_null_columns
from sync_pipeline.sources.postgresql.query_columns import QueryColumns
from sync_pipeline.sources.postgresql.repeatable import explained, reads_only, why_not_splittable
from sync_pipeline.sources.postgresql.split_points import (
    ReadStatement,
    SplitColumn,
    bounds_of,
    relation_of,
)
from sync_pipeline.sources.postgresql.wal_position import PositionedSplit, WalPosition
from sync_pipeline.sources.source import ReadPlan
from sync_pipeline.suggestions import did_you_mean

# Without num_partitions, a split has about this many bytes by the planner's estimate, up to a maximum number of splits:
# each split is a session, and the server has other clients.
SPLIT_BYTES = 256 * 2**20
MAX_SPLITS = 16

# A split with fewer rows is not worth a session, even if num_partitions requests it.
MIN_SPLIT_ROWS = 1000

# Maximum cost of all splits together relative to the whole query. Without an index, each split would scan everything.
MAX_COST_RATIO = 2.5

# Types of columns that may split a read unless the user names one. The bounds are values of rows and are stored with
# the job; values of other types, such as text, may be confidential.
_UNASKED_TYPES = frozenset(
    {"int2", "int4", "int8", "numeric", "float4", "float8", "date", "timestamp", "timestamptz", "uuid"}
)

_KEY_SQL = "SELECT conrelid, conkey FROM pg_constraint WHERE conrelid = ANY(%(oids)s) AND contype = 'p'"


@dataclass(frozen=True)
class Cut:
    """How a read is split.

    Attributes:
        statements: one per read split, at least one.
        reason: the reason, for the plan.
        estimated_rows, estimated_bytes: the planner's estimates.
        risks: warnings for the plan.
    """

    statements: tuple[str, ...]
    reason: str
    estimated_rows: int | None
    estimated_bytes: int | None = None
    risks: tuple[str, ...] = ()


def split_columns(
    connection: Connection,
    columns: QueryColumns,
    *,
    asked_for: str | None = None,
    timestamp_column: str | None = None,
    interval_condition: str = "",
    interval_has_no_null: bool = False,
) -> list[SplitColumn]:
    """Return the columns that may split the read of a query or a table, the best first.

    Args:
        asked_for: the column that the user named.
        timestamp_column: Smart Sync's timestamp column; None for a read of all timestamps.
        interval_condition: the condition on its values, with `{column}`.
        interval_has_no_null: whether the statement excludes rows without a timestamp.

    Raises:
        SourceQueryError: the query does not return the column that the user named.
    """
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_KEY_SQL, {"oids": list(columns.table_oids)})
        keys: dict[int, list[int]] = dict(cursor.fetchall())
    found = {
        column.name: SplitColumn(
            column.name,
            "" if column.is_array or column.is_composite else column.type_name,
            *origin,
            is_lasting=origin[1] in keys.get(origin[0], ()),
        )
        for column, origin in zip(columns.columns, columns.origins, strict=True)
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
    # A composite key splits by its first column, because the index is sorted by it.
    chosen += [
        replace(column, is_of_whole_table=True)
        for column in found.values()
        if keys.get(column.table_oid, [None])[0] == column.number
    ]
    return chosen


def of_key(candidates: Sequence[SplitColumn], key: Schema) -> list[SplitColumn]:
    """Return the columns that may split the read of keys: those of the key itself, as its value never leaves a range.

    By another column, a row that moves from one range to another between two reads would seem to be deleted.
    """
    return [column for column in candidates if column.name in key]


def read_plan(query: str, result: Cut, position: WalPosition | None, risks: tuple[str, ...] = ()) -> ReadPlan:
    """Return the plan of a read that is split as `result` says; `query` is the text for the plan."""
    count = len(result.statements)
    return ReadPlan(
        query=query,
        splits=tuple(PositionedSplit(index, count, part, position) for index, part in enumerate(result.statements, 1)),
        estimated_rows=result.estimated_rows,
        estimated_bytes=result.estimated_bytes,
        splitting=result.reason,
        risks=(*risks, *result.risks),
    )


def cut(
    connection: Connection, statement: ReadStatement, columns: Sequence[SplitColumn], num_partitions: int | None
) -> Cut:
    """Split `statement` into `num_partitions` by the first suitable column of `columns`.

    If `num_partitions` is None, the size determines the number.

    Raises:
        SourceQueryError: the column that the user named cannot split the read.
    """
    with translated_errors(), connection.cursor() as cursor:
        plan = explained(cursor, statement.where())
        rows = plan.get("Plan Rows")
        size = None if rows is None else int(rows) * int(plan.get("Plan Width", 0)) or None
        whole = (statement.where(),)
        wanted = num_partitions if num_partitions is not None else MAX_SPLITS
        blocker = why_not_splittable(cursor, statement.source, plan)
        if blocker and (named := next((column for column in columns if column.is_asked_for), None)):
            raise SourceQueryError(
                f"partition_column: the read cannot be split by {named.name}, because {blocker}: omit "
                "partition_column to read with one statement"
            )
        if wanted == 1:
            return Cut(whole, "from num_partitions", rows, size)
        if blocker:
            return Cut(whole, f"because {blocker}", rows, size)
        reasons = [] if columns else ["no column can split the read: name one as partition_column"]
        for column in columns:
            result = _cut_by(cursor, statement, plan, column, num_partitions)
            if isinstance(result, Cut):
                return result
            reasons.append(result)
        return Cut(whole, "; ".join(dict.fromkeys(reasons)), rows, size)


def small_read(
    statement: ReadStatement, rows: int | None, size: int | None, num_partitions: int | None, *, reads_all: bool
) -> Cut | None:
    """Return the read of a table as one statement if `cut` would not split it, without asking the server; else None.

    Args:
        rows, size: estimates for the whole table, in rows and bytes; None if unknown.
        reads_all: whether the statement reads about all rows; otherwise their number is unknown.
    """
    estimates = (rows, size) if reads_all else (None, None)
    if num_partitions == 1:
        return Cut((statement.where(),), "from num_partitions", *estimates)
    is_small = rows is not None and rows < 2 * MIN_SPLIT_ROWS
    if num_partitions is None:
        is_small = size is not None and size < 2 * SPLIT_BYTES
    if not is_small:
        return None
    about = ([f"about {rows:,} rows"] if rows is not None else []) + ([_mebibytes(size)] if size is not None else [])
    return Cut((statement.where(),), f"one is enough for {', '.join(about)}", *estimates)


def _cut_by(
    cursor: Any, statement: ReadStatement, plan: dict[str, Any], column: SplitColumn, num_partitions: int | None
) -> Cut | str:
    """Return the split by one column, or the reason why the column cannot split the read."""
    rows = int(plan["Plan Rows"])
    relation = relation_of(cursor, column) if column.table_oid else None
    size = rows * int(plan["Plan Width"])
    if relation is not None and relation.rows:
        # The planner's row width does not include values that are stored out of line (TOAST).
        size = max(size, int(relation.size * min(1.0, rows / relation.rows)))
    wanted = wanted_splits(num_partitions, size, rows)
    if wanted < 2:
        return f"one is enough for about {rows:,} rows, {_mebibytes(size)}"
    is_alone = relation is not None and reads_only(plan, relation.members)
    if column.is_of_whole_table and not is_alone:
        return "the query reads more than one table: name a column as partition_column"
    if not column.is_asked_for and column.type_name not in _UNASKED_TYPES:
        return f"the type of {column.name} splits a read only if partition_column names the column"
    bounds = bounds_of(cursor, statement, column, relation, wanted)
    if isinstance(bounds, str):
        return bounds
    if not bounds:
        return f"{column.name} has too few distinct values to split by"
    reference = f"q.{quoted_identifier(column.name)}"
    has_no_null = column.is_never_null or (is_alone and column.number in never_null_columns(cursor, column.table_oid))
    statements = tuple(statement.where(condition) for condition in ranges(reference, bounds, with_null=not has_no_null))
    cost = sum(float(explained(cursor, part)["Total Cost"]) for part in statements) / max(float(plan["Total Cost"]), 1)
    risks = []
    if cost > MAX_COST_RATIO:
        work = f"read splits by {column.name} cost the server {cost:.1f} times as much as one read"
        if not column.is_asked_for:
            return f"{work}: an index on {column.name} would help"
        risks.append(f"{work}: create an index on {column.name}, or omit partition_column")
    if not column.is_lasting:
        risks.append(
            f"the splits are read at different times: a row whose {column.name} changes during the run may be read "
            "twice or not at all"
        )
    reason = f"by ranges of {column.name}, about {rows // len(statements):,} rows each"
    return Cut(statements, reason, rows, size, tuple(risks))


def wanted_splits(num_partitions: int | None, size: int, rows: int) -> int:
    """Return the number of splits of a read of so many bytes and rows, by estimate."""
    return min(num_partitions or min(MAX_SPLITS, size // SPLIT_BYTES), rows // MIN_SPLIT_ROWS)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def ranges(reference: str, bounds: Sequence[str], *, with_null: bool) -> list[str]:
    """Return the conditions of the splits between `bounds`, which are literals in ascending order.

    Every value fulfils exactly one condition, because PostgreSQL orders all values, including NaN and infinity. With
    `with_null`, the first split includes NULL.
    """
    first = f"{reference} <= {bounds[0]}" + (f" OR {reference} IS NULL" if with_null else "")
    between = [f"{reference} > {low} AND {reference} <= {high}" for low, high in itertools.pairwise(bounds)]
    return [first, *between, f"{reference} > {bounds[-1]}"]
