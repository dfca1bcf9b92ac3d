"""Columns and their types: one definition for BigQuery and for the staged files.

A `Schema` is a tuple of `Field`s. The BigQuery schema (`Schema.bigquery`) and the Arrow schema of the staged Parquet
files (`Schema.arrow`) are both derived from it, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from google.cloud.bigquery import PolicyTagList, SchemaField
from google.cloud.bigquery.enums import TimestampPrecision

from sync_pipeline.googlesql import quoted
from sync_pipeline.type_names import STANDARD_TYPE_NAMES

# The Arrow type of each BigQuery type in the staged files. JSON and GEOGRAPHY are staged as text. A Parquet load cannot
# fill a JSON column, so the publishing query parses the text.
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

# Types of a column that Smart Sync can use for its timestamps.
TIMESTAMP_TYPES = ("TIMESTAMP", "DATETIME")

# The type of a column that Smart Sync can use if a sequence of the source numbers its rows.
NUMBER_TYPE = "INT64"

# Types of columns that Smart Sync can read by: a DATE only if rows of its latest day are read again.
SYNC_TYPES = (*TIMESTAMP_TYPES, "DATE")

# Types that only BigQuery tables have. A Parquet load rejects INTERVAL and RANGE: an INTERVAL is staged as text and a
# RANGE as a STRUCT of its two bounds. The publishing query rebuilds both.
INTERVAL, RANGE, STRUCT = "INTERVAL", "RANGE", "STRUCT"

# Digits before and after the decimal point that each decimal type holds, smallest type first.
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
DECIMAL_DIGITS: Mapping[str, tuple[int, int]] = {"NUMERIC": (29, 9), "BIGNUMERIC": (38, 38)}

# Casts that lose nothing: the target type holds every value, or the read checks every value.
# If an existing destination column has such a type, the run reads the column as that type.
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

# Further casts that `type_overrides` may request. An invalid value still fails the run.
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

# Names of a RANGE's bounds in the staged STRUCT.
RANGE_BOUNDS = ("start", "end")

# https://cloud.google.com/bigquery/docs/schemas#column_descriptions
MAX_DESCRIPTION_CHARACTERS = 1024

# https://cloud.google.com/bigquery/quotas#all_tables
MAX_COLUMNS = 10_000

# Types of a time-partitioning column with their granularities, and types of clustering columns.
# https://cloud.google.com/bigquery/docs/partitioned-tables, https://cloud.google.com/bigquery/docs/clustered-tables
PARTITION_GRANULARITIES: Mapping[str, tuple[str, ...]] = {
    "DATE": ("DAY", "MONTH", "YEAR"),
    "DATETIME": ("HOUR", "DAY", "MONTH", "YEAR"),
    "TIMESTAMP": ("HOUR", "DAY", "MONTH", "YEAR"),
}
CLUSTERING_TYPES = frozenset(
    {"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "GEOGRAPHY", "INT64", "NUMERIC", "RANGE", "STRING", "TIMESTAMP"}
)


# Types of primary key columns: their values compare exactly. FLOAT64 equality is unreliable; JSON and GEOGRAPHY have no
# equality. https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
KEY_TYPES = frozenset(
    {"BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIME", "TIMESTAMP"}
)

# Types that PRIMARY KEY … NOT ENFORCED accepts, and its maximum number of columns.
# https://cloud.google.com/bigquery/docs/information-schema-table-constraints#limitations
DECLARABLE_KEY_TYPES = frozenset({"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP"})
MAX_DECLARED_KEY_COLUMNS = 16


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        name: the column's name.
        type: a BigQuery type: a key of `ARROW_TYPES`, INTERVAL, RANGE or STRUCT. With mode REPEATED, the type of the
            elements. A field of an existing table may have any BigQuery type.
        mode: NULLABLE, REQUIRED or REPEATED.
        description: the column's description in BigQuery.
        source_type: the source's name of the type, shown in the plan; empty if the column is not from the source.
        fields: the fields of a STRUCT, in order.
        parameters: the type's parameters: `10, 2` of NUMERIC(10, 2), `20` of STRING(20); for a RANGE, the type of its
            bounds.
        policy_tags: resource names of the policy tags that control access to the column.
    """

    name: str
    type: str
    mode: str = NULLABLE
    description: str = ""
    source_type: str = ""
    fields: tuple[Field, ...] = ()
    parameters: str = ""
    policy_tags: tuple[str, ...] = ()

    @property
    def is_tagged(self) -> bool:
        """Whether the column, or a field nested in it, has policy tags."""
        return bool(self.policy_tags) or any(field.is_tagged for field in self.fields)

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type in the staged files."""
        element = self._element_arrow_type
        return pa.list_(element) if self.mode == REPEATED else element

    @property
    def _element_arrow_type(self) -> pa.DataType:
        if self.type == STRUCT:
            return pa.struct([pa.field(field.name, field.arrow_type) for field in self.fields])
        if self.type == RANGE:
            return pa.struct([pa.field(bound, ARROW_TYPES[self.parameters]) for bound in RANGE_BOUNDS])
        return pa.string() if self.type == INTERVAL else ARROW_TYPES[self.type]

    @property
    def type_name(self) -> str:
        """The GoogleSQL type without parameters: `ARRAY<INT64>` for REPEATED INT64."""
        element = self.type
        if self.type == STRUCT:
            element = f"STRUCT<{', '.join(f'{quoted(field.name)} {field.type_name}' for field in self.fields)}>"
        elif self.type == RANGE:
            element = f"RANGE<{self.parameters}>"
        return f"ARRAY<{element}>" if self.mode == REPEATED else element

    @property
    def digits(self) -> pa.DataType | None:
        """The Arrow decimal type of NUMERIC(p, s) or BIGNUMERIC(p, s); None for a type without precision and scale.

        BigQuery silently rounds a value with more decimal places. A cast to this Arrow type raises an error instead.
        """
        if self.type not in DECIMAL_DIGITS or not self.parameters:
            return None
        precision, _, scale = self.parameters.partition(",")
        decimal = pa.decimal128 if self.type == "NUMERIC" else pa.decimal256
        return decimal(int(precision), int(scale or 0))

    @property
    def digits_limit(self) -> str:
        """Reason and remedy for a number that exceeds `digits`."""
        assert self.digits is not None
        before, after = self.digits.precision - self.digits.scale, self.digits.scale
        return (
            f"the destination's {self.type}({self.parameters}) holds {before} digits before the point and {after} "
            "after it. Give it more with ALTER COLUMN … SET DATA TYPE"
        )

    @property
    def is_rebuilt(self) -> bool:
        """Whether a Parquet load cannot fill the column, so a query has to rebuild it from the staged column."""
        return self.type in ("JSON", INTERVAL, RANGE) or any(field.is_rebuilt for field in self.fields)

    def as_type(self, type_name: str) -> Field:
        """Return the column with another type. An array converted to JSON is a single value, no longer REPEATED."""
        if type_name == self.type:
            return self
        mode = NULLABLE if self.mode == REPEATED else self.mode
        return replace(self, type=type_name, mode=mode, fields=(), parameters="")


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
        """Return the column called `name`. Raises KeyError when the schema has no such column."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def find(self, name: str) -> Field | None:
        """Return the column called `name`, or None. Ignores case, as BigQuery does."""
        return next((field for field in self.fields if field.name.lower() == name.lower()), None)

    def free_name(self, name: str) -> str:
        """Return `name`, with underscores appended until no column has it: an alias for a query of the columns."""
        while self.find(name):
            name += "_"
        return name

    def with_required(self, names: Iterable[str]) -> Schema:
        """Return the schema with the named columns REQUIRED, so that the read rejects NULL in them."""
        chosen = set(names)
        return Schema(
            tuple(
                replace(field, mode=REQUIRED) if field.name in chosen and field.mode != REPEATED else field
                for field in self.fields
            )
        )

    @property
    def arrow(self) -> pa.Schema:
        """The schema of the staged files. Every field is nullable, as BigQuery requires of Parquet files."""
        return pa.schema([pa.field(field.name, field.arrow_type, nullable=True) for field in self.fields])

    @property
    def bigquery(self) -> list[SchemaField]:
        """The schema for the BigQuery API."""
        return [_schema_field(field) for field in self.fields]

    @property
    def staged(self) -> list[SchemaField]:
        """The schema of the staging table: types that a Parquet load can fill, and no REQUIRED column."""
        return [_schema_field(_staged(field)) for field in self.fields]

    @property
    def tagged_columns(self) -> tuple[str, ...]:
        """Columns that have policy tags, or contain a field that has."""
        return tuple(field.name for field in self.fields if field.is_tagged)

    @property
    def rebuilt_columns(self) -> tuple[str, ...]:
        """Columns that a Parquet load cannot fill; see `Field.is_rebuilt`."""
        return tuple(field.name for field in self.fields if field.is_rebuilt)

    @classmethod
    def from_bigquery(cls, fields: Iterable[SchemaField]) -> Schema:
        """Return the schema of an existing table, with GoogleSQL type names."""
        return cls(tuple(_field(field) for field in fields))


