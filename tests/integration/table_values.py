"""Every value of tables at the source and in BigQuery, as values that are equal only when they mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.cloud.bigquery import SchemaField
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

# What the driver is asked for where it would return something else than BigQuery's client.
_SELECTED = {
    # As the type writes itself: a cast of an inet adds its length.
    "STRING": ("CASE WHEN {0} IS NOT NULL THEN format('%s', {0}) END", "{}::text[]"),
    "JSON": ("to_json({})", "to_json({})"),
    "FLOAT": ("{}::float8", "{}::float8[]"),
    "NUMERIC": ("{}::numeric", "{}::numeric[]"),
    "BIGNUMERIC": ("{}::numeric", "{}::numeric[]"),
}

Rows = Counter[tuple[Any, ...]]


def postgresql_rows(
    connection: Connection,
    table: sql.Composable,
    schema: Sequence[SchemaField],
    columns: Mapping[str, str] = MappingProxyType({}),
    where: str = "",
) -> Rows:
    """Return the rows of a table, and how often each occurs.

    Args:
        schema: the columns in BigQuery, which the source must have, and no others.
        columns: the source's names of the columns whose names differ.
        where: a condition, or an empty text.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'")
        cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table))
        found = {columns.get(column.name, column.name): column.name for column in cursor.description or ()}
        names = [field.name for field in schema]
        assert {name.lower() for name in found} == {name.lower() for name in names}, f"{set(found)} and {set(names)}"
        expressions = [_expression(field, found[field.name]) for field in schema]
        condition = sql.SQL(f" WHERE {where}" if where else "")
        cursor.execute(sql.SQL("SELECT {} FROM {}{}").format(sql.SQL(", ").join(expressions), table, condition))
        rows = cursor.fetchall()
    repeated = [field.mode == "REPEATED" for field in schema]
    return Counter(
        tuple(() if value is None and is_array else plain(value) for value, is_array in zip(row, repeated, strict=True))
        for row in rows
    )


def bigquery_rows(rows: Iterable[Any]) -> Rows:
    """Return the rows of BigQuery's client, and how often each occurs."""
    return Counter(tuple(map(plain, row.values())) for row in rows)


def plain(value: Any) -> Any:
    """Return a value that can be counted: -0.0 is not 0.0, NaN is NaN, and true is not 1."""
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return frozenset((key, plain(item)) for key, item in value.items())
    if isinstance(value, bool | str):
        return type(value).__name__, value
    if isinstance(value, memoryview):
        return bytes(value)
    return value.hex() if isinstance(value, float) else value


def _expression(field: SchemaField, column: str) -> sql.Composable:
    single, array = _SELECTED.get(field.field_type, ("{}", "{}"))
    return sql.SQL(array if field.mode == "REPEATED" else single).format(sql.Identifier(column))
