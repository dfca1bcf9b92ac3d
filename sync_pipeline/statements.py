"""The statements of GoogleSQL that publish rows. Columns are aliased and quoted: a table may be named alike."""

from __future__ import annotations

from sync_pipeline import merge_statement
from sync_pipeline.layout import create_table_sql
from sync_pipeline.merge_statement import alias, columns
from sync_pipeline.plan import SyncPlan
from sync_pipeline.schema import quoted
from sync_pipeline.source import Selection
from sync_pipeline.sql_transformation import destination_sql, rebuilt


def select_sql(plan: SyncPlan) -> str:
    """Return the query for rows of the destination, from the staging table or straight from a source in BigQuery.

    With a primary key, of rows with one key the newest counts; of equally new ones always the same one.
    """
    staged = alias("s", plan)
    fields = [(field, f"{staged}.{quoted(field.name)}") for field in plan.schema]
    if plan.selection is None:
        relation = quoted(plan.staging_table_id)
        expressions = [f"{rebuilt(column, field)} AS {quoted(field.name)}" for field, column in fields]
    else:
        relation = f"(\n{_source_sql(plan, plan.selection)}\n)"
        expressions = [f"{column} AS {quoted(field.name)}" for field, column in fields]
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
    return f"INSERT INTO {quoted(plan.table_id)} ({columns(plan)})\n{select_sql(plan)}"


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
    """Return the statement that updates rows by their primary key and inserts those that are new."""
    return merge_statement.merge_sql(plan, select_sql(plan))


def _source_sql(plan: SyncPlan, selection: Selection) -> str:
    return destination_sql(
        selection.sql,
        selection.schema,
        plan.read_schema,
        plan.schema,
        plan.config.transformation,
        None if selection.is_sure else plan.bounds,
    )
