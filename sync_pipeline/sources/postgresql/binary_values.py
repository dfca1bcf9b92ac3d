"""Decodes columns of PostgreSQL's binary format into Arrow, all values of a column at a time, and checks each value.

The format of a type is what its send function writes: `int8send`, `timestamptz_send`, … in PostgreSQL's source.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.schema import ARROW_TYPES
from sync_pipeline.sources.checked_text import RejectedError
from sync_pipeline.sources.postgresql.binary_rows import Positions, Values, unreadable

type Decode = Callable[[Values], pa.Array]

# PostgreSQL counts days and microseconds from here.
_EPOCH = date(2000, 1, 1)
EPOCH_DAYS = (_EPOCH - date(1970, 1, 1)).days
DAY_MICROSECONDS = 24 * 60 * 60 * 1_000_000

# The years 1 to 9999 in days since `_EPOCH`. PostgreSQL has infinity, years before 1 and years after 9999 beside them.
_FIRST_DAY, _LAST_DAY = (day.toordinal() - _EPOCH.toordinal() for day in (date.min, date.max))

# The first version of the format of jsonb, which is its text, and so far the only one.
_JSONB_VERSION = 1
JSONB_VERSION_BYTES = 1

# Four hexadecimal digits for each two bytes, as they are in memory: the first byte is the low one.
_DIGITS_OF_BYTE = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
_HEXADECIMAL = np.stack([np.tile(_DIGITS_OF_BYTE, 256), np.repeat(_DIGITS_OF_BYTE, 256)], axis=1).view(np.uint32)[:, 0]

UUID_BYTES, _UUID_CHARACTERS = 16, 36

# The digits of a UUID: where they are in its text, which has dashes between, and in its 32 digits, and their number.
_UUID_GROUPS = ((0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 8), (32, 28, 4))


def integers(dtype: str) -> Decode:
    """Return the decoder of integers, which are `dtype`, into INT64."""
    width = np.dtype(dtype).itemsize

    def decode(values: Values) -> pa.Array:
        values.check_width(width)
        return _array(values, pa.int64(), values.at(0, dtype).astype(np.int64))

    return decode


def floats(values: Values) -> pa.Array:
    """Decode float8."""
    values.check_width(8)
    return _array(values, pa.float64(), values.at(0, ">f8").astype(np.float64))


def booleans(values: Values) -> pa.Array:
    """Decode bool."""
    values.check_width(1)
    return _array(values, pa.bool_(), np.packbits(values.at(0, ">u1") != 0, bitorder="little"))


def dates(values: Values) -> pa.Array:
    """Decode date. Raises RejectedError for a date outside of the years 1 to 9999."""
    values.check_width(4)
    days = values.at(0, ">i4").astype(np.int32)
    _check(values, (days >= _FIRST_DAY) & (days <= _LAST_DAY))
    return _array(values, pa.date32(), days + np.int32(EPOCH_DAYS))


def times(values: Values) -> pa.Array:
    """Decode time. Raises RejectedError for 24:00:00."""
    values.check_width(8)
    microseconds = values.at(0, ">i8").astype(np.int64)
    _check(values, (microseconds >= 0) & (microseconds < DAY_MICROSECONDS))
    return _array(values, ARROW_TYPES["TIME"], microseconds)


def timestamps(type_name: str) -> Decode:
    """Return the decoder of timestamp into DATETIME, or of timestamptz into TIMESTAMP.

    It raises RejectedError for a value outside of the years 1 to 9999.
    """
    first, end = _FIRST_DAY * DAY_MICROSECONDS, (_LAST_DAY + 1) * DAY_MICROSECONDS

    def decode(values: Values) -> pa.Array:
        values.check_width(8)
        microseconds = values.at(0, ">i8").astype(np.int64)
        _check(values, (microseconds >= first) & (microseconds < end))
        # Infinity, of which the sum would overflow, is rejected by now, but what is in place of NULL is any number.
        with np.errstate(over="ignore"):
            return _array(values, ARROW_TYPES[type_name], microseconds + EPOCH_DAYS * DAY_MICROSECONDS)

    return decode


def uuids(values: Values) -> pa.Array:
    """Decode uuid into its text."""
    values.check_width(UUID_BYTES)
    count = len(values)
    if not count:
        return pa.array([], pa.string())
    pairs = np.ascontiguousarray(values.at(0, f"V{UUID_BYTES}")).view(np.uint16)
    digits = np.take(_HEXADECIMAL, pairs, mode="clip").view(np.uint8)
    texts = np.full(count * _UUID_CHARACTERS, ord("-"), np.uint8)
    for place, digit, width in _UUID_GROUPS:
        _column(texts, place, _UUID_CHARACTERS, width)[:] = _column(digits, digit, 2 * UUID_BYTES, width)
    offsets = np.arange(0, (count + 1) * _UUID_CHARACTERS, _UUID_CHARACTERS, dtype=np.int32)
    buffers = [values.validity, pa.py_buffer(offsets), pa.py_buffer(texts)]
    return pa.Array.from_buffers(pa.string(), count, buffers)


def _column(data: npt.NDArray[np.uint8], place: int, row: int, width: int) -> npt.NDArray[np.generic]:
    """Return the `width` bytes at a place of each row of `row` bytes as an integer, so that they are copied at once."""
    return np.ndarray((len(data) // row,), f"u{width}", data, place, (row,))


def binaries(values: Values) -> pa.Array:
    """Decode bytea."""
    count = len(values)
    if not count:
        return pa.array([], pa.binary())
    # What is between two values is a value as well, so that Arrow can take every other one and copies each once.
    bounds = np.empty(2 * count, np.int32)
    bounds[::2], bounds[1::2] = values.begin, values.begin + values.length
    between = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(bounds), pa.py_buffer(values.data)])
    return between.take(pa.array(np.arange(0, 2 * count, 2), mask=values.null))


def texts(values: Values) -> pa.Array:
    """Decode text and types that are sent as it is. Raises RejectedError for a text that is not UTF-8."""
    return pc.cast(binaries(values), pa.string())


def jsonb_texts(values: Values) -> pa.Array:
    """Decode jsonb into its text."""
    return texts(without_version(values))


def without_version(values: Values) -> Values:
    """Return values of jsonb without the byte before their texts."""
    here = slice(None) if values.null is None else ~values.null
    if (values.at(0, ">u1")[here] != _JSONB_VERSION).any():
        raise unreadable()
    text: Positions = values.length - JSONB_VERSION_BYTES
    if values.null is not None:
        text[values.null] = 0
    return Values(values.data, values.begin + JSONB_VERSION_BYTES, text, values.null)


def _array(values: Values, type_: pa.DataType, items: npt.NDArray[np.generic]) -> pa.Array:
    return pa.Array.from_buffers(type_, len(values), [values.validity, pa.py_buffer(items)])


def _check(values: Values, valid: npt.NDArray[np.bool_]) -> None:
    if values.null is not None:
        valid |= values.null
    if not valid.all():
        raise RejectedError
