"""Detects rows that row access policies silently hide from the job, and values that data masking hides.

A table with hidden rows looks empty, so the run would load everything again. So after each query of the destination
that a decision depends on, the run checks the statistics of that query's job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, rows_in_table, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.destination import DestinationDescription


def has_row_policies(job: Any) -> bool:
    """Whether a finished query read a table with row access policies, even if they hide nothing.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#rowlevelsecuritystatistics
    """
    return bool(_statistics(job, "rowLevelSecurityStatistics").get("rowLevelSecurityApplied"))


def has_masked_values(job: Any) -> bool:
    """Whether a finished query received masked values.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#datamaskingstatistics
    """
    return bool(_statistics(job, "dataMaskingStatistics").get("dataMaskingApplied"))


def check_answer(
    client: bigquery.Client, job: Any, table_id: str, required_filter_column: str | None, location: str
) -> None:
    """Check a finished query of the destination. Raises SchemaError when rows or values were hidden from it."""
    if has_masked_values(job):
        raise SchemaError(
            f"destination_bigquery_table: data masking hides values of {table_id} from the job's service account, so "
            "the table's contents are unknown: grant it roles/datacatalog.categoryFineGrainedReader on the "
            "policy tags"
        )
    if not has_row_policies(job):
        return
    # A policy that hides nothing also counts as applied, so compare the number of rows.
    rows, counted = rows_in_table(client, table_id), _count(client, table_id, required_filter_column, (), location)
    hidden = min(rows, rows_in_table(client, table_id)) - counted[1]
    if hidden > 0:
        raise SchemaError(
            f"destination_bigquery_table: row access policies hide {hidden:,} rows of {table_id} from the job's "
            "service account, so the table's contents are unknown: run CREATE ROW ACCESS POLICY sync_sees_all "
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
    """Check that the run loses no hidden rows and no policies.

    Args:
        merged_by: the key of a merge; empty to append.
        was_asked: whether the query of the latest timestamp has already shown that no rows are hidden; it does not show
            whether values of the key are.

    Raises:
        SchemaError: hidden rows, or policies that protect them, would be lost.
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
    protected_columns: Sequence[str],
    is_replaced: bool,
) -> None:
    """Count the table's rows, and check what the query saw.

    Args:
        protected_columns: key columns with policy tags; the check reads them, because masking depends on the columns.
        is_replaced: whether the run replaces the table and thus drops its policies.

    Raises:
        SchemaError: rows are hidden from the run, or it would drop the table's policies.
    """
    job, _ = _count(client, table_id, required_filter_column, protected_columns, location)
    if is_replaced and has_row_policies(job):
        raise SchemaError(
            f"delete_existing_table: {table_id} has row access policies, and the replacement table would show all rows "
            "to all its readers: load with write_disposition=WRITE_TRUNCATE, which keeps them, or drop the table "
            "yourself"
        )
    check_answer(client, job, table_id, required_filter_column, location)


def _count(
    client: bigquery.Client, table_id: str, required_filter_column: str | None, columns: Sequence[str], location: str
) -> tuple[Any, int]:
    """Count the visible rows. Return the job and the count. Reads only the columns that it has to name."""
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


def _statistics(job: Any, name: str) -> dict[str, Any]:
    # The client library has no properties for these statistics.
    return vars(job)["_properties"].get("statistics", {}).get(name) or {}
