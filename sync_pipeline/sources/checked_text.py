"""Converts columns of texts to Arrow, and checks every value: what a column of BigQuery does not hold is rejected."""

from __future__ import annotations

import binascii
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from sync_pipeline.schema import ARROW_TYPES, DECIMAL_DIGITS, REPEATED, REQUIRED, Field
from sync_pipeline.transforms.json_texts import MAX_LEVELS, Origin, are_json
from sync_pipeline.transforms.rejected_values import LIMITS, invalid_value, null_value

# What texts hold; those of a source may hold less.
_LIMITS: Mapping[str, str] = {
    **LIMITS,
    "JSON": "the text is not JSON that BigQuery accepts: numbers have the range of a double, characters are complete "
    f"(no half of a surrogate pair), and arrays and objects have at most {MAX_LEVELS} levels",
}
_ARRAY_LIMIT = "an ARRAY has one dimension and no NULL elements"

# Sign, digits before and after the decimal point, exponent.
_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")


class RejectedError(Exception):
    """A value is invalid. Carries no details, so that no data can leak."""


class NullError(RejectedError):
    """A column that forbids NULL has NULL."""


@dataclass(frozen=True)
class TextForm:
    """What is particular to a source's texts.

    Attributes:
        limits: by BigQuery type, what its texts hold where that is not `LIMITS`.
        json_origins: by the source's type, what that guarantees about its JSON.
        null_reason: the reason for a NULL in a column that forbids it.
    """

    limits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    json_origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict)
    null_reason: Callable[[Field], str] = null_value

    def limit(self, type_name: str) -> str | None:
        """Return what texts of a BigQuery type hold, None where that is not known."""
        return self.limits.get(type_name) or _LIMITS.get(type_name)

    def json_origin(self, source_type: str) -> Origin:
        """Return what is known of the JSON of a source's type."""
        # An array of JSON values is one JSON value.
        return self.json_origins.get(source_type.removesuffix("[]"), Origin.ANY)


PLAIN_TEXTS = TextForm()

# Errors that parsing raises for invalid values.
REJECTIONS = (pa.ArrowInvalid, RejectedError)


def converted(column: pa.Array, field: Field, form: TextForm) -> pa.Array:
    """Return the values of a column, which may be converted already where Arrow can do it. Raises REJECTIONS."""
    if field.mode == REPEATED:
        column = _lists(column, field)
    elif convert := _CONVERSIONS.get(field.type):
        column = convert(column)
    return checked(column, field, form)


def checked(column: pa.Array, field: Field, form: TextForm) -> pa.Array:
    """Return a column of the field's Arrow type if NULL, JSON and digits are what the field allows.

    Raises REJECTIONS.
    """
    if field.mode == REQUIRED and column.null_count:
        raise NullError
    if field.type == "JSON" and not are_json(column, form.json_origin(field.source_type)):
        raise RejectedError
    if field.digits is not None:
        pc.list_flatten(column).cast(field.digits) if field.mode == REPEATED else column.cast(field.digits)
    return column


def rejection(field: Field, form: TextForm) -> str:
    """Return the reason for a value that is invalid, and not NULL."""
    known = form.limit(field.type)
    limit = field.digits_limit if field.digits else known or f"the text is not a valid {field.type}"
    remedy = f"Load the column as text with {_override(field, 'STRING')}"
    if field.mode == REPEATED:
        limit = f"{_ARRAY_LIMIT}, and {limit}" if known else _ARRAY_LIMIT
        remedy = f"Load the column as JSON with {_override(field, 'JSON')}"
    return invalid_value(field, field.source_type, f"{remedy}, or exclude such rows with a query", limit)


def _override(field: Field, type_name: str) -> str:
    overrides = {"type_overrides": {field.name: type_name}}
    return f"transformation_config={json.dumps(overrides, ensure_ascii=False)}"


def _decimal(type_name: str) -> Callable[[pa.Array], pa.Array]:
    """Return the conversion of texts to decimals of the type."""
    integer_digits, fraction_digits = DECIMAL_DIGITS[type_name]
    # Arrow silently parses a number with more digits to a wrong one, so exclude those first.
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
    """Return a number without an exponent and without trailing zeros after the decimal point."""
    match = _NUMBER.fullmatch(text.strip(" "))
    if match is None:
        raise RejectedError
    sign, integer, fraction, exponent = (part or "" for part in match.groups())
    digits = (integer + fraction).lstrip("0")
    if not digits:
        return "0"
    scale = len(fraction) - int(exponent or 0)
    integer_part_is_too_long = len(digits) - scale > integer_digits
    scale -= len(digits) - len(digits.rstrip("0"))
    if integer_part_is_too_long or scale > fraction_digits:
        raise RejectedError
    return format(Decimal(f"{sign}{digits.rstrip('0')}e{-scale}"), "f")


def _moments(type_name: str) -> Callable[[pa.Array], pa.Array]:
    """Return the check that dates or timestamps are in the years 1 to 9999."""
    least, most = (
        pa.scalar(moment.replace(tzinfo=UTC), ARROW_TYPES["TIMESTAMP"]).cast(ARROW_TYPES[type_name])
        for moment in (datetime.min, datetime.max)  # noqa: DTZ901 - the time zone is added here
    )

    def check(column: pa.Array) -> pa.Array:
        # The parsers reject PostgreSQL's text for years before 1 and after 9999. But a text column may hold 0000-01-01,
        # and an offset may shift a timestamp beyond either end.
        if pc.any(pc.or_(pc.less(column, least), pc.greater(column, most))).as_py():
            raise RejectedError
        return column

    return check


def _bytes(column: pa.Array) -> pa.Array:
    """Return the bytes from a column of hexadecimal digits."""
    # One call decodes all values: their digits are contiguous, so each offset is halved.
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
    """Return the arrays from a column of JSON arrays of texts. NULL stays NULL."""
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
        raise RejectedError
    convert = _ELEMENT_CONVERSIONS.get(field.type)
    elements = convert(texts) if convert else pc.cast(texts, ARROW_TYPES[field.type])
    offsets = lists.offsets
    rebuilt = pa.ListArray.from_arrays(pc.subtract(offsets, offsets[0]), elements, mask=lists.is_null())
    return rebuilt.cast(field.arrow_type)


def _time_elements(texts: pa.Array) -> pa.Array:
    # Arrow can cast text to timestamps, but not to times.
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
