"""The statements of GoogleSQL that publish rows. Columns are aliased and quoted: a table may be named alike."""

from __future__ import annotations

from sync_pipeline.layout import any_partition, create_table_sql
from sync_pipeline.plan import SyncPlan
from sync_pipeline.schema import quoted
from sync_pipeline.source import Selection
from sync_pipeline.sql_transformation import destination_sql, rebuilt


def select_sql(plan: SyncPlan) -> str:
    """Return the query for rows of the destination, from the staging table or straight from a source in BigQuery.

    With a primary key, of rows with one key the newest counts; of equally new ones always the same one.
    """
    staged = _alias("s", plan)
    columns = [(field, f"{staged}.{quoted(field.name)}") for field in plan.schema]
    if plan.selection is None:
        relation = quoted(plan.staging_table_id)
        expressions = [f"{rebuilt(column, field)} AS {quoted(field.name)}" for field, column in columns]
    else:
        relation = f"(\n{_source_sql(plan, plan.selection)}\n)"
        expressions = [f"{column} AS {quoted(field.name)}" for field, column in columns]
    sql = f"SELECT {', '.join(expressions)}\nFROM {relation} AS {staged}"
    if not plan.primary_key:
        return sql
    keys = ", ".join(f"{staged}.{quoted(name)}" for name in plan.primary_key)
    newest = f"{staged}.{quoted(plan.timestamp_column)} DESC, " if plan.timestamp_column is not None else ""
    return (
        f"{sql}\nWHERE TRUE\n"
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {newest}TO_JSON_STRING({staged}) DESC) = 1"
    )


def insert_sql(plan: SyncPlan) -> str:
    """Return the statement that appends the rows of `select_sql` to the destination."""
    return f"INSERT INTO {quoted(plan.table_id)} ({_columns(plan)})\n{select_sql(plan)}"


def truncate_sql(plan: SyncPlan) -> str:
    """Return the statement that empties the destination."""
    return f"TRUNCATE TABLE {quoted(plan.table_id)}"


def count_sql(plan: SyncPlan) -> str:
    """Return the query for the number of rows in the destination."""
    return f"SELECT COUNT(*) FROM {quoted(plan.table_id)}"


def replace_sql(plan: SyncPlan) -> str:
    """Return the statement that puts a new table, with the rows of `select_sql`, in the destination's place."""
    return f"{create_table_sql(plan.table_id, plan.schema, plan.layout, replace=True)}\nAS {select_sql(plan)}"


def merge_sql(plan: SyncPlan) -> str:
    """Return the statement that updates rows by their primary key and inserts those that are new.

    A row of the destination that is newer than the staged one stays: it came with a run that read later and published
    first. One from the future did not, and would otherwise never be put right. Keys are never NULL, the read has made
    sure. The destination is not pruned by its partition column: where a row's partition can change, its old version
    would not be found and the new one inserted beside it.
    """
    published, staged = _alias("t", plan), _alias("s", plan)
    matches = [f"{published}.{quoted(name)} = {staged}.{quoted(name)}" for name in plan.primary_key]
    if plan.demanded_column is not None:
        matches.append(any_partition(f"{published}.{quoted(plan.demanded_column)}"))
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
            f"USING (\n{select_sql(plan)}\n) AS {staged}",
            f"ON {' AND '.join(matches)}",
            *([f"WHEN MATCHED{newer} THEN UPDATE SET {updates}"] if updates else []),
            f"WHEN NOT MATCHED THEN INSERT ({_columns(plan)}) VALUES ({values})",
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


def _source_sql(plan: SyncPlan, selection: Selection) -> str:
    return destination_sql(
        selection.sql,
        selection.schema,
        plan.read_schema,
        plan.schema,
        plan.config.transformation,
        None if selection.is_sure else plan.bounds,
    )


def _columns(plan: SyncPlan) -> str:
    return ", ".join(map(quoted, plan.schema.names))


def _alias(name: str, plan: SyncPlan) -> str:
    """Return an alias that no column has: QUALIFY takes a column `s` for `s`, and MERGE refuses to SET a column `t`."""
    while plan.schema.find(name):
        name += "_"
    return name
