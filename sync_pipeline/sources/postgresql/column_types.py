"""PostgreSQL types: the BigQuery type of each, and what COPY selects for it.

| PostgreSQL | BigQuery | note |
|---|---|---|
| numeric(p,s) | NUMERIC, BIGNUMERIC or STRING | by p and s; BIGNUMERIC without them; NaN and infinity are invalid |
| timestamp / timestamptz | DATETIME / TIMESTAMP | infinity, BC and years after 9999 are invalid |
| real | FLOAT64 | widened exactly, as in PostgreSQL: 0.1 becomes 0.10000000149011612 |
| json, jsonb, hstore, composite | JSON | |
| T[] | REPEATED T | NULL becomes [], as in BigQuery; NULL elements and multiple dimensions are invalid |
| all other types | STRING | the type's text output |

An invalid value is never changed: its row is rejected, and the reason names the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.schema import NULLABLE, REPEATED, Field, numeric_type


@dataclass(frozen=True)
class PostgresqlType:
    """How a run reads one PostgreSQL type.

    Attributes:
        bigquery: the BigQuery type.
        expression: the expression that COPY selects; `{column}` stands for the quoted column.
        element_cast: the cast of an array of this type, such as `::int8[]`, which is sent in binary. Without one, it
            is sent as a JSON array of texts.
    """

    bigquery: str
    expression: str = "{column}"
    element_cast: str = ""


# By pg_type.typname of a base type. Any other type becomes a STRING with its text output.
POSTGRESQL_TYPES: Mapping[str, PostgresqlType] = {
    "bool": PostgresqlType("BOOL", element_cast="::bool[]"),
    "int2": PostgresqlType("INT64", element_cast="::int2[]"),
    "int4": PostgresqlType("INT64", element_cast="::int4[]"),
    "int8": PostgresqlType("INT64", element_cast="::int8[]"),
    # oid has no cast to numeric or float8; int8 has.
    "oid": PostgresqlType("INT64", "{column}::int8", element_cast="::int8[]"),
    # The server widens it: the text of a real has only the digits that distinguish it from other reals.
    "float4": PostgresqlType("FLOAT64", "{column}::float8", element_cast="::float8[]"),
    "float8": PostgresqlType("FLOAT64", element_cast="::float8[]"),
    "numeric": PostgresqlType("BIGNUMERIC", element_cast="::numeric[]"),
    # The text of money depends on the server's lc_monetary.
    "money": PostgresqlType("NUMERIC", "{column}::numeric", element_cast="::numeric[]"),
    "text": PostgresqlType("STRING", element_cast="::text[]"),
    "varchar": PostgresqlType("STRING", element_cast="::varchar[]"),
    # A cast to text would drop the blanks at the end, which belong to the value.
    "bpchar": PostgresqlType("STRING", element_cast="::bpchar[]"),
    "name": PostgresqlType("STRING", element_cast="::name[]"),
    "uuid": PostgresqlType("STRING", element_cast="::uuid[]"),
    "bytea": PostgresqlType("BYTES", element_cast="::bytea[]"),
    "date": PostgresqlType("DATE", element_cast="::date[]"),
    "time": PostgresqlType("TIME", element_cast="::time[]"),
    "timestamp": PostgresqlType("DATETIME", element_cast="::timestamp[]"),
    "timestamptz": PostgresqlType("TIMESTAMP", element_cast="::timestamptz[]"),
    "json": PostgresqlType("JSON"),
    "jsonb": PostgresqlType("JSON"),
    "hstore": PostgresqlType("JSON", "{column}::json"),
}
COMPOSITE_TYPE = PostgresqlType("JSON", "to_json({column})")
ANY_OTHER_TYPE = PostgresqlType("STRING")

# Expressions for columns that are read as another type. All other pairs use `{expression}::text`: the parser of the
# target type reads the text and rejects an invalid value.
CAST_EXPRESSIONS: Mapping[tuple[str, str], str] = {
    ("DATETIME", "TIMESTAMP"): "{column} AT TIME ZONE 'UTC'",
    ("TIMESTAMP", "DATETIME"): "{column} AT TIME ZONE 'UTC'",
    # The server rejects a number beyond the range of a double; a text parser would return infinity.
    ("INT64", "FLOAT64"): "{expression}::float8",
    ("NUMERIC", "FLOAT64"): "{expression}::float8",
    ("BIGNUMERIC", "FLOAT64"): "{expression}::float8",
    ("STRING", "FLOAT64"): "{column}::text::float8",
    # The text of the real 0.1 has one digit; only its widened double has more.
    ("FLOAT64", "STRING"): "{column}::text",
    ("FLOAT64", "NUMERIC"): "{column}::text",
    ("FLOAT64", "BIGNUMERIC"): "{column}::text",
    # Without trailing zeros, 12.00 is a whole number and 1.50 needs only one decimal place.
    ("NUMERIC", "INT64"): "trim_scale({expression})",
    ("BIGNUMERIC", "INT64"): "trim_scale({expression})",
    ("BIGNUMERIC", "NUMERIC"): "trim_scale({expression})",
}


@dataclass(frozen=True)
class SourceColumn:
    """One column of the query as PostgreSQL describes it.

    Attributes:
        name: the column's name.
        type_name: pg_type.typname of a base type, else empty. If `is_array`, the type of the elements.
        declared_type: the type as PostgreSQL writes it, for messages.
        is_array: whether the type is an array, of any number of dimensions: PostgreSQL's types do not distinguish.
        is_composite: whether the type is a row type.
        precision, scale: those of numeric(p,s), else None.
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
        # An array of JSON values becomes one JSON value.
        if self.is_array:
            mode = NULLABLE if bigquery == "JSON" else REPEATED
        return Field(self.name, bigquery, mode, description, self.declared_type)

    def expression(self, read: Field, alias: str) -> str:
        """Return the expression that COPY selects to read the column as `read.type`; see `copy_read`."""
        column = f"{alias}.{quoted_identifier(self.name)}"
        own = self.field()
        if self.is_array:
            if read.mode == REPEATED and self.type.element_cast:
                return f"{column}{self.type.element_cast}"
            return f"array_to_json({column})"
        expression = self.type.expression.format(column=column)
        if read.type == own.type:
            return expression
        cast = CAST_EXPRESSIONS.get((own.type, read.type), "{expression}::text")
        return cast.format(column=column, expression=expression)


def quoted_identifier(name: str) -> str:
    """Return a column name as a quoted PostgreSQL identifier."""
    return '"' + name.replace('"', '""') + '"'
