"""Backfill: one query job replaces the destination's rows of an interval, in one transaction.

A backfill that merges is a merge (`publishing/merge.py`): it replaces rows by their key, wherever they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import ConcurrentSyncError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.insert import insert_statements
from sync_pipeline.publishing.rows_query import destination_alias, destination_rows, script
from sync_pipeline.publishing.strategy import DmlStrategy
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.transforms.in_sql import interval_condition


class ReplaceInterval(DmlStrategy):
    """Replace the destination's rows of the interval; rows with NULL in the timestamp column stay."""

    def sql(self) -> str:
        """Return `replace_interval_sql`."""
        return replace_interval_sql(self.table, self.staged.rows, self.staged.partition_groups)


def replace_interval_sql(table: TableSync, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the transaction that replaces the rows of the interval by those of `select_sql`; see `append_sql`.

    It fails if the destination has lost the later rows that the plan saw: the interval's rows would then be the latest,
    and a run that starts before them could append them again.
    """
    interval = table.interval
    assert interval is not None
    destination = destination_rows(table)
    checks = []
    if not table.may_move_latest:
        assert interval.latest is not None, "a backfill of an empty table may move its latest timestamp"
        later = _condition(table, TimestampBounds("", interval.end, interval.latest))
        problem = string_literal(raised_text(ConcurrentSyncError, changed_meanwhile(table)))
        checks = [f"ASSERT EXISTS (SELECT 1 FROM {destination} WHERE {later}) AS {problem}"]
    within = _condition(table, TimestampBounds("", interval.start, interval.end))
    delete = f"DELETE FROM {destination}\nWHERE {within}"
    inserts = insert_statements(table, table.table_id, partitions)
    return script(table, rows, "BEGIN TRANSACTION", *checks, delete, *inserts, "COMMIT TRANSACTION")


def changed_meanwhile(table: TableSync) -> str:
    """Return the error message of a backfill that must not publish, because another run has moved the destination."""
    return (
        f"another run has changed {table.table_id} since this backfill was planned, and its interval was not replaced: "
        "run it again, or end it before the latest timestamp in the table, where it does not compete with Smart Sync"
    )


def _condition(table: TableSync, bounds: TimestampBounds) -> str:
    """Return the condition that a row of the destination lies within the bounds, with literals, which prune."""
    published = destination_alias(table)
    field = table.schema.field(table.timestamp_column or "")
    condition = interval_condition(f"{published}.{quoted(field.name)}", field.type, bounds)
    required = table.required_filter_column
    if required is None or required.lower() == field.name.lower():
        return condition
    return f"{condition} AND {always_true_filter(f'{published}.{quoted(required)}')}"
