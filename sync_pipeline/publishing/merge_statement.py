"""The MERGE that publishes rows, which reads only the partitions that hold older versions of them.

BigQuery bills a MERGE for the partitions it scans, and scans all of those that no constant rules out. A row's partition
may change, so its new version does not tell where the old one lies. A script finds that out first, by reading the key
and the partition column alone, and names those partitions to the MERGE by a variable. Both are one transaction, so that
nobody moves a row in between. https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables,
https://cloud.google.com/bigquery/docs/transactions
"""

from __future__ import annotations

from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import SyncPlan
from sync_pipeline.planning.pruning import OLD, OLD_IS_NULL, OLD_PARTITIONS, ROWS
from sync_pipeline.schema import PARTITION_GRANULARITIES, Field


def merge_sql(plan: SyncPlan, rows_sql: str) -> str:
    """Return the statement that updates rows by their primary key and inserts those that are new.

    A row of the destination that is newer than the staged one stays: it came with a run that read later and published
    first. One from the future did not, and would otherwise never be put right. Keys are never NULL, the read has made
    sure.

    Args:
        plan: with `pruned_by` the statement is a block of a script.
        rows_sql: the query for the rows, each key once.
    """
    if plan.pruned_by is None:
        return _merge(plan, rows_sql)
    return _pruned_merge(plan, rows_sql, plan.pruned_by)


def _merge(plan: SyncPlan, rows_sql: str, pruning: str | None = None) -> str:
    published, staged = alias("t", plan), alias("s", plan)
    matches = [f"{published}.{quoted(name)} = {staged}.{quoted(name)}" for name in plan.primary_key]
    if plan.required_filter_column is not None:
        matches.append(always_true_filter(f"{published}.{quoted(plan.required_filter_column)}"))
    if pruning is not None:
        matches.append(pruning)
    newer = ""
    if plan.timestamp_column is not None:
        column = quoted(plan.timestamp_column)
        old, new = f"{published}.{column}", f"{staged}.{column}"
        now = _now_sql(plan, plan.schema.field(plan.timestamp_column).type)
        newer = f" AND ({old} IS NULL OR {new} IS NULL OR {new} >= {old} OR {old} > {now})"
    others = [quoted(name) for name in plan.schema.names if name not in plan.primary_key]
    updates = ", ".join(f"{column} = {staged}.{column}" for column in others)
    values = ", ".join(f"{staged}.{quoted(name)}" for name in plan.schema.names)
    return "\n".join(
        (
            f"MERGE INTO {quoted(plan.table_id)} AS {published}",
            f"USING (\n{rows_sql}\n) AS {staged}",
            f"ON {' AND '.join(matches)}",
            *([f"WHEN MATCHED{newer} THEN UPDATE SET {updates}"] if updates else []),
            f"WHEN NOT MATCHED THEN INSERT ({columns(plan)}) VALUES ({values})",
        )
    )


def _now_sql(plan: SyncPlan, type_name: str) -> str:
    """Return what the clock of the timestamps shows now, whatever a project's default_time_zone is."""
    clock = plan.interval.wall_clock if plan.interval is not None else None
    if clock is None and type_name == "TIMESTAMP":
        return "CURRENT_TIMESTAMP()"
    now = f"CURRENT_DATETIME('{clock.zone if clock is not None else 'UTC'}')"
    # Readings of a wall clock are compared, and stored in a TIMESTAMP, as if they were UTC.
    return now if type_name == "DATETIME" else f"TIMESTAMP({now}, 'UTC')"


