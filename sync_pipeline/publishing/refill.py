"""Refill: one query job replaces all rows of the destination in one transaction; the table itself stays."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.bigquery_api.client import rows_in_table
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.insert import insert_statements
from sync_pipeline.publishing.rows_query import script
from sync_pipeline.publishing.strategy import DmlStrategy, Published, Strategy


class RefillTable(DmlStrategy):
    """Replace all rows of the destination."""

    def sql(self) -> str:
        """Return `refill_sql`."""
        return refill_sql(self.table, self.staged.rows, self.staged.partition_groups)


class EmptyTable(Strategy):
    """Delete all rows of the destination, because the source has none."""

    def publish(self) -> Published:
        """Run the statement of `truncate_sql`. Raises PublishError."""
        # Another run may have created the table since this one was planned, and filled it.
        if not self.table.creates_table or rows_in_table(self.jobs.client, self.table.table_id):
            self.jobs.query(truncate_sql(self.table), "truncate")
        return Published(None)


def refill_sql(table: TableSync, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the transaction that replaces all rows of the destination by those of `select_sql`; see `append_sql`."""
    return script(table, rows, *refill_statements(table, table.table_id, partitions))


def refill_statements(table: TableSync, table_id: str, partitions: Sequence[frozenset[str | None]]) -> list[str]:
    """Return the statements of the transaction that replaces all rows of a table by those of `select_sql`."""
    inserts = insert_statements(table, table_id, partitions)
    return ["BEGIN TRANSACTION", f"TRUNCATE TABLE {quoted(table_id)}", *inserts, "COMMIT TRANSACTION"]


def truncate_sql(table: TableSync) -> str:
    """Return the statement that empties the destination."""
    return f"TRUNCATE TABLE {quoted(table.table_id)}"
