"""Canonical JSON of many nested documents and arrays at once, with exactly the text that `to_json` gives for each.

Converts the members column by column, sorts their texts back into the order of the documents, and joins them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.sources.mongodb import bson_scan as codes
from sync_pipeline.sources.mongodb.bson_scan import Documents, Elements, Positions, take_extents_apart
from sync_pipeline.sources.mongodb.to_json import decoded_values, json_bytes

# Limits beyond which decoding is faster: keys that are data, long arrays, and deep nesting, which rarely repeats.
MAX_HEADERS, MAX_DEPTH = 200, 20

_NUMPY = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
# The years 1000 to 8999, in milliseconds since 1970. The JSON writer rejects some arrays with other years.
_FIRST_MOMENT, _LAST_MOMENT = -30_610_224_000_000, 221_845_391_999_999


class NotAtOnceError(Exception):
    """The values cannot be converted at once and have to be decoded."""


def json_at_once(documents: Documents, elements: Elements, depth: int = 0) -> pa.Array:
    """Return the canonical JSON of the values, as strings.

    Raises:
        NotAtOnceError, TooManyHeadersError, MalformedBsonError: the values have to be decoded instead.
    """
    if elements.code in (codes.OBJECT, codes.ARRAY):
        return _nested(documents, elements, depth + 1)
    text = _TEXTS.get(elements.code, _decoded)
    return text(documents, elements)


def slices(documents: Documents, begins: Positions, ends: Positions) -> pa.Array:
    """Return the bytes between the ascending offsets `begins` and `ends`, as binary values."""
    # Offsets at every begin and end divide the buffer; every other piece is a value.
    cuts = np.empty(2 * len(begins), dtype=np.int32)
    cuts[0::2], cuts[1::2] = begins, ends
    return _every_other(cuts, documents.raw)


def _every_other(cuts: npt.NDArray[np.int32], data: bytes) -> pa.Array:
    pieces = pa.Array.from_buffers(pa.binary(), len(cuts) - 1, [None, pa.py_buffer(cuts), pa.py_buffer(data)])
    return pieces.take(pa.array(np.arange(0, len(cuts) - 1, 2)))


def _nested(documents: Documents, elements: Elements, depth: int) -> pa.Array:
    if depth > MAX_DEPTH:
        raise NotAtOnceError
    is_object = elements.code == codes.OBJECT
    members = take_extents_apart(documents, elements.begins, elements.ends, MAX_HEADERS)
    count = len(elements.rows)
    if is_object:
        _check_unique(members, count)
    texts = [json_at_once(documents, member, depth) for member in members]
    if is_object:
        names = [orjson.dumps(member.key.decode()).decode() + ":" for member in members]
        if _are_alike(members, count):
            return _joined(names, texts)
        texts = [
            pc.binary_join_element_wise(pa.scalar(name), text, "") for name, text in zip(names, texts, strict=True)
        ]
    rows = np.concatenate([member.rows for member in members]) if members else np.empty(0, dtype=np.int64)
    order = _order(members)
    joined = pa.concat_arrays(texts) if texts else pa.array([], pa.string())
    if order is not None:
        joined = joined.take(pa.array(order))
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
    lists = pa.ListArray.from_arrays(pa.array(offsets), joined)
    opening, closing = ("{", "}") if is_object else ("[", "]")
    return pc.binary_join_element_wise(pa.scalar(opening), pc.binary_join(lists, ","), pa.scalar(closing), "")


def _are_alike(members: list[Elements], count: int) -> bool:
    """Whether all objects have all members, which are unique, in the same order."""
    if not members or any(len(member.rows) != count for member in members):
        return False
    return all((first.begins < second.begins).all() for first, second in itertools.pairwise(members))


def _joined(names: list[str], texts: list[pa.Array]) -> pa.Array:
    """Return the objects whose members are alike, in one pass over their texts."""
    pieces: list[pa.Array | pa.Scalar] = []
    for opening, name, text in zip(itertools.chain("{", itertools.repeat(",")), names, texts, strict=False):
        pieces += [pa.scalar(opening + name), text]
    return pc.binary_join_element_wise(*pieces, pa.scalar("}"), "")


def _order(members: list[Elements]) -> Positions | None:
    """Return the permutation that sorts the members' texts into the order of the documents; None if not needed."""
    if len(members) < 2:
        return None
    # The stable sort is faster here, because each member's offsets already ascend.
    return np.argsort(np.concatenate([member.begins for member in members]), kind="stable")


