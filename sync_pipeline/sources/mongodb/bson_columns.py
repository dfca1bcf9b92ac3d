"""Converts BSON elements to Arrow: whole columns at once if bytes can be copied, otherwise value by value.

Both methods give the same result; only the second finds out which values are invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import bson
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from bson.errors import InvalidBSON

from sync_pipeline.schema import ARROW_TYPES
from sync_pipeline.sources.mongodb import bson_scan as codes
from sync_pipeline.sources.mongodb.bson_scan import (
    Documents,
    Elements,
    MalformedBsonError,
    Positions,
    TooManyHeadersError,
)
from sync_pipeline.sources.mongodb.bson_values import RejectedValueError, column_value
from sync_pipeline.sources.mongodb.bulk_json import NotAtOnceError, json_at_once, object_id_digits, slices
from sync_pipeline.sources.mongodb.to_json import (
    DECODING,
    decoded_value,
    decoded_values,
    id_text,
    json_bytes,
    may_have_non_finite,
    wrapped_values,
)

# Minimum number of values for which converting them together pays its fixed cost.
_AT_ONCE = 50

# 0001-01-01 and the last millisecond of 9999, in BSON's unit: milliseconds since 1970.
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800_000, 253_402_300_799_999


@dataclass(frozen=True)
class Values:
    """The converted values of one field and type.

    Attributes:
        rows: indexes of the documents that have the values.
        array: the values, with the column's Arrow type and the length of `rows`; null for an invalid value.
        rejected_rows: indexes of the documents with an invalid value.
    """

    rows: Positions
    array: pa.Array
    rejected_rows: tuple[int, ...] = ()


def convert(documents: Documents, elements: Elements, type_name: str, *, parses: bool = False) -> Values:
    """Return the values of a column of `type_name`. See `column_value` for `parses`."""
    bulk = _BULK.get((elements.code, type_name))
    if bulk is not None and len(elements.rows):
        try:
            return Values(elements.rows, bulk(documents, elements))
        except (RejectedValueError, MalformedBsonError, pa.ArrowInvalid, InvalidBSON, ValueError):
            # Some values are invalid; the conversion value by value finds them.
            pass
    return _one_by_one(documents, elements, type_name, lambda value: column_value(value, type_name, parses=parses))


def within_digits(values: Values, digits: pa.DataType) -> Values:
    """Return the values, rejecting numbers that `digits` would have to round."""
    try:
        values.array.cast(digits)
    except pa.ArrowInvalid:
        fits = [_fits(values.array.slice(place, 1), digits) for place in range(len(values.array))]
        rejected_rows = values.rows[~np.array(fits)].tolist()
        return Values(
            values.rows, pc.if_else(pa.array(fits), values.array, None), (*values.rejected_rows, *rejected_rows)
        )
    return values


def _fits(number: pa.Array, digits: pa.DataType) -> bool:
    try:
        number.cast(digits)
    except pa.ArrowInvalid:
        return False
    return True


def convert_ids(documents: Documents, elements: Elements) -> Values:
    """Return the values of a STRING column for `_id`."""
    if elements.code in (codes.OBJECT_ID, codes.STRING):
        return convert(documents, elements, "STRING")
    return _one_by_one(documents, elements, "STRING", id_text)


def decoded_one_by_one(documents: Documents, elements: Elements) -> list[Any]:
    """Return the decoded values, with a RejectedValueError in place of each that cannot be decoded."""
    try:
        return decoded_values(documents, elements)
    except (InvalidBSON, ValueError):
        return [_decoded(document) for document in wrapped_values(documents, elements)]


def _decoded(document: bytes) -> Any:
    try:
        return decoded_value(document)
    except (InvalidBSON, ValueError):
        return RejectedValueError()


def _one_by_one(documents: Documents, elements: Elements, type_name: str, conversion: Callable[[Any], Any]) -> Values:
    values, rejected_rows = [], []
    for row, value in zip(elements.rows.tolist(), decoded_one_by_one(documents, elements), strict=True):
        try:
            if isinstance(value, RejectedValueError):
                raise value
            values.append(conversion(value))
        except (RejectedValueError, orjson.JSONEncodeError, UnicodeError, RecursionError):
            values.append(None)
            rejected_rows.append(row)
    return Values(elements.rows, pa.array(values, ARROW_TYPES[type_name]), tuple(rejected_rows))


def _texts(documents: Documents, elements: Elements) -> pa.Array:
    # The text lies after its length and before its final zero.
    begins, ends = elements.begins + 4, elements.ends - 1
    if (ends < begins).any():
        raise RejectedValueError
    # The cast raises for bytes that are not UTF-8.
    return slices(documents, begins, ends).cast(pa.string())


def _numbers(dtype: str) -> Callable[[Documents, Elements], pa.Array]:
    def convert(documents: Documents, elements: Elements) -> pa.Array:
        return pa.array(documents.numbers(elements.begins, dtype))

    return convert


def _widened(dtype: str, to: pa.DataType) -> Callable[[Documents, Elements], pa.Array]:
    def convert(documents: Documents, elements: Elements) -> pa.Array:
        # A cast that would change a number raises.
        return pc.cast(pa.array(documents.numbers(elements.begins, dtype)), to)

    return convert


def _booleans(documents: Documents, elements: Elements) -> pa.Array:
    return pa.array(documents.numbers(elements.begins, "u1") != 0)


def _moments(type_name: str) -> Callable[[Documents, Elements], pa.Array]:
    def convert(documents: Documents, elements: Elements) -> pa.Array:
        milliseconds = documents.numbers(elements.begins, "<i8")
        if milliseconds.min() < _FIRST_MOMENT or milliseconds.max() > _LAST_MOMENT:
            raise RejectedValueError
        return pa.array(milliseconds * 1000).cast(ARROW_TYPES[type_name])

    return convert


def _json(documents: Documents, elements: Elements) -> pa.Array:
    if len(elements.rows) >= _AT_ONCE:
        try:
            return json_at_once(documents, elements)
        except (NotAtOnceError, TooManyHeadersError):
            pass
    # Each value is wrapped in a document. Names of an array's elements do not matter, and may even be equal.
    data = b"".join(wrapped_values(documents, elements))
    check_finite = may_have_non_finite(data)
    values = bson.decode_all(data, DECODING)
    return pa.array([json_bytes(value["v"], check_finite=check_finite) for value in values], pa.string())


_Conversion = Callable[[Documents, Elements], pa.Array]

# Conversions of many values at once, exact or failing as a whole: by type byte and column type.
_BULK: Mapping[tuple[int, str], _Conversion] = {
    (codes.STRING, "STRING"): _texts,
    (codes.SYMBOL, "STRING"): _texts,
    (codes.CODE, "STRING"): _texts,
    (codes.OBJECT_ID, "STRING"): object_id_digits,
    (codes.INT32, "INT64"): _widened("<i4", ARROW_TYPES["INT64"]),
    (codes.INT64, "INT64"): _numbers("<i8"),
    (codes.INT32, "FLOAT64"): _widened("<i4", ARROW_TYPES["FLOAT64"]),
    (codes.INT64, "FLOAT64"): _widened("<i8", ARROW_TYPES["FLOAT64"]),
    (codes.DOUBLE, "FLOAT64"): _numbers("<f8"),
    (codes.INT32, "NUMERIC"): _widened("<i4", ARROW_TYPES["NUMERIC"]),
    (codes.INT32, "BIGNUMERIC"): _widened("<i4", ARROW_TYPES["BIGNUMERIC"]),
    (codes.INT64, "NUMERIC"): _widened("<i8", ARROW_TYPES["NUMERIC"]),
    (codes.INT64, "BIGNUMERIC"): _widened("<i8", ARROW_TYPES["BIGNUMERIC"]),
    (codes.BOOL, "BOOL"): _booleans,
    (codes.DATE, "TIMESTAMP"): _moments("TIMESTAMP"),
    (codes.DATE, "DATETIME"): _moments("DATETIME"),
    (codes.OBJECT, "JSON"): _json,
    (codes.ARRAY, "JSON"): _json,
    (codes.OBJECT, "STRING"): _json,
    (codes.ARRAY, "STRING"): _json,
}
