"""Rows of `COPY … (FORMAT csv)` to Arrow: whole rows are parsed column by column, and every value is checked.

PostgreSQL's CSV tells NULL (nothing) from an empty string (two quotes), which most CSV dialects do not.
"""

from __future__ import annotations

import binascii
import codecs
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from sync_pipeline.errors import RecordError
from sync_pipeline.schema import ARROW_TYPES, DECIMAL_DIGITS, REPEATED, REQUIRED, Field, Schema
from sync_pipeline.sources.source import DeadLetter
from sync_pipeline.transforms.json_texts import MAX_LEVELS, Origin, are_json

_PARSE_OPTIONS = pyarrow.csv.ParseOptions(
    newlines_in_values=True,
    # A row of one NULL is an empty line.
    ignore_empty_lines=False,
)

# Types the CSV parser reads itself; the others arrive as text and are converted afterwards.
_PARSED_TYPES = frozenset({"BOOL", "INT64", "FLOAT64", "DATE", "TIME", "DATETIME", "TIMESTAMP"})

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
    "JSON": "the text is no JSON that BigQuery takes: numbers are doubles, characters are whole (no half of a "
    f"surrogate pair), and arrays and objects have at most {MAX_LEVELS} levels",
}
# What is known of the texts of a type.
_JSON_ORIGINS: Mapping[str, Origin] = {
    "json": Origin.JSON,
    "jsonb": Origin.NORMALIZED,
    "hstore": Origin.JSON,
}
_ARRAY_LIMIT = "an ARRAY has one dimension and no NULL elements"

# Sign, digits before and after the point, exponent.
_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")


# Text as it came from the server: it is parsed where it lies.
Buffer = bytes | bytearray


class _MisfitError(Exception):
    """A value does not fit. Carries nothing, so that nothing of the data can leak."""


class _NullError(_MisfitError):
    """A NULL is where none may be."""


# What parsing raises for values that do not fit.
_REFUSALS = (pa.ArrowInvalid, _MisfitError)

_UNREADABLE = "rows of the source cannot be read as CSV: this is a defect of the reader"


def parse_rows(text: Buffer, schema: Schema) -> pa.Table:
    """Return the rows of `text`, whole rows of PostgreSQL's CSV, as a table with `schema.arrow`.

    Raises RecordError naming every column in which a value does not fit.
    """
    try:
        return _table(text, schema)
    except _REFUSALS:
        problems = _misfits(text, schema).values()
        raise RecordError("\n".join(problems) or _UNREADABLE) from None


def separate_misfits(rows: Sequence[bytes], schema: Schema) -> Iterator[pa.Table | DeadLetter]:
    """Return the rows, in order, as tables of those that fit and a `DeadLetter` for each that does not.

    Rows that fit together are parsed together; only where they do not are they halved, down to the one that is wrong.
    """
    try:
        yield _table(b"".join(rows), schema)
    except _REFUSALS:
        if len(rows) == 1:
            yield _dead_letter(rows[0], schema)
        else:
            half = len(rows) // 2
            yield from separate_misfits(rows[:half], schema)
            yield from separate_misfits(rows[half:], schema)