def numeric_type(precision: int | None, scale: int | None) -> str:
    """Return the BigQuery type for a decimal of `precision` digits, `scale` of them after the point.

    Returns STRING if neither decimal type holds every such number. Without precision and scale, returns BIGNUMERIC; the
    read then checks each value.
    """
    if precision is None or scale is None:
        return "BIGNUMERIC"
    for name, (before, after) in DECIMAL_DIGITS.items():
        if scale <= after and precision - scale <= before:
            return name
    return "STRING"


def without_policy_tags(fields: Iterable[SchemaField]) -> list[SchemaField]:
    """Return the fields without policy tags. A job that sends these leaves the table's tags unchanged."""
    return [SchemaField.from_api_repr(_untagged(field.to_api_repr())) for field in fields]


def _untagged(field: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in field.items() if name != "policyTags"}
    return {**kept, "fields": [_untagged(part) for part in kept["fields"]]} if "fields" in kept else kept


def _field(field: SchemaField) -> Field:
    type_name = STANDARD_TYPE_NAMES.get(field.field_type, field.field_type)
    numbers = (field.precision, field.scale) if field.precision is not None else (field.max_length,)
    parameters = ", ".join(str(number) for number in numbers if number is not None)
    if type_name == RANGE and field.range_element_type is not None:
        parameters = field.range_element_type.element_type
    if field.timestamp_precision is TimestampPrecision.PICOSECOND:
        parameters = "12"
    return Field(
        field.name,
        type_name,
        field.mode or NULLABLE,
        field.description or "",
        fields=Schema.from_bigquery(field.fields).fields,
        parameters=parameters,
        policy_tags=tuple(field.policy_tags.names) if field.policy_tags else (),
    )


def _schema_field(field: Field) -> SchemaField:
    # The signature requires a str, but the API needs None for a column without a description.
    description: Any = field.description[:MAX_DESCRIPTION_CHARACTERS] or None
    options: dict[str, Any] = {}
    if field.type == RANGE:
        options["range_element_type"] = field.parameters
    elif field.parameters:
        names = ("precision", "scale") if "NUMERIC" in field.type else ("max_length",)
        options.update(zip(names, map(int, field.parameters.split(",")), strict=False))
    if field.policy_tags:
        options["policy_tags"] = PolicyTagList(field.policy_tags)
    return SchemaField(
        field.name,
        field.type,
        mode=field.mode,
        description=description,
        fields=[_schema_field(part) for part in field.fields],
        **options,
    )


def _staged(field: Field) -> Field:
    mode = REPEATED if field.mode == REPEATED else NULLABLE
    staged = replace(field, mode=mode, parameters="", policy_tags=())
    if field.type in ("JSON", INTERVAL):
        return replace(staged, type="STRING")
    if field.type == RANGE:
        return replace(staged, type=STRUCT, fields=tuple(Field(bound, field.parameters) for bound in RANGE_BOUNDS))
    return replace(staged, fields=tuple(_staged(part) for part in field.fields))
