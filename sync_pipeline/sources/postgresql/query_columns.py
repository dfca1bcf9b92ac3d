"""The columns of a query, and the catalog's description of the table that `source_table_for_schema` names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import SourceTable
from sync_pipeline.schema import Schema
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.postgresql.column_types import SourceColumn, quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.not_null import never_null_columns

# The largest precision that can be declared; the driver reports a larger one for a type without precision.
_MAX_PRECISION = 1000

# pg_type.oid of numeric, and what its modifiers are larger by (VARHDRSZ).
_NUMERIC_OID, _MODIFIER_OFFSET = 1700, 4

QUERY_ALIAS = "q"
_PREFIX = "SELECT * FROM (\n"

_TYPES_SQL = """
    WITH RECURSIVE described AS (
        SELECT t.oid AS described_oid, t.oid, t.typbasetype, t.typtype, t.typname, false AS is_array
        FROM pg_type t WHERE t.oid = ANY(%(oids)s)
      UNION ALL
        SELECT d.described_oid, t.oid, t.typbasetype, t.typtype, t.typname, d.is_array OR t.typarray = d.oid
        FROM described d JOIN pg_type t ON t.oid = d.typbasetype OR t.typarray = d.oid
    )
    -- An enum or a row type may be called like a base type of ours.
    SELECT described_oid, CASE typtype WHEN 'b' THEN typname ELSE '' END, typtype IN ('c', 'p'), is_array,
           format_type(described_oid, NULL)
    FROM described d
    WHERE NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = d.typbasetype OR t.typarray = d.oid)
"""

_SOURCE_TABLE_SQL = """
    SELECT c.oid, a.attnum, a.attname, col_description(c.oid, a.attnum),
           coalesce(a.attnum = ANY(k.conkey), false)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE c.oid = to_regclass(%(name)s)
    ORDER BY array_position(k.conkey, a.attnum), a.attnum
"""


@dataclass(frozen=True)
class TableColumn:
    """The catalog's description of one column of `source_table_for_schema`."""

    table_oid: int
    number: int
    name: str
    is_required: bool
    comment: str
    is_key: bool


@dataclass(frozen=True)
class QueryColumns:
    """The columns of a query.

    Attributes:
        origins: for each column the table and column number that it comes from unchanged, or 0.
    """

    columns: Sequence[SourceColumn]
    origins: Sequence[tuple[int, int]]

    @property
    def by_name(self) -> Mapping[str, SourceColumn]:
        return {column.name: column for column in self.columns}

    def selected(self, schema: Schema) -> str:
        """Return the SELECT list that reads the columns of `schema` from a relation called `QUERY_ALIAS`."""
        columns = self.by_name
        return ",\n       ".join(columns[field.name].expression(field, QUERY_ALIAS) for field in schema)

    @property
    def table_oids(self) -> frozenset[int]:
        """The tables that columns come from unchanged."""
        return frozenset(oid for oid, _ in self.origins if oid)


def as_relation(query: str) -> str:
    """Return the query as a FROM item with the alias `QUERY_ALIAS`."""
    return f"(\n{query}\n) AS {QUERY_ALIAS}"


def table_reference(table: SourceTable) -> str:
    """Return the quoted name of a table."""
    return ".".join(quoted_identifier(part) for part in (table.schema, table.name) if part)


def table_columns(connection: Connection, table: SourceTable, database: str) -> list[TableColumn]:
    """Return the columns of a table. Raises SchemaError when the user cannot see it."""
    name = table_reference(table)
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_SOURCE_TABLE_SQL, {"name": name})
        rows = cursor.fetchall()
        never_null = never_null_columns(cursor, rows[0][0]) if rows else frozenset()
    if not rows:
        raise SchemaError(
            f"source_table_for_schema: {name} is not a table the user can see in database {database}: give it as "
            "schema.table, and quote names with capitals"
        )
    return [
        TableColumn(oid, number, column, number in never_null, comment or "", is_key)
        for oid, number, column, comment, is_key in rows
    ]


def described_columns(connection: Connection, query: str) -> QueryColumns:
    """Return the query's columns. Raises SourceQueryError, or SchemaError when two have the same name."""
    with translated_errors(len(_PREFIX), query), connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {as_relation(query)} LIMIT 0")
        described = cursor.description or ()
        types = described_types(cursor, {column.type_code for column in described})
    check_names(column.name for column in described)
    columns = [
        types[column.type_code].column(column.name, *_precision_and_scale(column.precision, column.scale))
        for column in described
    ]
    return QueryColumns(columns, [(column.table_oid or 0, column.table_column or 0) for column in described])


@dataclass(frozen=True)
class DescribedType:
    """A type of columns, with the names that `SourceColumn` has."""

    type_name: str
    is_composite: bool
    is_array: bool
    declared_type: str

    def column(self, name: str, precision: int | None = None, scale: int | None = None) -> SourceColumn:
        """Return a column of this type; `precision` and `scale` are those of numeric(p,s)."""
        declared_type = self.declared_type if precision is None else f"numeric({precision},{scale})"
        return SourceColumn(name, self.type_name, declared_type, self.is_array, self.is_composite, precision, scale)


def described_types(cursor: Any, oids: Collection[int]) -> Mapping[int, DescribedType]:
    """Return types by their oids, none of which is a domain."""
    cursor.execute(_TYPES_SQL, {"oids": list(oids)})
    return {oid: DescribedType(*rest) for oid, *rest in cursor.fetchall()}


def digits_of(type_oid: int, modifier: int) -> tuple[int | None, int | None]:
    """Return p and s of numeric(p,s) from the modifier that the catalog stores with a column, or two None."""
    stored = modifier - _MODIFIER_OFFSET
    return _precision_and_scale(stored >> 16, stored) if type_oid == _NUMERIC_OID and stored >= 0 else (None, None)


def _precision_and_scale(precision: int | None, scale: int | None) -> tuple[int | None, int | None]:
    """Return p and s of numeric(p,s) as the driver has them, or two None."""
    if precision is None or scale is None or precision > _MAX_PRECISION:
        return None, None
    # The driver reads 16 bits, of which PostgreSQL uses 11 with a sign: numeric(3,-2) is allowed.
    return precision, ((scale & 0x7FF) ^ 0x400) - 0x400