def split_rows(text: Buffer) -> list[bytes]:
    """Return the rows of `text` one by one. A line that ends within quotes is not the end of its row."""
    rows = []
    begin = end = quotes = 0
    for line in io.BytesIO(text):
        end += len(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            rows.append(bytes(text[begin:end]))
            begin, quotes = end, 0
    return rows


def _table(text: Buffer, schema: Schema) -> pa.Table:
    table = _read_csv(text, schema.names, schema)
    columns = [_converted(column.combine_chunks(), field) for column, field in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema.arrow)


def _dead_letter(row: bytes, schema: Schema) -> DeadLetter:
    problems = _misfits(row, schema)
    # A database with SQL_ASCII sends bytes that may be no UTF-8.
    row = row.decode(errors="replace").encode()
    texts = _read_csv(row, schema.names, Schema(tuple(Field(name, "STRING") for name in schema.names)))
    return DeadLetter(tuple(problems), "\n".join(problems.values()) or _UNREADABLE, texts.to_pylist()[0])


def _read_csv(text: Buffer, names: Sequence[str], wanted: Schema) -> pa.Table:
    """Parse the columns of `wanted` out of rows that have the columns `names`."""
    if text.startswith(codecs.BOM_UTF8):
        # The parser takes the first one for a mark of the file, but it is the first value's.
        text = codecs.BOM_UTF8 + text
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


def _misfits(text: Buffer, schema: Schema) -> dict[str, str]:
    """Return what is wrong with each column of rows that could not be parsed; looks at one column at a time."""
    problems = {}
    for field in schema:
        try:
            _converted(_read_csv(text, schema.names, Schema((field,))).column(0).combine_chunks(), field)
        except _NullError:
            problems[field.name] = _null_problem(field)
        except _REFUSALS:
            problems[field.name] = _misfit(field)
    return problems


def _misfit(field: Field) -> str:
    limit = field.digits_limit if field.digits else _LIMITS.get(field.type, f"the text is no {field.type}")
    if field.mode == REPEATED:
        limit = f"{_ARRAY_LIMIT}, and {limit}" if field.type in _LIMITS else _ARRAY_LIMIT
        remedy = f"Load the column as JSON with {_override(field, 'JSON')}"
    else:
        remedy = f"Load the column as text with {_override(field, 'STRING')}"
    return (
        f"column {field.name!r} ({field.source_type} to {field.type_name}) has an invalid value: {limit}. "
        f"{remedy}, or leave such rows out in the query"
    )


def _null_problem(field: Field) -> str:
    return (
        f"column {field.name!r} has NULL, which is not allowed: it is in primary_key, NOT NULL in "
        "source_table_for_schema, or REQUIRED in the destination. Correct the rows or the query (an outer join makes "
        "such rows), leave source_table_for_schema out, or in an existing table run ALTER TABLE … ALTER COLUMN "
        f"`{field.name}` DROP NOT NULL"
    )


def _override(field: Field, type_name: str) -> str:
    overrides = {"type_overrides": {field.name: type_name}}
    return f"transformation_config={json.dumps(overrides, ensure_ascii=False)}"


def _converted(column: pa.Array, field: Field) -> pa.Array:
    if field.mode == REQUIRED and column.null_count:
        raise _NullError
    convert = _CONVERSIONS.get(field.type)
    if field.mode == REPEATED:
        column = _lists(column, field)
    elif convert:
        column = convert(column)
    elif field.type == "JSON" and not are_json(column, _json_origin(field)):
        raise _MisfitError
    if field.digits is not None:
        pc.list_flatten(column).cast(field.digits) if field.mode == REPEATED else column.cast(field.digits)
    return column


def _json_origin(field: Field) -> Origin:
    # An array of such values is one itself.
    return _JSON_ORIGINS.get(field.source_type.removesuffix("[]"), Origin.ANY)


def _decimal(type_name: str) -> Callable[[pa.Array], pa.Array]:
    """Return the conversion of texts to numbers that the type holds."""
    integer_digits, fraction_digits = DECIMAL_DIGITS[type_name]
    # Arrow parses a number with more digits to a wrong one without an error, so none may get there.
    plain = rf"^-?[0-9]{{1,{integer_digits}}}(\.[0-9]{{1,{fraction_digits}}})?$"

    def convert(column: pa.Array) -> pa.Array:
        if pc.any(pc.invert(pc.match_substring_regex(column, plain))).as_py():
            column = pa.array(
                [text and _plain_decimal(text, integer_digits, fraction_digits) for text in column.to_pylist()],
                pa.string(),
            )
        return pc.cast(column, ARROW_TYPES[type_name])

    return convert


def _plain_decimal(text: str, integer_digits: int, fraction_digits: int) -> str:
    """Return a number without an exponent and without zeros behind its last digit."""
    match = _NUMBER.fullmatch(text.strip(" "))
    if match is None:
        raise _MisfitError
    sign, integer, fraction, exponent = (part or "" for part in match.groups())
    digits = (integer + fraction).lstrip("0")
    if not digits:
        return "0"
    scale = len(fraction) - int(exponent or 0)
    integer_part_is_too_long = len(digits) - scale > integer_digits
    scale -= len(digits) - len(digits.rstrip("0"))
    if integer_part_is_too_long or scale > fraction_digits:
        raise _MisfitError
    return format(Decimal(f"{sign}{digits.rstrip('0')}e{-scale}"), "f")


def _moments(type_name: str) -> Callable[[pa.Array], pa.Array]:
    """Return the check that dates or timestamps are in the years 1 to 9999."""
    least, most = (
        pa.scalar(moment.replace(tzinfo=UTC), ARROW_TYPES["TIMESTAMP"]).cast(ARROW_TYPES[type_name])
        for moment in (datetime.min, datetime.max)  # noqa: DTZ901 - they get their zone here
    )

    def check(column: pa.Array) -> pa.Array:
        # PostgreSQL writes years before 1 and after 9999 in ways the parsers refuse, but a text column may hold
        # 0000-01-01, and an offset can lead beyond either end.
        if pc.any(pc.or_(pc.less(column, least), pc.greater(column, most))).as_py():
            raise _MisfitError
        return column

    return check


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
    "DATE": _moments("DATE"),
    "DATETIME": _moments("DATETIME"),
    "TIMESTAMP": _moments("TIMESTAMP"),
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
    "NUMERIC": _CONVERSIONS["NUMERIC"],
    "BIGNUMERIC": _CONVERSIONS["BIGNUMERIC"],
    "TIME": _time_elements,
    "BYTES": _bytes_elements,
}
