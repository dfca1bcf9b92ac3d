"""PostgreSQL types: what each becomes in BigQuery, and how COPY carries it as text.

| PostgreSQL | BigQuery | note |
|---|---|---|
| numeric(p,s) | NUMERIC, BIGNUMERIC or STRING | by p and s; without them BIGNUMERIC; NaN and infinity do not fit |
| timestamp / timestamptz | DATETIME / TIMESTAMP | infinity, BC and years beyond 9999 do not fit |
| real | FLOAT64 | widened exactly, as PostgreSQL widens it: 0.1 becomes 0.10000000149011612 |
| json, jsonb, hstore, composite | JSON | |
| T[] | REPEATED T | NULL becomes [], as BigQuery has it; NULL elements and more dimensions do not fit |
| everything else | STRING | the type's own text |

A value that does not fit is never changed: the run fails and names the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.schema import NULLABLE, REPEATED, Field, numeric_type


@dataclass(frozen=True)
class PostgresqlType:
    """How one PostgreSQL type travels.

    Attributes:
        bigquery: the BigQuery type.
        expression: what COPY selects; `{column}` stands for the quoted column.
        element: what is selected when it is the element of an array; arrays travel as JSON arrays of texts.
    """

    bigquery: str
    expression: str = "{column}"
    element_cast: str = ""


# By pg_type.typname of a base type; a type that is not here is STRING in its own text, which every PostgreSQL type has.
POSTGRESQL_TYPES: Mapping[str, PostgresqlType] = {
    "bool": PostgresqlType("BOOL", element_cast="::text[]"),
    "int2": PostgresqlType("INT64", element_cast="::text[]"),
    "int4": PostgresqlType("INT64", element_cast="::text[]"),
    "int8": PostgresqlType("INT64", element_cast="::text[]"),
    # The server casts an oid to no other number.
    "oid": PostgresqlType("INT64", "{column}::int8", element_cast="::text[]"),
    # Widened by the server: its text has only the digits that tell reals apart.
    "float4": PostgresqlType("FLOAT64", "{column}::float8", element_cast="::float8[]::text[]"),
    "float8": PostgresqlType("FLOAT64", element_cast="::text[]"),
    "numeric": PostgresqlType("BIGNUMERIC", element_cast="::text[]"),
    # The text of money depends on the server's lc_monetary.
    "money": PostgresqlType("NUMERIC", "{column}::numeric", element_cast="::numeric[]::text[]"),
    "bytea": PostgresqlType("BYTES", "encode({column}, 'hex')"),
    "date": PostgresqlType("DATE"),
    "time": PostgresqlType("TIME"),
    "timestamp": PostgresqlType("DATETIME"),
    "timestamptz": PostgresqlType("TIMESTAMP"),
    "json": PostgresqlType("JSON"),
    "jsonb": PostgresqlType("JSON"),
    "hstore": PostgresqlType("JSON", "{column}::json"),
}
COMPOSITE_TYPE = PostgresqlType("JSON", "to_json({column})")
ANY_OTHER_TYPE = PostgresqlType("STRING")

# How a column is selected when it is wanted as another type than its own. `{expression}::text` does for the
# rest: the text of a value is what the other type's parser reads, and it refuses what does not fit.
CAST_EXPRESSIONS: Mapping[tuple[str, str], str] = {
    ("DATETIME", "TIMESTAMP"): "{column} AT TIME ZONE 'UTC'",
    ("TIMESTAMP", "DATETIME"): "{column} AT TIME ZONE 'UTC'",
    # The server refuses what a double cannot hold, where a text parser would answer infinity.
    ("INT64", "FLOAT64"): "{expression}::float8",
    ("NUMERIC", "FLOAT64"): "{expression}::float8",
    ("BIGNUMERIC", "FLOAT64"): "{expression}::float8",
    ("STRING", "FLOAT64"): "{column}::text::float8",
    # A real of 0.1 has one digit; only as a double it has more.
    ("FLOAT64", "STRING"): "{column}::text",
    ("FLOAT64", "NUMERIC"): "{column}::text",
    ("FLOAT64", "BIGNUMERIC"): "{column}::text",
    # 12.00 is a whole number, and 1.50 fits any scale from one.
    ("NUMERIC", "INT64"): "trim_scale({expression})",
    ("BIGNUMERIC", "INT64"): "trim_scale({expression})",
    ("BIGNUMERIC", "NUMERIC"): "trim_scale({expression})",
}


@dataclass(frozen=True)
class SourceColumn:
    """One column of the query as PostgreSQL describes it.

    Attributes:
        name: the column's name.
        type_name: pg_type.typname of a base type, else empty; of the elements when `is_array`.
        declared_type: the type as PostgreSQL writes it, for people.
        is_array: one dimension or more, PostgreSQL's types do not say.
        is_composite: a row type.
        precision, scale: of numeric(p,s), else None.
    """

    name: str
    type_name: str
    declared_type: str
    is_array: bool = False
    is_composite: bool = False
    precision: int | None = None
    scale: int | None = None

    @property
    def type(self) -> PostgresqlType:
        return COMPOSITE_TYPE if self.is_composite else POSTGRESQL_TYPES.get(self.type_name, ANY_OTHER_TYPE)

    def field(self, *, mode: str = NULLABLE, description: str = "") -> Field:
        """Return the column with the BigQuery type chosen for it."""
        bigquery = self.type.bigquery
        if self.type_name == "numeric":
            bigquery = numeric_type(self.precision, self.scale)
        # An array of JSON values is a JSON value itself.
        if self.is_array:
            mode = NULLABLE if bigquery == "JSON" else REPEATED
        return Field(self.name, bigquery, mode, description, self.declared_type)

    def expression(self, read: Field, alias: str) -> str:
        """Return what COPY selects so that the column arrives as `read.type`; see `copy_read`."""
        column = f"{alias}.{quoted_identifier(self.name)}"
        own = self.field()
        if self.is_array:
            if read.mode == REPEATED:
                return f"array_to_json({column}{self.type.element_cast})"
            return f"array_to_json({column})"
        expression = self.type.expression.format(column=column)
        if read.type == own.type:
            return expression
        cast = CAST_EXPRESSIONS.get((own.type, read.type), "{expression}::text")
        return cast.format(column=column, expression=expression)


def quoted_identifier(name: str) -> str:
    """Return a column name as PostgreSQL reads it whatever its letters."""
    return '"' + name.replace('"', '""') + '"'
