"""The query for the rows to publish, and the script around the statements that write them.

Columns are aliased and quoted: a table may be named alike.
"""

from __future__ import annotations

from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.sources.source import Selection
from sync_pipeline.transforms.in_sql import destination_sql, rebuilt


def select_sql(table: TableSync) -> str:
    """Return the query for rows of the destination, from the staging table or straight from a source in BigQuery.

    With a primary key, of rows with one key the newest counts; of equally new ones always the same one.
    """
    # QUALIFY would take a column `s` for the alias.
    staged = table.schema.free_name("s")
    fields = [(field, f"{staged}.{quoted(field.name)}") for field in table.schema]
    if table.selection is None:
        relation = quoted(table.staging_table_id)
        expressions = [f"{rebuilt(column, field)} AS {quoted(field.name)}" for field, column in fields]
    else:
        relation = f"(\n{_source_sql(table, table.selection)}\n)"
        expressions = [f"{column} AS {quoted(field.name)}" for field, column in fields]
    sql = f"SELECT {', '.join(expressions)}\nFROM {relation} AS {staged}"
    if not table.primary_key:
        return sql
    keys = ", ".join(f"{staged}.{quoted(name)}" for name in table.primary_key)
    newest = f"{staged}.{quoted(table.timestamp_column)} DESC, " if table.timestamp_column is not None else ""
    return (
        f"{sql}\nWHERE TRUE\n"
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {newest}TO_JSON_STRING({staged}) DESC) = 1"
    )


def _source_sql(table: TableSync, selection: Selection) -> str:
    return destination_sql(
        selection.sql,
        selection.schema,
        table.read_schema,
        table.schema,
        table.transformation,
        None if selection.is_bounded_by_interval else table.bounds,
    )


def script(table: TableSync, rows: int, *statements: str) -> str:
    """Return the statements as one script; it fails before the first unless the staging table has `rows` rows.

    Where BigQuery selects the rows there is no staging table.
    """
    if table.selection is not None:
        return ";\n".join(statements)
    return ";\n".join((count_check(table.staging_table_id, rows), *statements))


def count_check(table_id: str, rows: int) -> str:
    """Return the statement that fails unless a staging table has so many rows."""
    problem = string_literal(f"the staging table does not hold the {rows} rows that were staged")
    return f"ASSERT (SELECT COUNT(*) FROM {quoted(table_id)}) = {rows} AS {problem}"


def if_sql(condition: str, *statements: str) -> str:
    """Return the statements of a script that run under a condition.

    One that would change nothing reads its table all the same.
    """
    return f"IF {condition} THEN\n" + "".join(f"{statement};\n" for statement in statements) + "END IF"


def destination_alias(table: TableSync) -> str:
    """Return the alias of the destination, which none of its columns is called."""
    return table.schema.free_name("t")


def destination_rows(table: TableSync) -> str:
    """Return the destination and its alias, for FROM."""
    return f"{quoted(table.table_id)} AS {destination_alias(table)}"


def columns(table: TableSync) -> str:
    """Return the names of the columns that are written, quoted."""
    return ", ".join(map(quoted, table.schema.names))
