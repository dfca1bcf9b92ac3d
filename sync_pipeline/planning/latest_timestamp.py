"""Queries the destination's latest timestamp, for Smart Sync."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.row_security import check_answer
from sync_pipeline.schema import TIMESTAMP_TYPES
from sync_pipeline.smart_sync.interval import LatestTimestamp

# How far back the first query reaches: only a few partitions, but longer than most tables go without a new row.
NEWEST = {
    "HOUR": timedelta(days=2),
    "DAY": timedelta(days=7),
    "MONTH": timedelta(days=62),
    "YEAR": timedelta(days=366),
}


def latest_timestamp(
    client: bigquery.Client, table_id: str, column: str, table: ExistingTable, now: datetime, location: str
) -> LatestTimestamp:
    """Return the destination's latest timestamp.

    Only an empty table, or one with NULL in every row, gives None. Any failure, including hidden rows, is an error,
    because treating the table as empty would load everything again.
    """
    field = table.schema.find(column)
    if field is None or field.type not in TIMESTAMP_TYPES:
        raise SchemaError(
            f"smart_sync_timestamp_column: {column} is {field.type_name if field else 'not'} in {table_id}: Smart Sync "
            "needs it as TIMESTAMP or DATETIME, to find the latest timestamp"
        )
    value = now if field.type == "TIMESTAMP" else now.astimezone(UTC).replace(tzinfo=None)
    since = value - NEWEST[table.layout.partition_granularity] if _is_partitioned_by(table, field.name) else None
    job_config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter("now", field.type, value)], use_query_cache=False
    )

    def ask(since: datetime | None) -> tuple[datetime | None, datetime | None]:
        with translated_errors(f"ask {table_id} for its latest {column}"):
            job = client.query(
                latest_timestamp_sql(table_id, field.name, table, since),
                job_config=job_config,
                location=location,
                retry=REQUEST_RETRY,
            )
            [row] = job.result()
            job.reload(retry=REQUEST_RETRY)
        check_answer(client, job, table_id, table.required_filter_column, location)
        return _utc(row[0]), _utc(row[1])

    latest, last = ask(since)
    if latest is None and since is not None:
        latest, last = ask(None)
    return LatestTimestamp(value=latest, future=last if last is not None and last > now else None)


def latest_timestamp_sql(table_id: str, column: str, table: ExistingTable, since: datetime | None = None) -> str:
    """Return the query for the latest timestamp that is not in the source's future (@now), and the latest of all.

    With `since`, reads only partitions from then on. If they contain a row that is not in the future, the result is the
    same as for the whole table.
    """
    timestamp = f"t.{quoted(column)}"
    filters = ""
    if since is not None:
        # A literal, because BigQuery prunes partitions only by constants.
        literal = since.isoformat(sep=" ", timespec="microseconds")
        filters = f"\nWHERE {timestamp} >= {'DATETIME' if since.tzinfo is None else 'TIMESTAMP'} '{literal}'"
    elif table.required_filter_column:
        filters = f"\nWHERE {always_true_filter(f't.{quoted(table.required_filter_column)}')}"
    return (
        f"SELECT MAX(IF({timestamp} <= @now, {timestamp}, NULL)) AS latest, MAX({timestamp}) AS last\n"
        f"FROM {quoted(table_id)} AS t{filters}"
    )


def _is_partitioned_by(table: ExistingTable, column: str) -> bool:
    return (table.layout.partition_field or "").lower() == column.lower()


def _utc(answer: Any) -> datetime | None:
    if answer is None:
        return None
    assert isinstance(answer, datetime)
    return answer.replace(tzinfo=UTC) if answer.tzinfo is None else answer.astimezone(UTC)
