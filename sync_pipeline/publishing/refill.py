"""Refill: one query job replaces all rows of the destination in one transaction; the table itself stays."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.bigquery_api.job_records import changed_rows
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.insert import insert_statements
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.rows_query import script
from sync_pipeline.publishing.strategy import Published, QueryStrategy, Strategy


class RefillTable(QueryStrategy):
    """Replace all rows of the destination."""

    def publish(self) -> Published:
        """Run the transaction of `refill_sql`. Raises PublishError."""
        finished = self.jobs.query(refill_sql(self.plan, self.staged.rows, self.staged.partition_groups), PUBLISH)
        return Published.by(finished, lambda: changed_rows(self.jobs.client, finished.job))


class EmptyTable(Strategy):
    """Delete all rows of the destination, because the source has none."""

    def publish(self) -> Published:
        """Run the statement of `truncate_sql`. Raises PublishError."""
        self.jobs.query(truncate_sql(self.plan), "truncate")
        return Published(None)


def refill_sql(plan: TableSync, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the transaction that replaces all rows of the destination by those of `select_sql`; see `append_sql`."""
    return script(plan, rows, *refill_statements(plan, plan.table_id, partitions))


def refill_statements(plan: TableSync, table_id: str, partitions: Sequence[frozenset[str | None]]) -> list[str]:
    """Return the statements of the transaction that replaces all rows of a table by those of `select_sql`."""
    inserts = insert_statements(plan, table_id, partitions)
    return ["BEGIN TRANSACTION", f"TRUNCATE TABLE {quoted(table_id)}", *inserts, "COMMIT TRANSACTION"]


def truncate_sql(plan: TableSync) -> str:
    """Return the statement that empties the destination."""
    return f"TRUNCATE TABLE {quoted(plan.table_id)}"
