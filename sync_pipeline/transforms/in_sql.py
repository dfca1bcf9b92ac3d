"""The transformations in GoogleSQL, for sources in BigQuery.

The query that reads the source converts the columns, with either read method, so both methods give the same values. The
query also makes the checks of the workers: it rejects an invalid value, NULL in a key, and a timestamp outside the
interval. Such an error names the column, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.errors import RecordError, SourceQueryError, SyncError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.parameters.transformation_config import Constant, TransformationConfig
from sync_pipeline.schema import (
    DECIMAL_DIGITS,
    INTERVAL,
    NULLABLE,
    RANGE,
    RANGE_BOUNDS,
    REPEATED,
    REQUIRED,
    STRUCT,
    Field,
    Schema,
)
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import timestamp_text
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

# The text of a value in a dead letter, for types that cannot be cast to STRING.
_TEXTS: Mapping[str, str] = {
    "BYTES": "TO_HEX({x})",
    "GEOGRAPHY": "ST_ASTEXT({x})",
    "JSON": "TO_JSON_STRING({x})",
    "TIMESTAMP": "STRING({x}, 'UTC')",
    STRUCT: "TO_JSON_STRING({x})",
    RANGE: "TO_JSON_STRING({x})",
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
    if _is_cut(source, read):
        checks.append(Check(read.name, _cut_condition(value, read), _cut_reason(source, read)))
    if read.mode == REQUIRED != source.mode:
        checks.append(Check(read.name, f"{expression} IS NULL", null_value(read)))
    return Conversion(value, tuple(checks))


def all_checks(source: Schema, read: Schema, alias: str) -> tuple[Check, ...]:
    """Return the checks of the columns of `read`, in the order of the columns."""
    return tuple(check for field in read for check in _convert(source, field, alias).checks)


def is_plain(source: Schema, read: Schema) -> bool:
    """Whether the stored rows can be read without a query that converts them."""
    return all(
        (there := source.field(field.name)).type_name == field.type_name
        and not _has_intervals(there)
        and not _is_cut(there, field)
        for field in read
    )


def reading_sql(relation: str, source: Schema, read: Schema, *, service_columns: tuple[str, str] | None = None) -> str:
    """Return a query whose rows the Storage Read API returns with the Arrow schema of `read`.

    `service_columns` names two additional columns: the numbers of the checks that a row fails, each followed by a
    comma, and that row as a JSON object of texts. Both are NULL in a valid row.
    """
    alias = _alias("q", source)
    expressions = [
        f"{_interval_texts(_convert(source, field, alias).value, field)} AS {quoted(field.name)}" for field in read
    ]
    if service_columns is not None:
        checks = all_checks(source, read, alias)
        failed = ", ".join(f"IF({check.rejected}, '{number},', '')" for number, check in enumerate(checks))
        numbers = f"NULLIF(CONCAT({failed}), '')" if checks else "CAST(NULL AS STRING)"
        texts = ", ".join(
            f"{_text(f'{alias}.{quoted(field.name)}', source.field(field.name))} AS {quoted(field.name)}"
            for field in read
        )
        expressions.append(f"{numbers} AS {quoted(service_columns[0])}")
        expressions.append(
            f"IF({numbers} IS NULL, NULL, TO_JSON_STRING(STRUCT({texts}))) AS {quoted(service_columns[1])}"
        )
    return f"SELECT {', '.join(expressions)}\nFROM (\n{relation}\n) AS {alias}"


def destination_sql(
    relation: str,
    source: Schema,
    read: Schema,
    schema: Schema,
    config: TransformationConfig,
    bounds: TimestampBounds | None = None,
) -> str:
    """Return the query that converts rows of the source into rows of the destination, with the columns of `schema`.

    Args:
        relation: a query for the source's rows.
        source: the columns of that query.
        read: the columns to read, with the types to read them as.
        bounds: bounds of the timestamps; names the column as in the destination.
    """
    alias = _alias("q", source)
    expressions = []
    for field, target in zip(read, schema, strict=False):
        conversion = _convert(source, field, alias)
        value = conversion.value
        if field.name in config.hash_fields:
            value = f"TO_HEX(SHA256({value}))"
        for check in conversion.checks:
            value = f"IF({check.rejected}, {_raise(RecordError, check.reason)}, {value})"
        if bounds is not None and target.name == bounds.column:
            outside = _raise(SourceQueryError, bounds.problem)
            value = f"IF({_within(conversion.value, field.type, bounds)}, {value}, {outside})"
        expressions.append(f"{value} AS {quoted(target.name)}")
    expressions += [f"{_literal(value)} AS {quoted(name)}" for name, value in config.constant_fields.items()]
    return f"SELECT {', '.join(expressions)}\nFROM (\n{relation}\n) AS {alias}"


def interval_condition(column: str, type_name: str, bounds: TimestampBounds) -> str:
    """Return the condition that a timestamp lies within the bounds. NULL for a NULL timestamp."""
    until = f"{column} <= {_moment(bounds.until, type_name)}"
    return until if bounds.after is None else f"{column} > {_moment(bounds.after, type_name)} AND {until}"


def rebuilt(expression: str, field: Field) -> str:
    """Return the expression that rebuilds a column's value from its staged form; see `Schema.staged`."""
    if not field.is_rebuilt:
        return expression
    if field.mode == REPEATED:
        element, position = "element", "position"
        one = rebuilt(element, _one_of(field))
        return (
            f"ARRAY(SELECT {one} FROM UNNEST({expression}) AS {element} WITH OFFSET AS {position} ORDER BY {position})"
        )
    if field.type == "JSON":
        # 'round': BigQuery's JSON numbers are INT64, UINT64 or FLOAT64; mode 'exact' rejects numbers with more digits.
        return f"PARSE_JSON({expression}, wide_number_mode=>'round')"
    if field.type == INTERVAL:
        return f"CAST({expression} AS INTERVAL)"
    if field.type == RANGE:
        bounds = ", ".join(f"{expression}.{quoted(bound)}" for bound in RANGE_BOUNDS)
        return f"IF({expression} IS NULL, NULL, RANGE({bounds}))"
    return _struct(expression, field, rebuilt)


