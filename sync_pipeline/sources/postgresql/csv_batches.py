"""Rows of `COPY … (FORMAT csv)` to Arrow: whole rows are parsed column by column, and every value is checked.

PostgreSQL's CSV tells NULL (nothing) from an empty string (two quotes), which most CSV dialects do not.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from sync_pipeline.errors import RecordError
from sync_pipeline.schema import ARROW_TYPES, REPEATED, REQUIRED, Field, Schema

_PARSE_OPTIONS = pyarrow.csv.ParseOptions(
    newlines_in_values=True,
    # A row of one NULL is an empty line.
    ignore_empty_lines=False,
)

# Types the CSV parser reads itself; the others arrive as text and are converted afterwards.
_PARSED_TYPES = frozenset({"BOOL", "INT64", "FLOAT64", "NUMERIC", "DATE", "TIME", "DATETIME", "TIMESTAMP"})

# Why a value can be refused.
_LIMITS: Mapping[str, str] = {
    "BOOL": "BOOL holds true and false",
    "INT64": "INT64 holds whole numbers from -2^63 to 2^63-1",
    "FLOAT64": "FLOAT64 holds numbers",
    "NUMERIC": "NUMERIC holds 29 digits before the point and 9 after it, no NaN and no infinity",
    "BIGNUMERIC": "BIGNUMERIC holds 38 digits before the point and 38 after it, no NaN and no infinity",
    "DATE": "DATE holds the years 1 to 9999 and no infinity",
    "TIME": "TIME holds 00:00:00 to 23:59:59.999999",
    "DATETIME": "DATETIME holds the years 1 to 9999, no infinity and no offset",
    "TIMESTAMP": "TIMESTAMP holds the years 1 to 9999 and no infinity, and its text needs an offset from UTC",
}
_ARRAY_LIMIT = "an ARRAY of BigQuery has one dimension and no NULL elements"


class _MisfitError(Exception):
    """A value does not fit. Carries nothing, so that nothing of the data can leak."""


def parse_rows(text: bytes, schema: Schema) -> pa.Table:
    """Return the rows of `text`, whole rows of PostgreSQL's CSV, as a table with `schema.arrow`.

    Raises RecordError naming every column in which a value does not fit.
    """
    try:
        table = _read_csv(text, schema.names, schema)
        columns = [
            _converted(column.combine_chunks(), field) for column, field in zip(table.columns, schema, strict=True)
        ]
    except (pa.ArrowInvalid, _MisfitError):
        raise _misfits(text, schema) from None
    return pa.Table.from_arrays(columns, schema=schema.arrow)


def _read_csv(text: bytes, names: Sequence[str], wanted: Schema) -> pa.Table:
    """Parse the columns of `wanted` out of rows that have the columns `names`."""
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        # One block: the text is already cut between rows, and a row may be longer than any block we would choose.
        read_options=pyarrow.csv.ReadOptions(column_names=list(names), block_size=len(text) + 1, use_threads=False),
        parse_options=_PARSE_OPTIONS,
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={field.name: _parsed_type(field) for field in wanted},
            include_columns=list(wanted.names),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t", "true"],
            false_values=["f", "false"],
        ),
    )


def _parsed_type(field: Field) -> pa.DataType:
    if field.mode != REPEATED and field.type in _PARSED_TYPES:
        return ARROW_TYPES[field.type]
    return pa.string()


def _misfits(text: bytes, schema: Schema) -> RecordError:
    """Return the error for rows that could not be parsed; looks at one column at a time to name them all."""
    problems = []
    for field in schema:
        try:
            _converted(_read_csv(text, schema.names, Schema((field,))).column(0).combine_chunks(), field)
        except (pa.ArrowInvalid, _MisfitError):
            problems.append(_misfit(field))
    return RecordError(
        "; ".join(problems) or "rows of the source cannot be read as CSV: this is a defect of the reader"
    )


def _misfit(field: Field) -> str:
    if field.mode == REPEATED:
        limit, other_type = _ARRAY_LIMIT, "JSON"
    else:
        limit, other_type = _LIMITS.get(field.type, f"the text is no {field.type}"), "STRING"
    return (
        f"column {field.name!r} ({field.source_type} to {field.type_name}) has a value that does not fit: {limit}. "
        f'Load the column as text with transformation_config={{"type_overrides": {{"{field.name}": "{other_type}"}}}}, '
        "or leave such rows out in the query"
    )


def _converted(column: pa.Array, field: Field) -> pa.Array:
    if field.mode == REPEATED:
        return _lists(column, field)
    if field.mode == REQUIRED and column.null_count:
        raise RecordError(
            f"column {field.name!r} has NULL, but is NOT NULL in source_table_for_schema or REQUIRED in the destination: "
            f"an outer join in the query makes such rows. Leave source_table_for_schema out, or in an existing table run "
            f"ALTER TABLE … ALTER COLUMN `{field.name}` DROP NOT NULL"
        )
    convert = _CONVERSIONS.get(field.type)
    return convert(column) if convert else column


def _decimal(type_name: str) -> Callable[[pa.Array], pa.Array]:
    def convert(column: pa.Array) -> pa.Array:
        converted = pc.cast(column, ARROW_TYPES[type_name])
        # The parsers let numbers of one digit too many pass; Parquet and BigQuery would not.
        converted.validate(full=True)
        return converted

    return convert


def _bytes(column: pa.Array) -> pa.Array:
    """Return the bytes whose hexadecimal digits `column` holds."""
    # One call decodes all: the digits of a column lie together, and each offset is twice what it becomes.
    texts = column.cast(pa.large_string())
    if not len(texts):
        return pa.array([], pa.binary())
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    digits = memoryview(texts.buffers()[2] or b"")[offsets[0] : offsets[-1]]
    decoded = pa.Array.from_buffers(
        pa.large_binary(),
        len(texts),
        [None, pa.py_buffer((offsets - offsets[0]) // 2), pa.py_buffer(binascii.unhexlify(digits))],
    )
    return pc.if_else(pc.is_valid(texts), decoded, pa.scalar(None, pa.large_binary())).cast(pa.binary())


_CONVERSIONS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "NUMERIC": _decimal("NUMERIC"),
    "BIGNUMERIC": _decimal("BIGNUMERIC"),
    "BYTES": _bytes,
}


def _lists(column: pa.Array, field: Field) -> pa.Array:
    """Return the arrays that `column` holds as JSON arrays of texts; NULL stays NULL."""
    if not len(column):
        return pa.array([], field.arrow_type)
    lines = pc.binary_join_element_wise('{"v":', pc.fill_null(column, "null"), "}\n", "")
    parsed = pyarrow.json.read_json(
        pa.BufferReader(lines.buffers()[2]),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=lines.nbytes + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema([("v", pa.list_(pa.string()))]), unexpected_field_behavior="error"
        ),
    )
    lists = parsed.column("v").combine_chunks()
    texts = lists.flatten()
    if texts.null_count:
        raise _MisfitError
    convert = _ELEMENT_CONVERSIONS.get(field.type)
    elements = convert(texts) if convert else pc.cast(texts, ARROW_TYPES[field.type])
    offsets = lists.offsets
    rebuilt = pa.ListArray.from_arrays(pc.subtract(offsets, offsets[0]), elements, mask=lists.is_null())
    return rebuilt.cast(field.arrow_type)


def _time_elements(texts: pa.Array) -> pa.Array:
    # Arrow casts text to timestamps but not to times.
    moments = pc.cast(pc.binary_join_element_wise("1970-01-01", texts, " "), pa.timestamp("us"))
    return pc.cast(moments, ARROW_TYPES["TIME"])


def _bytes_elements(texts: pa.Array) -> pa.Array:
    return _bytes(pc.utf8_slice_codeunits(texts, start=len(r"\x")))


_ELEMENT_CONVERSIONS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "NUMERIC": _decimal("NUMERIC"),
    "BIGNUMERIC": _decimal("BIGNUMERIC"),
    "TIME": _time_elements,
    "BYTES": _bytes_elements,
}
