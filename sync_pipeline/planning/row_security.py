"""What BigQuery hides from the job without an error: rows by row access policies, values by data masking.

A table whose rows are hidden looks empty, and would be loaded once more. So every question to the destination on which
a decision rests is followed by one to the job that answered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.destination import DestinationDescription


def has_row_policies(job: Any) -> bool:
    """Whether a query that has ended read a table with row access policies, whatever they let through.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#rowlevelsecuritystatistics
    """
    return bool(_statistics(job, "rowLevelSecurityStatistics").get("rowLevelSecurityApplied"))


def has_masked_values(job: Any) -> bool:
    """Whether a query that has ended was given masked values.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#datamaskingstatistics
    """
    return bool(_statistics(job, "dataMaskingStatistics").get("dataMaskingApplied"))


def check_answer(
    client: bigquery.Client, job: Any, table_id: str, required_filter_column: str | None, location: str
) -> None:
    """Raise SchemaError unless a query over the destination that has ended was shown all rows and true values."""
    if has_masked_values(job):
        raise SchemaError(
            f"destination_bigquery_table: data masking hides values of {table_id} from the job's service account, so "
            "that nobody can tell what the table holds: grant it roles/datacatalog.categoryFineGrainedReader on the "
            "policy tags"
        )
    if not has_row_policies(job):
        return
    # A policy that lets everything through counts as applied, too.
    rows, counted = _rows(client, table_id), _count(client, table_id, required_filter_column, (), location)
    hidden = min(rows, _rows(client, table_id)) - counted[1]
    if hidden > 0:
        raise SchemaError(
            f"destination_bigquery_table: row access policies hide {hidden:,} rows of {table_id} from the job's "
            "service account, so that nobody can tell what the table holds: run CREATE ROW ACCESS POLICY sync_sees_all "
            f"ON {quoted(table_id)} GRANT TO ('serviceAccount:…') FILTER USING (TRUE) with its address"
        )


def check_visibility(
    client: bigquery.Client,
    table_id: str,
    destination: DestinationDescription,
    *,
    merged_by: Sequence[str],
    was_asked: bool,
) -> None:
    """Raise SchemaError where rows that are hidden from the job, or policies that protect them, would be lost.

    Args:
        merged_by: the key by which rows are merged; empty where they are not.
        was_asked: the table has been asked for its latest timestamp, which has shown whether rows are hidden, but not
            which values of the key are.
    """
    table = destination.table
    if table is None:
        return
    protected = [name for name in merged_by if (field := table.schema.find(name)) and field.policy_tags]
    if destination.is_replaced or protected or (merged_by and not was_asked):
        check_table(
            client,
            table_id,
            table.required_filter_column,
            destination.location,
            protected_columns=() if destination.is_replaced else protected,
            is_replaced=destination.is_replaced,
        )


def check_table(
    client: bigquery.Client,
    table_id: str,
    required_filter_column: str | None,
    location: str,
    *,
    protected_columns: Sequence[str] = (),
    is_replaced: bool = False,
) -> None:
    """Raise SchemaError where a statement that finds rows would not see all, or would drop the table's policies.

    For runs that ask the table nothing else.

    Args:
        protected_columns: columns with policy tags that rows are found by; they are read, as masking depends on them.
        is_replaced: the table is put away, and its policies with it.
    """
    job, _ = _count(client, table_id, required_filter_column, protected_columns, location)
    if is_replaced and has_row_policies(job):
        raise SchemaError(
            f"delete_existing_table: {table_id} has row access policies, and the table that takes its place would show "
            "all rows to everybody who may read it: load with write_disposition=WRITE_TRUNCATE, which keeps them, or "
            "drop the table yourself"
        )
    check_answer(client, job, table_id, required_filter_column, location)


def _count(
    client: bigquery.Client, table_id: str, required_filter_column: str | None, columns: Sequence[str], location: str
) -> tuple[Any, int]:
    """Return the job that counted the rows we see, and their number. It reads no column but those it has to name."""
    filters = f"\nWHERE {always_true_filter(f't.{quoted(required_filter_column)}')}" if required_filter_column else ""
    counts = ", ".join(["COUNT(*)", *(f"COUNT(t.{quoted(name)})" for name in columns)])
    with translated_errors(f"count the rows of {table_id}"):
        job = client.query(
            f"SELECT {counts}\nFROM {quoted(table_id)} AS t{filters}",
            job_config=bigquery.QueryJobConfig(use_query_cache=False),
            location=location,
            retry=REQUEST_RETRY,
        )
        [row] = job.result()
        job.reload(retry=REQUEST_RETRY)
    return job, int(row[0])


def _rows(client: bigquery.Client, table_id: str) -> int:
    """Return the number of rows by the table's metadata, which no policy hides; without those still being streamed."""
    with translated_errors(f"look at the table {table_id}"):
        return int(client.get_table(table_id, retry=REQUEST_RETRY).num_rows or 0)


def _statistics(job: Any, name: str) -> dict[str, Any]:
    # The client has no properties for these.
    return vars(job)["_properties"].get("statistics", {}).get(name) or {}
