"""The transformations in GoogleSQL, for sources in BigQuery.

The query that reads the source converts the columns, with either read method, so both methods give the same values. The
query also makes the checks of the workers: it rejects an invalid value, NULL in a key, and a timestamp outside the
interval. Such an error names the column, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.errors import RecordError, SourceQueryError, SyncError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.parameters.transformation_config import Constant, TransformationConfig
from sync_pipeline.schema import (
    INTERVAL,
    RANGE,
    RANGE_BOUNDS,
    REPEATED,
    STRUCT,
    Field,
    Schema,
)
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import bound_literal
from sync_pipeline.transforms.sql_conversions import Check, Conversion, convert, element_of, is_cut

# The text of a value in a dead letter, for types that cannot be cast to STRING.
_TEXTS: Mapping[str, str] = {
    "BYTES": "TO_HEX({x})",
    "GEOGRAPHY": "ST_ASTEXT({x})",
    "JSON": "TO_JSON_STRING({x})",
    "TIMESTAMP": "STRING({x}, 'UTC')",
    STRUCT: "TO_JSON_STRING({x})",
    RANGE: "TO_JSON_STRING({x})",
}


def all_checks(source: Schema, read: Schema, alias: str) -> tuple[Check, ...]:
    """Return the checks of the columns of `read`, in the order of the columns."""
    return tuple(check for field in read for check in _convert(source, field, alias).checks)


def is_plain(source: Schema, read: Schema) -> bool:
    """Whether the stored rows can be read without a query that converts them."""
    return all(
        (there := source.field(field.name)).type_name == field.type_name
        and not _has_intervals(there)
        and not is_cut(there, field)
        for field in read
    )


def reading_sql(relation: str, source: Schema, read: Schema, *, service_columns: tuple[str, str] | None = None) -> str:
    """Return a query whose rows the Storage Read API returns with the Arrow schema of `read`.

    `service_columns` names two additional columns: the numbers of the checks that a row fails, each followed by a
    comma, and that row as a JSON object of texts. Both are NULL in a valid row.
    """
    alias = source.free_name("q")
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
    alias = source.free_name("q")
    conversions = [_convert(source, field, alias) for field in read]
    columns = ", ".join(_destination_columns(conversions, read, schema, config, bounds))
    return f"SELECT {columns}\nFROM (\n{relation}\n) AS {alias}"


def _destination_columns(
    conversions: Sequence[Conversion],
    read: Schema,
    schema: Schema,
    config: TransformationConfig,
    bounds: TimestampBounds | None,
) -> Iterator[str]:
    for conversion, field, target in zip(conversions, read, schema, strict=False):
        value = conversion.value
        if field.name in config.hash_fields:
            value = f"TO_HEX(SHA256({value}))"
        for check in conversion.checks:
            value = f"IF({check.rejected}, {_raise(RecordError, check.reason)}, {value})"
        if bounds is not None and target.name == bounds.column:
            outside = _raise(SourceQueryError, bounds.problem)
            value = f"IF({_within(conversion.value, field.type, bounds)}, {value}, {outside})"
        yield f"{value} AS {quoted(target.name)}"
    for name, constant in config.constant_fields.items():
        yield f"{_literal(constant)} AS {quoted(name)}"


def keys_sql(relation: str, source: Schema, read: Schema, schema: Schema, config: TransformationConfig) -> str:
    """Return the query for the different keys of the source, as `destination_sql` converts them.

    Without keys that a check rejects: no row of the destination has them.
    """
    alias = source.free_name("q")
    checks = all_checks(source, read, alias)
    unchecked = [replace(_convert(source, field, alias), checks=()) for field in read]
    columns = ", ".join(_destination_columns(unchecked, read, schema, config, None))
    where = " AND ".join(f"NOT IFNULL({check.rejected}, FALSE)" for check in checks)
    return f"SELECT DISTINCT {columns}\nFROM (\n{relation}\n) AS {alias}" + (f"\nWHERE {where}" if where else "")


def interval_condition(column: str, type_name: str, bounds: TimestampBounds) -> str:
    """Return the condition that a timestamp lies within the bounds. NULL for a NULL timestamp."""
    until = f"{column} <= {bound_literal(bounds.until, type_name)}"
    return until if bounds.after is None else f"{column} > {bound_literal(bounds.after, type_name)} AND {until}"


def rebuilt(expression: str, field: Field) -> str:
    """Return the expression that rebuilds a column's value from its staged form; see `Schema.staged`."""
    if not field.is_rebuilt:
        return expression
    if field.mode == REPEATED:
        element, position = "element", "position"
        one = rebuilt(element, element_of(field))
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
        one = _interval_texts(element, element_of(field))
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


def _text(expression: str, field: Field) -> str:
    if field.mode == REPEATED:
        return f"TO_JSON_STRING({expression})"
    return _TEXTS.get(field.type, "CAST({x} AS STRING)").format(x=expression)


def _within(value: str, type_name: str, bounds: TimestampBounds) -> str:
    condition = interval_condition(value, type_name, bounds)
    return condition if bounds.after is not None or bounds.refuses_null else f"{value} IS NULL OR {condition}"


def _raise(kind: type[SyncError], sentence: str) -> str:
    return f"ERROR({string_literal(raised_text(kind, sentence))})"


def _literal(value: Constant) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return string_literal(value)
    return f"CAST('{value}' AS {'INT64' if isinstance(value, int) else 'FLOAT64'})"