def _convert(source: Schema, field: Field, alias: str) -> Conversion:
    return convert(f"{alias}.{quoted(field.name)}", source.field(field.name), field)


def _interval_texts(expression: str, field: Field) -> str:
    """Return the value with INTERVALs as text, because the Storage Read API does not support the type."""
    if not _has_intervals(field):
        return expression
    if field.mode == REPEATED:
        element, position = "element", "position"
        one = _interval_texts(element, _one_of(field))
        return (
            f"ARRAY(SELECT {one} FROM UNNEST({expression}) AS {element} WITH OFFSET AS {position} ORDER BY {position})"
        )
    if field.type == INTERVAL:
        return f"CAST({expression} AS STRING)"
    return _struct(expression, field, _interval_texts)


def _struct(expression: str, field: Field, each: Callable[[str, Field], str]) -> str:
    parts = ", ".join(
        f"{each(f'{expression}.{quoted(part.name)}', part)} AS {quoted(part.name)}" for part in field.fields
    )
    return f"IF({expression} IS NULL, NULL, STRUCT({parts}))"


def _has_intervals(field: Field) -> bool:
    return field.type == INTERVAL or any(map(_has_intervals, field.fields))


def _one_of(field: Field) -> Field:
    return Field(field.name, field.type, NULLABLE, fields=field.fields, parameters=field.parameters)


def _text(expression: str, field: Field) -> str:
    if field.mode == REPEATED:
        return f"TO_JSON_STRING({expression})"
    return _TEXTS.get(field.type, "CAST({x} AS STRING)").format(x=expression)


def _within(value: str, type_name: str, bounds: TimestampBounds) -> str:
    condition = interval_condition(value, type_name, bounds)
    return condition if bounds.after is not None or bounds.refuses_null else f"{value} IS NULL OR {condition}"


def _moment(moment: datetime, type_name: str) -> str:
    text = timestamp_text(moment)
    return f"{type_name} '{text if type_name == 'TIMESTAMP' else text.removesuffix('+00')}'"


def _raise(kind: type[SyncError], sentence: str) -> str:
    return f"ERROR({string_literal(raised_text(kind, sentence))})"


def _literal(value: Constant) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return string_literal(value)
    return f"CAST('{value}' AS {'INT64' if isinstance(value, int) else 'FLOAT64'})"


def _scale(field: Field) -> int | None:
    """Return how many digits a number may have after the decimal point, None if unlimited."""
    if field.digits is not None:
        return int(field.digits.scale)
    _, after = DECIMAL_DIGITS.get(field.type, (None, None))
    return 0 if field.type == "INT64" else after


def _is_cut(source: Field, read: Field) -> bool:
    """Whether values may have more decimal places than the column. BigQuery would round them on write."""
    if read.digits is None:
        return False
    before = _scale(source)
    return before is None or before > read.digits.scale


def _cut_condition(value: str, read: Field) -> str:
    if read.mode == REPEATED:
        return f"EXISTS(SELECT 1 FROM UNNEST({value}) AS element WHERE {_cut_condition('element', _one_of(read))})"
    return f"{value} IS NOT NULL AND ROUND({value}, {_scale(read)}) != {value}"


def _cut_reason(source: Field, read: Field) -> str:
    return (
        f"column '{read.name}' ({source.type_name} to {read.type}({read.parameters})) has a value that would be "
        "rounded. Give the destination's column more digits with ALTER COLUMN … SET DATA TYPE, or exclude such rows "
        "in the query"
    )


def _invalid(source: Field, read: Field) -> str:
    remedy = "Keep the type of the source, or exclude such rows in the query"
    return invalid_value(read, source.type_name, remedy, LIMITS.get(read.type, ""))


def _alias(name: str, schema: Schema) -> str:
    """Return an alias that is not the name of any column."""
    while schema.find(name):
        name += "_"
    return name


def failed_checks(numbers: str, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the failed checks of a row, from the first service column of `reading_sql`."""
    return tuple(checks[int(number)] for number in numbers.removesuffix(",").split(","))