def _pruned_merge(plan: SyncPlan, rows_sql: str, column: Field) -> str:
    published, staged = alias("t", plan), alias("s", plan)
    # What BigQuery selects by itself is selected once; staged rows lie in a table already.
    is_staged = plan.selection is None
    rows = quoted(plan.staging_table_id) if is_staged else ROWS
    moment = f"{published}.{quoted(column.name)}"
    old_partition = _partition(moment, column, plan)
    incoming = plan.schema.find(column.name)
    new_partition = (
        f"CAST(NULL AS {column.type})"
        if incoming is None
        else _partition(f"{staged}.{quoted(incoming.name)}", column, plan)
    )
    keys = ", ".join(map(quoted, plan.primary_key))
    matches = " AND ".join(f"{published}.{quoted(name)} = {staged}.{quoted(name)}" for name in plan.primary_key)
    filters = (
        ""
        if plan.required_filter_column is None
        else f"WHERE {always_true_filter(f'{published}.{quoted(plan.required_filter_column)}')}\n"
    )
    pruning = f"({old_partition} IN UNNEST({OLD_PARTITIONS}) OR ({OLD_IS_NULL} AND {moment} IS NULL))"
    selected = rows_sql if is_staged else f"SELECT * FROM {ROWS}"
    statements = (
        f"DECLARE {OLD} STRUCT<partitions ARRAY<{column.type}>, has_null BOOL>",
        f"DECLARE {OLD_PARTITIONS} ARRAY<{column.type}>",
        f"DECLARE {OLD_IS_NULL} BOOL",
        *(() if is_staged else (f"CREATE TEMP TABLE {ROWS} AS\n{rows_sql}",)),
        "BEGIN TRANSACTION",
        (
            f"SET {OLD} = (\nSELECT AS STRUCT ARRAY_AGG(DISTINCT {old_partition} IGNORE NULLS) AS partitions, "
            f"LOGICAL_OR({moment} IS NULL) AS has_null\n"
            f"FROM {quoted(plan.table_id)} AS {published}\n"
            f"JOIN (SELECT DISTINCT {keys} FROM {rows}) AS {staged}\nON {matches}\n{filters})"
        ),
        # A row that nobody has is in no partition.
        f"SET {OLD_PARTITIONS} = IFNULL({OLD}.partitions, [])",
        f"SET {OLD_IS_NULL} = IFNULL({OLD}.has_null, FALSE)",
        (
            f"ASSERT (\nSELECT COUNT(*) + IF({OLD_IS_NULL}, 1, 0)\n"
            f"FROM (SELECT * FROM UNNEST({OLD_PARTITIONS})\nUNION DISTINCT\n"
            f"SELECT {new_partition} FROM {rows} AS {staged})\n"
            f") <= {MAX_PARTITIONS_PER_JOB} AS {string_literal(_too_many(column, plan))}"
        ),
        _merge(plan, selected, pruning),
        "COMMIT TRANSACTION",
    )
    return "BEGIN\n" + "".join(f"{statement};\n" for statement in statements) + "END"


def _partition(moment: str, column: Field, plan: SyncPlan) -> str:
    granularity = plan.layout.partition_granularity
    is_whole = column.type == "DATE" and granularity == "DAY"
    return moment if is_whole else f"{column.type}_TRUNC({moment}, {granularity})"


def _too_many(column: Field, plan: SyncPlan) -> str:
    allowed = PARTITION_GRANULARITIES[column.type]
    wider = allowed[allowed.index(plan.layout.partition_granularity) + 1 :]
    remedy = f"build the table with partition_granularity={wider[0]} (delete_existing_table), or " if wider else ""
    # The form that `transforms.in_sql.raised_error` recognises.
    return (
        f"sync:SchemaError: the merge changes rows in more than {MAX_PARTITIONS_PER_JOB:,} partitions of {column.name} "
        f"by {plan.layout.partition_granularity}, older row versions included, BigQuery's limit for one job: "
        f"{remedy}partition it by a column that does not change, or merge a shorter interval a run :sync"
    )


def columns(plan: SyncPlan) -> str:
    """Return the names of the columns that are written, quoted."""
    return ", ".join(map(quoted, plan.schema.names))


def alias(name: str, plan: SyncPlan) -> str:
    """Return an alias that no column has: QUALIFY takes a column `s` for `s`, and MERGE refuses to SET a column `t`."""
    while plan.schema.find(name):
        name += "_"
    return name
