"""Decides how the destination is compared with the source: by which key, and what the next run will change by itself.

A difference counts only if no later run removes it. With Smart Sync, the next run reads the rows that are later than
where it starts: what it will load, or delete, is not yet synced. Without Smart Sync every run loads all rows, and
nothing tells a row that is new from one that is missing: all differences count.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.parameters import rows
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.billed_queries import METADATA, BilledQuery, price_text
from sync_pipeline.planning.collation import check_collation
from sync_pipeline.planning.columns import TableColumns
from sync_pipeline.planning.deletions import MARK
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.planning.reconciliation import NextRun, Reconciliation
from sync_pipeline.planning.row_security import check_visibility
from sync_pipeline.schema import KEY_TYPES, REPEATED
from sync_pipeline.smart_sync.interval import (
    BEGINNING,
    LATEST,
    StartOrigin,
    SyncInterval,
    bound_text,
    resolve_interval,
)
from sync_pipeline.sources.source import SourceClock, SourceDescription
from sync_pipeline.transforms.batches import destination_name


def interval_to_compare(interval: SyncInterval | None) -> SyncInterval | None:
    """Return the interval of the rows to read: the given one of a backfill, else that of all rows.

    Args:
        interval: the one that a run would load; None without Smart Sync.
    """
    if interval is None or interval.is_backfill:
        return interval
    return SyncInterval(BEGINNING, LATEST, StartOrigin.RECONCILE, interval.latest, interval.wall_clock)


def plan_reconciliation(
    client: bigquery.Client,
    config: SyncConfig,
    clock: SourceClock,
    interval: SyncInterval | None,
    columns: TableColumns,
    destination: DestinationDescription,
) -> Reconciliation:
    """Return how the table is compared.

    Raises:
        SchemaError: the table does not exist, rows or values of it are hidden, or texts have a collation.
        PublishError: BigQuery rejected a request.
    """
    table, table_id = destination.table, config.destination.table_id
    if table is None:
        raise SchemaError(
            f"reconcile: {table_id} does not exist, so there is nothing to compare: omit reconcile to load it"
        )
    was_asked = config.smart_sync is not None
    check_visibility(client, table_id, destination, merged_by=columns.schema.names, was_asked=was_asked)
    check_collation(config.destination, destination, columns.schema, columns.schema.names, "reconcile")
    mark = table.schema.find(MARK.name)
    has_marks = mark is not None and mark.type_name == MARK.type_name and columns.schema.find(MARK.name) is None
    return Reconciliation(
        repairs=config.reconcile == rows.REPAIR,
        max_percent=config.max_deleted_percent,
        next_run=_next_run(config, clock, interval, columns),
        mark=MARK.name if has_marks else None,
        content=None if interval is not None else _content(client, table_id, destination),
    )


def _next_run(
    config: SyncConfig, clock: SourceClock, interval: SyncInterval | None, columns: TableColumns
) -> NextRun | None:
    smart_sync = config.smart_sync
    if interval is None or smart_sync is None:
        return None
    following = resolve_interval(
        interval.latest,
        clock.upper_bound,
        sync_all_on_empty_table=smart_sync.sync_all_on_empty_table,
        fallback_days=smart_sync.fallback_days,
        lookback=smart_sync.lookback,
        table_is_replaced=False,
        wall_clock=interval.wall_clock,
    )
    is_merged = bool(columns.primary_key)
    return NextRun(
        after=following.after,
        upper_bound=clock.upper_bound,
        includes_null=smart_sync.include_null_timestamps,
        deletes=is_merged and config.deletes != rows.KEEP,
        unmarks=is_merged and config.deletes == rows.MARK,
        keeps_versions=not is_merged,
    )


def key_to_compare(config: SyncConfig, description: SourceDescription, columns: TableColumns) -> tuple[str, ...]:
    """Return the key of a merge, or the source's own key where a run replaces all rows; empty to compare whole rows."""
    if columns.primary_key or config.destination.write_disposition != "WRITE_TRUNCATE":
        return columns.primary_key
    if not description.single_table or any(name not in columns.read for name in description.primary_key):
        return ()
    key = tuple(destination_name(name, columns.transformation) for name in description.primary_key)
    fields = [columns.schema.field(name) for name in key]
    return key if all(field.type in KEY_TYPES and field.mode != REPEATED for field in fields) else ()


def content_sql(table_id: str, required_filter_column: str | None, alias: str = "t") -> str:
    """Return the query for a checksum of a table's rows, whatever their order, as one STRING."""
    filters = (
        f"\nWHERE {always_true_filter(f'{alias}.{quoted(required_filter_column)}')}" if required_filter_column else ""
    )
    checksum = f"SUM(CAST(FARM_FINGERPRINT(TO_JSON_STRING({alias})) AS NUMERIC))"
    return (
        f"SELECT CONCAT(CAST(COUNT(*) AS STRING), ' ', CAST(IFNULL({checksum}, 0) AS STRING)) AS content\n"
        f"FROM {quoted(table_id)} AS {alias}{filters}"
    )


def _content(client: bigquery.Client, table_id: str, destination: DestinationDescription) -> str:
    assert destination.table is not None
    alias = destination.table.schema.free_name("t")
    sql = content_sql(table_id, destination.table.required_filter_column, alias)
    with translated_errors(f"look at the rows of {table_id}"):
        job = client.query(
            sql,
            job_config=bigquery.QueryJobConfig(use_query_cache=False),
            location=destination.location,
            retry=REQUEST_RETRY,
        )
        [row] = job.result()
    return str(row[0])


def reconcile_costs(destination: DestinationDescription) -> str:
    """Return a sentence on the minimum cost of the comparison."""
    assert destination.table is not None
    return f"the comparison reads the whole table: {price_text(destination.table.size)}"


def reconcile_query(destination: DestinationDescription) -> BilledQuery:
    """Return the comparison as a query that BigQuery bills."""
    assert destination.table is not None
    return BilledQuery("comparison", destination.table.size, METADATA)


def reconcile_notes(
    reconciliation: Reconciliation, interval: SyncInterval | None, key: tuple[str, ...]
) -> Iterator[str]:
    """Yield sentences for the plan about what counts as a difference.

    Args:
        interval: that of the rows to read.
        key: the columns by which rows are compared.
    """
    following = reconciliation.next_run
    if following is None:
        yield (
            "without Smart Sync nothing tells a new row from a missing one: what the source has changed since the last "
            "run counts as a difference"
        )
    elif following.after is None:
        yield "all rows with a timestamp count as not yet synced, because the next run reads them all"
    else:
        start = bound_text(following.after)
        shown = start if interval is None or interval.wall_clock is None else start.removesuffix("+00")
        yield f"rows later than {shown} count as not yet synced, because the next run reads them"
    if not key:
        yield "rows are compared whole, because there is no key: a changed row counts as a missing and a surplus one"
    if following is not None and following.keeps_versions:
        yield "rows that the source does not have are older versions, which a run that appends keeps: they do not count"
    elif interval is not None and interval.is_backfill:
        yield "rows of the interval that the source no longer has in it are not judged: they may have been updated"


def reconcile_risks(config: SyncConfig) -> Iterator[str]:
    """Yield a warning if rows that no run was to load count as missing."""
    smart_sync = config.smart_sync
    if smart_sync is not None and not smart_sync.sync_all_on_empty_table and smart_sync.backfill is None:
        yield (
            "sync_all_on_empty_table is false: rows older than the start of the first run count as missing; give "
            "interval_start and interval_end to leave them out"
        )
