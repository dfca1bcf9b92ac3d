"""Columns and their types: BigQuery fields and the Arrow schema, always in step.

A `Schema` is a tuple of `Field`s. What BigQuery is told (`Schema.bigquery`) and what the staged Parquet
files hold (`Schema.arrow`) are both derived from it, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from google.cloud.bigquery import SchemaField

# What each BigQuery type is in the staged files. JSON and GEOGRAPHY travel as text: a Parquet load cannot
# fill a JSON column, so it is staged as STRING and parsed when it is published.
# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#type_conversions
ARROW_TYPES: Mapping[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
}

# The REST API still answers with the names of legacy SQL.
STANDARD_TYPE_NAMES: Mapping[str, str] = {
    "BOOLEAN": "BOOL",
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "RECORD": "STRUCT",
}

# Types that hold every value without loss, or whose every value is checked while it is read.
# An existing destination column of such a type wins over the type we would have chosen.
LOSSLESS_CASTS: Mapping[str, frozenset[str]] = {
    "BOOL": frozenset({"STRING"}),
    "INT64": frozenset({"NUMERIC", "BIGNUMERIC", "STRING"}),
    "NUMERIC": frozenset({"INT64", "BIGNUMERIC", "STRING"}),
    "BIGNUMERIC": frozenset({"INT64", "NUMERIC", "STRING"}),
    "FLOAT64": frozenset({"STRING"}),
    "DATE": frozenset({"STRING"}),
    "TIME": frozenset({"STRING"}),
    "DATETIME": frozenset({"STRING"}),
    "TIMESTAMP": frozenset({"STRING"}),
    "JSON": frozenset({"STRING"}),
    "STRING": frozenset({"JSON", "GEOGRAPHY"}),
}

# What `type_overrides` may ask for on top: the user has said so, and a value that does not fit still fails.
# DATETIME <-> TIMESTAMP reads the wall clock as UTC; FLOAT64 takes the nearest double.
EXPLICIT_CASTS: Mapping[str, frozenset[str]] = {
    "INT64": frozenset({"FLOAT64"}),
    "NUMERIC": frozenset({"FLOAT64"}),
    "BIGNUMERIC": frozenset({"FLOAT64"}),
    "FLOAT64": frozenset({"NUMERIC", "BIGNUMERIC"}),
    "DATETIME": frozenset({"TIMESTAMP"}),
    "TIMESTAMP": frozenset({"DATETIME"}),
    "STRING": frozenset({"BOOL", "INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "DATE", "TIME", "DATETIME", "TIMESTAMP"}),
}

NULLABLE, REQUIRED, REPEATED = "NULLABLE", "REQUIRED", "REPEATED"

# https://cloud.google.com/bigquery/docs/schemas#column_descriptions
MAX_DESCRIPTION_CHARACTERS = 1024

# Types a time partition can be cut by, each with its granularities, and types a table can be clustered by.
# https://cloud.google.com/bigquery/docs/partitioned-tables, https://cloud.google.com/bigquery/docs/clustered-tables
PARTITION_GRANULARITIES: Mapping[str, tuple[str, ...]] = {
    "DATE": ("DAY", "MONTH", "YEAR"),
    "DATETIME": ("HOUR", "DAY", "MONTH", "YEAR"),
    "TIMESTAMP": ("HOUR", "DAY", "MONTH", "YEAR"),
}
CLUSTERING_TYPES = frozenset(
    {"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "GEOGRAPHY", "INT64", "NUMERIC", "RANGE", "STRING", "TIMESTAMP"}
)


# Types whose values can be compared for equality, for certain: a row's key has one of them. FLOAT64 cannot group
# rows, JSON and GEOGRAPHY have no equality. https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
KEY_TYPES = frozenset(
    {"BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIME", "TIMESTAMP"}
)


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        name: the column's name.
        type: a BigQuery type, one of `ARROW_TYPES`; of the elements when `mode` is REPEATED. A field of an
            existing table may have any type BigQuery knows.
        mode: NULLABLE, REQUIRED or REPEATED.
        description: the comment shown in BigQuery.
        source_type: the type as the source names it, for the plan; empty where there is none.
    """

    name: str
    type: str
    mode: str = NULLABLE
    description: str = ""
    source_type: str = ""

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type in the staged files."""
        element = ARROW_TYPES[self.type]
        return pa.list_(element) if self.mode == REPEATED else element

    @property
    def type_name(self) -> str:
        """The type as GoogleSQL writes it: `ARRAY<INT64>` for REPEATED INT64."""
        return f"ARRAY<{self.type}>" if self.mode == REPEATED else self.type

    def as_type(self, type_name: str) -> Field:
        """Return the column with another type. An array that becomes JSON is one value, no longer REPEATED."""
        if type_name == self.type:
            return self
        return replace(self, type=type_name, mode=NULLABLE if self.mode == REPEATED else self.mode)


@dataclass(frozen=True)
class Schema:
    """Columns in order."""

    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, name: object) -> bool:
        return any(field.name == name for field in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        """Return the column called `name`; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def find(self, name: str) -> Field | None:
        """Return the column called `name` in any spelling of its case, as BigQuery finds columns, or None."""
        return next((field for field in self.fields if field.name.lower() == name.lower()), None)

    def with_required(self, names: Iterable[str]) -> Schema:
        """Return the schema with the named columns REQUIRED, so that a NULL is refused while it is read."""
        chosen = set(names)
        return Schema(
            tuple(
                replace(field, mode=REQUIRED) if field.name in chosen and field.mode != REPEATED else field
                for field in self.fields
            )
        )

    @property
    def arrow(self) -> pa.Schema:
        """The staged files' schema. Every field is nullable: BigQuery refuses files that say otherwise."""
        return pa.schema([pa.field(field.name, field.arrow_type, nullable=True) for field in self.fields])

    @property
    def bigquery(self) -> list[SchemaField]:
        """The schema as the BigQuery API takes it."""
        return [_schema_field(field, field.type) for field in self.fields]

    @property
    def staged(self) -> list[SchemaField]:
        """The schema of the staging table: JSON is still text there, and nothing is REQUIRED yet."""
        return [
            _schema_field(field if field.mode == REPEATED else replace(field, mode=NULLABLE), _staged_type(field))
            for field in self.fields
        ]

    @property
    def json_columns(self) -> tuple[str, ...]:
        """Columns that a Parquet load cannot fill."""
        return tuple(field.name for field in self.fields if field.type == "JSON")

    @classmethod
    def from_bigquery(cls, fields: Iterable[SchemaField]) -> Schema:
        """Return the schema of an existing table, with the type names of GoogleSQL."""
        return cls(
            tuple(
                Field(
                    field.name,
                    STANDARD_TYPE_NAMES.get(field.field_type, field.field_type),
                    field.mode or NULLABLE,
                    field.description or "",
                )
                for field in fields
            )
        )


def numeric_type(precision: int | None, scale: int | None) -> str:
    """Return the BigQuery type for a decimal of `precision` digits, `scale` of them after the point.

    NUMERIC holds 29 + 9 digits, BIGNUMERIC 38 + 38; what neither holds for certain is kept as STRING. Without
    a precision it is BIGNUMERIC, and each value is checked.
    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
    """
    if precision is None or scale is None:
        return "BIGNUMERIC"
    integer_digits = precision - scale
    if scale <= 9 and integer_digits <= 29:
        return "NUMERIC"
    if scale <= 38 and integer_digits <= 38:
        return "BIGNUMERIC"
    return "STRING"


def quoted(name: str) -> str:
    """Return a column or table name as GoogleSQL reads it whatever its letters."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _schema_field(field: Field, type_name: str) -> SchemaField:
    # Its signature says text, but None is how the API is told of no description.
    description: Any = field.description[:MAX_DESCRIPTION_CHARACTERS] or None
    return SchemaField(field.name, type_name, mode=field.mode, description=description)


def _staged_type(field: Field) -> str:
    return "STRING" if field.type == "JSON" else field.type
