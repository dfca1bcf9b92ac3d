"""The statements of GoogleSQL that publish rows. Columns are aliased and quoted: a table may be named alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sync_pipeline.auto_schema.ddl import create_table_sql
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import SyncPlan
from sync_pipeline.publishing import merge_statement
from sync_pipeline.publishing.merge_statement import alias, columns
from sync_pipeline.sources.source import Selection
from sync_pipeline.transforms.in_sql import destination_sql, rebuilt

# A table that is staged or built expires by itself: later than a load job may run, and a query job may wait.
STAGING_TABLE_HOURS = 24


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


def append_sql(plan: SyncPlan, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the statements that append the rows of `select_sql` to the destination, all of them or none.

    Args:
        rows: how many rows the staging table must hold.
        partitions: the groups of partitions that one statement each writes to, where one cannot write to all of them.

    The last statement is the one that changes the table: when a script fails, it has changed nothing.
    """
    inserts = _inserts(plan, plan.table_id, partitions)
    if len(inserts) > 1:
        inserts = ["BEGIN TRANSACTION", *inserts, "COMMIT TRANSACTION"]
    return _script(*_staged_rows(plan, rows), *inserts)


def refill_sql(plan: SyncPlan, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the transaction that replaces all rows of the destination by those of `select_sql`; see `append_sql`."""
    return _script(*_staged_rows(plan, rows), *_refill(plan, plan.table_id, partitions))


def replace_sql(plan: SyncPlan, rows: int) -> str:
    """Return the statement that puts a new table, with the rows of `select_sql`, in the destination's place.

    BigQuery does that only for a table of the same layout; `build_sql` and `swap_sql` do it for another one.
    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#create_table_statement
    """
    create = create_table_sql(
        plan.table_id, plan.schema, plan.layout, create="CREATE OR REPLACE TABLE", options=plan.replacement_options
    )
    return _script(*_staged_rows(plan, rows), f"{create}\nAS {select_sql(plan)}")


def build_sql(plan: SyncPlan, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the statements that build the table that is to take the destination's place; it expires unless it does."""
    table_id = plan.replacement_table_id
    create = create_table_sql(
        table_id,
        plan.schema,
        # Declared when the table has its name: one with a key cannot be renamed.
        # https://cloud.google.com/bigquery/docs/information-schema-table-constraints#limitations
        replace(plan.layout, primary_key=()),
        create="CREATE TABLE IF NOT EXISTS",
        options={
            **plan.replacement_options,
            "expiration_timestamp": f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {STAGING_TABLE_HOURS} HOUR)",
        },
    )
    return _script(*_staged_rows(plan, rows), create, *_refill(plan, table_id, partitions))


def swap_sql(plan: SyncPlan) -> str:
    """Return the script that puts the built table in the destination's place.

    No table has the destination's name for the moment between the two renamings; if the second one fails, the first is
    taken back. Once the built table is gone the script does nothing, so that it can be repeated. A declared key is
    dropped before, as it would forbid the renaming, and declared after it.
    """
    destination, built, old = (
        quoted(name) for name in (plan.table_id, plan.replacement_table_id, plan.replaced_table_id)
    )
    old_name, built_name = (name.rpartition(".")[2] for name in (plan.replaced_table_id, plan.replacement_table_id))
    dataset = quoted(plan.table_id.rpartition(".")[0])
    key = ", ".join(map(quoted, plan.layout.primary_key))
    declare = f"  ALTER TABLE {destination} ADD PRIMARY KEY ({key}) NOT ENFORCED;\n" if key else ""
    return f"""\
IF EXISTS (SELECT 1 FROM {dataset}.INFORMATION_SCHEMA.TABLES WHERE table_name = {string_literal(built_name)}) THEN
  ALTER TABLE {built} SET OPTIONS (expiration_timestamp = {plan.options.expiration_sql});
  BEGIN
    ALTER TABLE IF EXISTS {destination} DROP PRIMARY KEY IF EXISTS;
    ALTER TABLE IF EXISTS {destination} RENAME TO {quoted(old_name)};
    ALTER TABLE {built} RENAME TO {quoted(plan.config.destination.table)};
  EXCEPTION WHEN ERROR THEN
    ALTER TABLE IF EXISTS {old} RENAME TO {quoted(plan.config.destination.table)};
    RAISE;
  END;
{declare}END IF;
DROP TABLE IF EXISTS {old}"""


def truncate_sql(plan: SyncPlan) -> str:
    """Return the statement that empties the destination."""
    return f"TRUNCATE TABLE {quoted(plan.table_id)}"


def publish_merge_sql(plan: SyncPlan, rows: int) -> str:
    """Return `merge_sql`, which fails unless the staging table holds so many rows."""
    return _script(*_staged_rows(plan, rows), merge_sql(plan))


def merge_sql(plan: SyncPlan) -> str:
    """Return the statement that updates rows by their primary key and inserts those that are new."""
    return merge_statement.merge_sql(plan, select_sql(plan))


def _script(*statements: str) -> str:
    return ";\n".join(statements)


def _staged_rows(plan: SyncPlan, rows: int) -> list[str]:
    """Return the statement that fails unless the staging table holds so many rows; none where there is no table."""
    if plan.selection is not None:
        return []
    staging = quoted(plan.staging_table_id)
    problem = string_literal(f"the staging table does not hold the {rows} rows that were staged")
    return [f"ASSERT (SELECT COUNT(*) FROM {staging}) = {rows} AS {problem}"]


def _refill(plan: SyncPlan, table_id: str, partitions: Sequence[frozenset[str | None]]) -> list[str]:
    inserts = _inserts(plan, table_id, partitions)
    return ["BEGIN TRANSACTION", f"TRUNCATE TABLE {quoted(table_id)}", *inserts, "COMMIT TRANSACTION"]


def _inserts(plan: SyncPlan, table_id: str, partitions: Sequence[frozenset[str | None]]) -> list[str]:
    insert = f"INSERT INTO {quoted(table_id)} ({columns(plan)})\n"
    if len(partitions) < 2:
        return [f"{insert}{select_sql(plan)}"]
    rows = alias("r", plan)
    selected = f"{insert}SELECT {columns(plan)} FROM (\n{select_sql(plan)}\n) AS {rows}\nWHERE "
    return [selected + condition for condition in _conditions(plan, rows, partitions)]


def _conditions(plan: SyncPlan, rows: str, partitions: Sequence[frozenset[str | None]]) -> Iterator[str]:
    """Yield a condition for each group; together they hold for every row, and each row for one of them."""
    field = plan.schema.field(plan.layout.partition_field or "")
    column = f"{rows}.{quoted(field.name)}"
    starts = [min(moment for moment in group if moment is not None) for group in partitions]
    for number, start in enumerate(starts):
        bounds = []
        if number:
            bounds.append(f"{column} >= {field.type} {string_literal(start)}")
        if number + 1 < len(starts):
            bounds.append(f"{column} < {field.type} {string_literal(starts[number + 1])}")
        condition = " AND ".join(bounds)
        yield condition if number else f"({condition} OR {column} IS NULL)"


def _source_sql(plan: SyncPlan, selection: Selection) -> str:
    return destination_sql(
        selection.sql,
        selection.schema,
        plan.read_schema,
        plan.schema,
        plan.config.transformation,
        None if selection.is_sure else plan.bounds,
    )
