"""Converts one column in GoogleSQL: the cast of its values, and the checks that find values the type does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync_pipeline.schema import DECIMAL_DIGITS, NULLABLE, REPEATED, REQUIRED, Field
from sync_pipeline.transforms.rejected_values import LIMITS, invalid_value, null_value

# Casts that accept every value; `{x}` is the value.
SURE_CASTS: Mapping[tuple[str, str], str] = {
    ("BOOL", "STRING"): "CAST({x} AS STRING)",
    ("INT64", "FLOAT64"): "CAST({x} AS FLOAT64)",
    ("INT64", "NUMERIC"): "CAST({x} AS NUMERIC)",
    ("INT64", "BIGNUMERIC"): "CAST({x} AS BIGNUMERIC)",
    ("INT64", "STRING"): "CAST({x} AS STRING)",
    ("NUMERIC", "FLOAT64"): "CAST({x} AS FLOAT64)",
    ("NUMERIC", "BIGNUMERIC"): "CAST({x} AS BIGNUMERIC)",
    ("NUMERIC", "STRING"): "CAST({x} AS STRING)",
    ("BIGNUMERIC", "FLOAT64"): "CAST({x} AS FLOAT64)",
    ("BIGNUMERIC", "STRING"): "CAST({x} AS STRING)",
    ("FLOAT64", "STRING"): "CAST({x} AS STRING)",
    ("DATE", "STRING"): "CAST({x} AS STRING)",
    ("TIME", "STRING"): "CAST({x} AS STRING)",
    ("DATETIME", "STRING"): "CAST({x} AS STRING)",
    # An explicit zone: a project may have another default time zone.
    ("DATETIME", "TIMESTAMP"): "TIMESTAMP({x}, 'UTC')",
    ("TIMESTAMP", "DATETIME"): "DATETIME({x}, 'UTC')",
    ("TIMESTAMP", "STRING"): "STRING({x}, 'UTC')",
    ("JSON", "STRING"): "TO_JSON_STRING({x})",
}


# Casts that return NULL for a value that the type cannot hold.
CHECKED_CASTS: Mapping[tuple[str, str], str] = {
    ("NUMERIC", "INT64"): "SAFE_CAST({x} AS INT64)",
    ("BIGNUMERIC", "INT64"): "SAFE_CAST({x} AS INT64)",
    ("BIGNUMERIC", "NUMERIC"): "SAFE_CAST({x} AS NUMERIC)",
    ("FLOAT64", "NUMERIC"): "SAFE_CAST({x} AS NUMERIC)",
    ("FLOAT64", "BIGNUMERIC"): "SAFE_CAST({x} AS BIGNUMERIC)",
    ("STRING", "BOOL"): "SAFE_CAST({x} AS BOOL)",
    ("STRING", "INT64"): "SAFE_CAST({x} AS INT64)",
    ("STRING", "FLOAT64"): "SAFE_CAST({x} AS FLOAT64)",
    ("STRING", "NUMERIC"): "SAFE_CAST({x} AS NUMERIC)",
    ("STRING", "BIGNUMERIC"): "SAFE_CAST({x} AS BIGNUMERIC)",
    ("STRING", "DATE"): "SAFE_CAST({x} AS DATE)",
    ("STRING", "TIME"): "SAFE_CAST({x} AS TIME)",
    ("STRING", "DATETIME"): "SAFE_CAST({x} AS DATETIME)",
    # Not TIMESTAMP(…, 'UTC'), which BigQuery rejects for a text with its own zone.
    # https://cloud.google.com/bigquery/docs/reference/standard-sql/timestamp_functions#timestamp
    ("STRING", "TIMESTAMP"): "IFNULL(SAFE_CAST(CONCAT({x}, '+00') AS TIMESTAMP), SAFE_CAST({x} AS TIMESTAMP))",
    ("STRING", "JSON"): "SAFE.PARSE_JSON({x}, wide_number_mode=>'round')",
    ("STRING", "GEOGRAPHY"): "SAFE.ST_GEOGFROMTEXT({x})",
}


# Checked casts that round, and the condition that the result `{value}` differs from `{x}`: such a value is invalid.
_ROUNDED: Mapping[tuple[str, str], str] = {
    ("NUMERIC", "INT64"): "CAST({value} AS NUMERIC) != {x}",
    ("BIGNUMERIC", "INT64"): "CAST({value} AS BIGNUMERIC) != {x}",
    ("BIGNUMERIC", "NUMERIC"): "CAST({value} AS BIGNUMERIC) != {x}",
    ("STRING", "NUMERIC"): "CAST({value} AS BIGNUMERIC) != SAFE_CAST({x} AS BIGNUMERIC)",
    # No type holds more digits, so look for a non-zero digit from the 39th decimal place on.
    ("STRING", "BIGNUMERIC"): "REGEXP_CONTAINS({x}, '[.][0-9]{{38}}[0-9]*[1-9]')",
}


@dataclass(frozen=True)
class Check:
    """A condition on the values of a column.

    Attributes:
        column: the source's column name.
        rejected: a GoogleSQL expression, true for an invalid value.
        reason: a sentence for the error message, without the value.
    """

    column: str
    rejected: str
    reason: str


@dataclass(frozen=True)
class Conversion:
    """A column as the query reads it: the expression of its value, and its checks."""

    value: str
    checks: tuple[Check, ...] = ()


def convert(expression: str, source: Field, read: Field) -> Conversion:
    """Return the conversion from the column `source` to `read`, a type that `batches.read_schema` has allowed."""
    checks = []
    value = expression
    pair = (source.type, read.type)
    if source.mode == REPEATED != read.mode:
        value = f"TO_JSON({expression})"
    elif pair in SURE_CASTS:
        value = SURE_CASTS[pair].format(x=expression)
    elif pair in CHECKED_CASTS:
        value = CHECKED_CASTS[pair].format(x=expression)
        changed = f" OR {_ROUNDED[pair].format(value=value, x=expression)}" if pair in _ROUNDED else ""
        checks.append(
            Check(read.name, f"{expression} IS NOT NULL AND ({value} IS NULL{changed})", _invalid(source, read))
        )
    if is_cut(source, read):
        checks.append(Check(read.name, _cut_condition(value, read), _cut_reason(source, read)))
    if read.mode == REQUIRED != source.mode:
        checks.append(Check(read.name, f"{expression} IS NULL", null_value(read)))
    return Conversion(value, tuple(checks))


def _scale(field: Field) -> int | None:
    """Return how many digits a number may have after the decimal point, None if unlimited."""
    if field.digits is not None:
        return int(field.digits.scale)
    _, after = DECIMAL_DIGITS.get(field.type, (None, None))
    return 0 if field.type == "INT64" else after


def is_cut(source: Field, read: Field) -> bool:
    """Whether values may have more decimal places than the column. BigQuery would round them on write."""
    if read.digits is None:
        return False
    before = _scale(source)
    return before is None or before > read.digits.scale


def _cut_condition(value: str, read: Field) -> str:
    if read.mode == REPEATED:
        return f"EXISTS(SELECT 1 FROM UNNEST({value}) AS element WHERE {_cut_condition('element', element_of(read))})"
    return f"{value} IS NOT NULL AND ROUND({value}, {_scale(read)}) != {value}"


def _cut_reason(source: Field, read: Field) -> str:
    return (
        f"column '{read.name}' ({source.type_name} to {read.type}({read.parameters})) has a value that would be "
        "rounded. Give the destination's column more digits with ALTER COLUMN … SET DATA TYPE, or exclude such rows "
        "with a query"
    )


def _invalid(source: Field, read: Field) -> str:
    remedy = "Keep the type of the source, or exclude such rows with a query"
    return invalid_value(read, source.type_name, remedy, LIMITS.get(read.type, ""))


def failed_checks(numbers: str, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the failed checks of a row, from the first service column of `reading_sql`."""
    return tuple(checks[int(number)] for number in numbers.removesuffix(",").split(","))


def element_of(field: Field) -> Field:
    """Return the column of one element of an array."""
    return Field(field.name, field.type, NULLABLE, fields=field.fields, parameters=field.parameters)
