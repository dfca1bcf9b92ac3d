"""The types that PostgreSQL sends in binary, by their oids, which are the same on every server.

A column of another type, or one that is read as another type of BigQuery, is sent as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sync_pipeline.sources.postgresql import binary_texts
from sync_pipeline.sources.postgresql.binary_arrays import lists
from sync_pipeline.sources.postgresql.binary_decimals import USUAL_BYTES, decimals
from sync_pipeline.sources.postgresql.binary_rows import NO_SHAPE, Shape
from sync_pipeline.sources.postgresql.binary_texts import Text
from sync_pipeline.sources.postgresql.binary_values import (
    JSONB_VERSION_BYTES,
    UUID_BYTES,
    Decode,
    binaries,
    booleans,
    dates,
    floats,
    integers,
    jsonb_texts,
    texts,
    times,
    timestamps,
    uuids,
)


@dataclass(frozen=True)
class BinaryType:
    """The binary format of a type.

    Attributes:
        array: the oid of its arrays.
        decode: by the BigQuery type it can be read as, the decoder; which checks all but NULL, JSON, and the digits of
            NUMERIC(p, s).
        text: the text of a value, for dead letters.
        element_text: that of an element of an array, if it differs.
        shape: what all its values have in common.
    """

    array: int
    decode: Mapping[str, Decode]
    text: Text
    element_text: Text | None = None
    shape: Shape = NO_SHAPE


@dataclass(frozen=True)
class _TextType(BinaryType):
    """A type whose binary format is its text."""

    decode: Mapping[str, Decode] = field(default_factory=lambda: {"STRING": texts})
    text: Text = binary_texts.plain


_BYTES_1, _BYTES_2, _BYTES_4, _BYTES_8 = (Shape(width, is_fixed=True) for width in (1, 2, 4, 8))

BINARY_TYPES: Mapping[int, BinaryType] = {
    16: BinaryType(1000, {"BOOL": booleans}, binary_texts.boolean, binary_texts.word, _BYTES_1),
    17: BinaryType(1001, {"BYTES": binaries}, bytes.hex, binary_texts.prefixed_hexadecimal),
    20: BinaryType(1016, {"INT64": integers(">i8")}, binary_texts.integer, shape=_BYTES_8),
    21: BinaryType(1005, {"INT64": integers(">i2")}, binary_texts.integer, shape=_BYTES_2),
    23: BinaryType(1007, {"INT64": integers(">i4")}, binary_texts.integer, shape=_BYTES_4),
    701: BinaryType(1022, {"FLOAT64": floats}, binary_texts.double, shape=_BYTES_8),
    1082: BinaryType(1182, {"DATE": dates}, binary_texts.date, shape=_BYTES_4),
    1083: BinaryType(1183, {"TIME": times}, binary_texts.time, shape=_BYTES_8),
    1114: BinaryType(
        1115,
        {"DATETIME": timestamps("DATETIME")},
        binary_texts.timestamps(),
        binary_texts.timestamps(between="T"),
        _BYTES_8,
    ),
    1184: BinaryType(
        1185,
        {"TIMESTAMP": timestamps("TIMESTAMP")},
        binary_texts.timestamps("+00"),
        binary_texts.timestamps("+00:00", "T"),
        _BYTES_8,
    ),
    1700: BinaryType(
        1231,
        {name: decimals(name) for name in ("NUMERIC", "BIGNUMERIC")},
        binary_texts.numeric,
        shape=Shape(USUAL_BYTES),
    ),
    2950: BinaryType(2951, {"STRING": uuids}, binary_texts.uuid, shape=Shape(UUID_BYTES, is_fixed=True)),
    3802: BinaryType(3807, {"JSON": jsonb_texts}, binary_texts.jsonb, shape=Shape(JSONB_VERSION_BYTES)),
    # name, text, bpchar, varchar.
    19: _TextType(1003),
    25: _TextType(1009),
    1042: _TextType(1014),
    1043: _TextType(1015),
}

# The oid of json, whose binary format is its text as well; its arrays are read as one JSON value.
JSON_OID = 114

TEXT_OIDS = frozenset({JSON_OID, *(oid for oid, type_ in BINARY_TYPES.items() if isinstance(type_, _TextType))})


def _arrays() -> Mapping[int, BinaryType]:
    """Return the types of arrays: by the BigQuery type of the elements, lists of them."""
    # An array that is cast to text[] may still call its elements varchar.
    return {
        type_.array: BinaryType(
            0,
            {
                name: lists(decode, TEXT_OIDS if isinstance(type_, _TextType) else {oid})
                for name, decode in type_.decode.items()
            },
            binary_texts.arrays(type_.element_text or type_.text),
        )
        for oid, type_ in BINARY_TYPES.items()
    }


ARRAY_TYPES = _arrays()
