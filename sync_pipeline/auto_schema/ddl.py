"""Creates and alters tables: objects for the API, and DDL statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import partition_sql
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.schema import MAX_DESCRIPTION_CHARACTERS, NULLABLE, RANGE, REPEATED, REQUIRED, STRUCT, Field, Schema


def new_table(table_id: str, schema: Schema, layout: TableLayout) -> bigquery.Table:
    """Return the table for the API's create call."""
    table = bigquery.Table(table_id, schema=schema.bigquery)
    if layout.partition_field:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=layout.partition_granularity, field=layout.partition_field
        )
    if layout.clustering_fields:
        table.clustering_fields = list(layout.clustering_fields)
    if layout.primary_key:
        table.table_constraints = bigquery.table.TableConstraints(
            primary_key=bigquery.table.PrimaryKey(columns=list(layout.primary_key)), foreign_keys=None
        )
    return table


def create_table_sql(
    table_id: str,
    schema: Schema,
    layout: TableLayout,
    *,
    create: str = "CREATE TABLE",
    options: Mapping[str, str] | None = None,
) -> str:
    """Return the statement that creates the table.

    Args:
        create: the first words of the statement, such as `CREATE TABLE`.
        options: the table's options, as GoogleSQL expressions.
    """
    columns = [_column_sql(field) for field in schema]
    if layout.primary_key:
        columns.append(f"PRIMARY KEY ({', '.join(map(quoted, layout.primary_key))}) NOT ENFORCED")
    lines = [f"{create} {quoted(table_id)} ("]
    lines += [",\n".join(f"  {column}" for column in columns), ")"]
    if layout.partition_field:
        lines.append(f"PARTITION BY {_partition_sql(schema, layout)}")
    if layout.clustering_fields:
        lines.append(f"CLUSTER BY {', '.join(map(quoted, layout.clustering_fields))}")
    if options:
        lines.append(f"OPTIONS ({', '.join(f'{name} = {value}' for name, value in options.items())})")
    return "\n".join(lines)


def add_columns_sql(table_id: str, fields: Sequence[Field]) -> str:
    """Return the statement that adds columns, all nullable: BigQuery cannot add NOT NULL columns to a table."""
    columns = (_column_sql(replace(field, mode=NULLABLE) if field.mode == REQUIRED else field) for field in fields)
    return f"ALTER TABLE {quoted(table_id)} {', '.join(f'ADD COLUMN IF NOT EXISTS {column}' for column in columns)}"


def set_type_sql(table_id: str, field: Field) -> str:
    """Return the statement that widens a column to the field's type."""
    return f"ALTER TABLE {quoted(table_id)} ALTER COLUMN {quoted(field.name)} SET DATA TYPE {field.type}"


def drop_not_null_sql(table_id: str, field: Field) -> str:
    """Return the statement that makes a column nullable."""
    return f"ALTER TABLE {quoted(table_id)} ALTER COLUMN {quoted(field.name)} DROP NOT NULL"


def _partition_sql(schema: Schema, layout: TableLayout) -> str:
    assert layout.partition_field is not None
    field = schema.find(layout.partition_field)
    assert field is not None
    return partition_sql(quoted(layout.partition_field), field, layout)


def _column_sql(field: Field) -> str:
    sql = f"{quoted(field.name)} {_declared_type(field)}"
    if field.mode == REQUIRED:
        sql += " NOT NULL"
    if field.description:
        sql += f" OPTIONS(description={string_literal(field.description[:MAX_DESCRIPTION_CHARACTERS])})"
    return sql


def _declared_type(field: Field) -> str:
    """Return the type with its parameters. Fields of a STRUCT include their own modes and descriptions."""
    if field.type == STRUCT:
        element = f"STRUCT<{', '.join(_column_sql(part) for part in field.fields)}>"
    elif field.type != RANGE and field.parameters:
        element = f"{field.type}({field.parameters})"
    else:
        element = replace(field, mode=NULLABLE).type_name
    return f"ARRAY<{element}>" if field.mode == REPEATED else element
