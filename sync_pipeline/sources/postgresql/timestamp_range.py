"""Asks the server for the earliest and the latest timestamp of an interval; an index on the column makes it cheap."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import psycopg2.errors
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.smart_sync.interval import EARLIEST, SyncInterval, bound_text
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.sources.postgresql.column_types import quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.query_columns import QUERY_ALIAS
from sync_pipeline.sources.postgresql.split_points import where

# As long as a scan of a large table may take, which each run needs without an index.
_MINUTES = 10


def read_range(connection: Connection, relation: str, column: str, interval: SyncInterval) -> TimestampRange | None:
    """Return the range of the timestamps in `interval`; None if there are none.

    Args:
        relation: the relation for FROM, with the alias `QUERY_ALIAS`.

    Raises:
        SourceError: the server rejects the query, or takes too long.
    """
    reference = f"{QUERY_ALIAS}.{quoted_identifier(column)}"
    after = f"> '{bound_text(interval.after)}'" if interval.after is not None else f">= '{bound_text(EARLIEST)}'"
    bounds = f"{reference} {after} AND {reference} <= '{bound_text(interval.end)}'"
    statement = f"SELECT min({reference}), max({reference})\nFROM {relation}{where([bounds])}"
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {_MINUTES * 60_000}")
        try:
            cursor.execute(statement)
        except psycopg2.errors.QueryCanceled:
            raise SourceQueryError(
                f"smart_sync_max_interval_hours: the server could not find the first and the last {column} within "
                f"{_MINUTES} minutes: create an index on it, or omit the parameter"
            ) from None
        first, last = cursor.fetchone()
    return None if first is None else TimestampRange(_utc(first), _utc(last))


def _utc(moment: datetime | date) -> datetime:
    """Return a timestamp as bounds of intervals are written: one without a time zone as if it were UTC."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
