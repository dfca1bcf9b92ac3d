"""Insert: one query job appends the rows, in one transaction where it takes several statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import ConcurrentSyncError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.rows_query import columns, destination_alias, destination_rows, script, select_sql
from sync_pipeline.publishing.strategy import DmlStrategy


class InsertRows(DmlStrategy):
    """Append the rows to the destination."""

    def sql(self) -> str:
        """Return `append_sql`."""
        return append_sql(self.table, self.staged.rows, self.staged.partition_groups)


def append_sql(table: TableSync, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the statements that append the rows of `select_sql` to the destination, all of them or none.

    Args:
        rows: how many rows the staging table must hold.
        partitions: the groups of partitions that one statement each writes to, where one cannot write to all of them.

    The last statement is the one that changes the table: when a script fails, it has changed nothing. It fails if the
    run fills an empty table, and the table has rows.
    """
    inserts = insert_statements(table, table.table_id, partitions)
    if len(inserts) > 1:
        inserts = ["BEGIN TRANSACTION", *inserts, "COMMIT TRANSACTION"]
    return script(table, rows, *(_emptiness_check(table) if table.fills_empty_table else ()), *inserts)


def filled_meanwhile(table: TableSync) -> str:
    """Return the error message of a run that must not publish, because the table is no longer empty."""
    return (
        f"{table.table_id} has rows that were written after the plan, and this run would append all rows of the source "
        "to them: nothing was published; run it again"
    )


def _emptiness_check(table: TableSync) -> Iterator[str]:
    where = ""
    if table.required_filter_column is not None:
        column = f"{destination_alias(table)}.{quoted(table.required_filter_column)}"
        where = f" WHERE {always_true_filter(column)}"
    problem = string_literal(raised_text(ConcurrentSyncError, filled_meanwhile(table)))
    yield f"ASSERT NOT EXISTS (SELECT 1 FROM {destination_rows(table)}{where}) AS {problem}"


def insert_statements(table: TableSync, table_id: str, partitions: Sequence[frozenset[str | None]]) -> list[str]:
    """Return the statements that insert the rows of `select_sql` into a table, one for each group of partitions."""
    insert = f"INSERT INTO {quoted(table_id)} ({columns(table)})\n"
    if len(partitions) < 2:
        return [f"{insert}{select_sql(table)}"]
    rows = table.schema.free_name("r")
    selected = f"{insert}SELECT {columns(table)} FROM (\n{select_sql(table)}\n) AS {rows}\nWHERE "
    return [selected + condition for condition in _conditions(table, rows, partitions)]


def _conditions(table: TableSync, rows: str, partitions: Sequence[frozenset[str | None]]) -> Iterator[str]:
    """Yield a condition for each group; together they hold for every row, and each row for one of them."""
    field = table.schema.field(table.layout.partition_field or "")
    column = f"{rows}.{quoted(field.name)}"
    starts = [min(moment for moment in group if moment is not None) for group in partitions]
    for number, start in enumerate(starts):
        bounds = []
        if number:
            bounds.append(f"{column} >= {field.type} {string_literal(start)}")
        if number + 1 < len(starts):
            bounds.append(f"{column} < {field.type} {string_literal(starts[number + 1])}")
        condition = " AND ".join(bounds)
        yield condition if number else f"({condition} OR {column} IS NULL)"
