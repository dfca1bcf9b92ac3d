"""Builds the queries for the rows of a table or query, limited to the interval. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.googlesql import quoted
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.transforms.in_sql import interval_condition


@dataclass(frozen=True)
class Filter:
    """The rows to read.

    Attributes:
        timestamp_column, timestamp_type: the timestamp column of the interval; None to read all rows.
        includes_null: whether to read rows without a timestamp too.
        partition_column: the column that BigQuery requires queries of the table to filter by; None without that
            requirement.
    """

    interval: SyncInterval | None = None
    timestamp_column: str | None = None
    timestamp_type: str = "TIMESTAMP"
    includes_null: bool = False
    partition_column: str | None = None

    def condition(self, alias: str = "") -> str:
        """Return the condition for WHERE, empty for all rows. Qualifies columns with `alias` if given."""
        prefix = f"{alias}." if alias else ""
        conditions = []
        if self.interval is not None and self.timestamp_column is not None:
            column = f"{prefix}{quoted(self.timestamp_column)}"
            bounds = TimestampBounds(self.timestamp_column, self.interval.after, self.interval.end)
            condition = interval_condition(column, self.timestamp_type, bounds)
            conditions.append(f"({condition} OR {column} IS NULL)" if self.includes_null else condition)
        if self.partition_column is not None and self.partition_column != self.timestamp_column:
            conditions.append(always_true_filter(f"{prefix}{quoted(self.partition_column)}"))
        return " AND ".join(conditions)


def rows_sql(relation: str, schema: Schema, names: Collection[str], where: Filter) -> str:
    """Return the query for the named columns of the rows that match `where`.

    `relation` is the relation for FROM: a quoted table, or a subquery.
    """
    alias = schema.free_name("q")
    columns = ", ".join(f"{alias}.{quoted(name)}" for name in names)
    condition = where.condition(alias)
    return f"SELECT {columns}\nFROM {relation} AS {alias}" + (f"\nWHERE {condition}" if condition else "")


def range_sql(relation: str, schema: Schema, where: Filter) -> str:
    """Return the query for the earliest and the latest timestamp, as TIMESTAMPs, of the rows that match `where`.

    A timestamp without a time zone becomes one in UTC.
    """
    assert where.timestamp_column is not None, "Smart Sync has one"
    alias = schema.free_name("q")
    column = f"{alias}.{quoted(where.timestamp_column)}"
    first, last = (f"{function}({column})" for function in ("MIN", "MAX"))
    if where.timestamp_type != "TIMESTAMP":
        first, last = f"TIMESTAMP({first})", f"TIMESTAMP({last})"
    return f"SELECT {first}, {last}\nFROM {relation} AS {alias}\nWHERE {where.condition(alias)}"