def _check_unique(members: list[Elements], count: int) -> None:
    """Check for duplicate names. Raises NotAtOnceError when a document has one, because decoding decides which wins."""
    by_key: dict[bytes, list[Positions]] = {}
    for member in members:
        by_key.setdefault(member.key, []).append(member.rows)
    for parts in by_key.values():
        rows = np.concatenate(parts)
        if len(rows) > 1 and np.bincount(rows, minlength=count).max() > 1:
            raise NotAtOnceError


def _strings(documents: Documents, elements: Elements) -> pa.Array:
    texts = slices(documents, elements.begins + 4, elements.ends - 1).cast(pa.string())
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    if ((data < 0x20) | (data == ord('"')) | (data == ord("\\"))).any():
        return pa.array([orjson.dumps(text) for text in texts.to_pylist()], pa.string())
    return _quoted(texts)


def _quoted(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar('"'), texts, pa.scalar('"'), "")


def object_id_digits(documents: Documents, elements: Elements) -> pa.Array:
    """Return ObjectIds as 24 hexadecimal digits."""
    count = len(elements.rows)
    digits = _HEX[documents.numbers(elements.begins, "V12").view(np.uint8)]
    offsets = np.arange(count + 1, dtype=np.int32) * 24
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(digits)])


_HEX = np.array([f"{number:02x}".encode() for number in range(256)], dtype="S2").view("<u2").reshape(-1)


def _whole_numbers(dtype: str) -> Callable[[Documents, Elements], pa.Array]:
    return lambda documents, elements: pa.array(documents.numbers(elements.begins, dtype)).cast(pa.string())


def _doubles(documents: Documents, elements: Elements) -> pa.Array:
    numbers = documents.numbers(elements.begins, "<f8")
    if not np.isfinite(numbers).all():
        return _decoded(documents, elements)
    return _written(numbers)


def _dates(documents: Documents, elements: Elements) -> pa.Array:
    milliseconds = documents.numbers(elements.begins, "<i8")
    if milliseconds.min() < _FIRST_MOMENT or milliseconds.max() > _LAST_MOMENT:
        return _decoded(documents, elements)
    return _written((milliseconds * 1000).view("<M8[us]"))


def _written(values: npt.NDArray[np.generic]) -> pa.Array:
    """Return the texts of numbers or timestamps from `to_json`'s writer: it writes one array, split at its commas."""
    written = orjson.dumps(np.ascontiguousarray(values), option=_NUMPY)
    commas = np.flatnonzero(np.frombuffer(written, dtype=np.uint8) == ord(","))
    cuts = np.empty(2 * len(values), dtype=np.int32)
    cuts[0], cuts[-1] = 1, len(written) - 1
    cuts[1:-1:2], cuts[2::2] = commas, commas + 1
    return _every_other(cuts, written).cast(pa.string())


def _booleans(documents: Documents, elements: Elements) -> pa.Array:
    return pc.if_else(pa.array(documents.numbers(elements.begins, "u1") != 0), "true", "false")


def _nulls(_: Documents, elements: Elements) -> pa.Array:
    return pa.repeat(pa.scalar("null"), len(elements.rows))


def _decoded(documents: Documents, elements: Elements) -> pa.Array:
    return pa.array([json_bytes(value) for value in decoded_values(documents, elements)], pa.string())


_TEXTS: Mapping[int, Callable[[Documents, Elements], pa.Array]] = {
    codes.STRING: _strings,
    codes.DOUBLE: _doubles,
    codes.INT32: _whole_numbers("<i4"),
    codes.INT64: _whole_numbers("<i8"),
    codes.BOOL: _booleans,
    codes.NULL: _nulls,
    codes.UNDEFINED: _nulls,
    codes.DATE: _dates,
    codes.OBJECT_ID: lambda documents, elements: _quoted(object_id_digits(documents, elements)),
}
