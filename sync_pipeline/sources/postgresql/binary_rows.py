"""Rows of PostgreSQL's binary COPY format: where each value of each column is, found for all rows at a time.

Values of a fixed width keep their distance from row to row, so that one look at all rows finds several columns: as many
as there are until a value whose width differs, or that is NULL.

https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT. A row is the number of its fields in 16
bits, then for each field its length in 32 bits, -1 for NULL, and its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sync_pipeline.errors import SourceError

SIGNATURE = b"PGCOPY\n\xff\r\n\0"

# The signature, flags, and the length of what may follow.
_HEADER_BYTES = len(SIGNATURE) + 4 + 4

# In place of the number of fields, after the last row.
_TRAILER = b"\xff\xff"

# The most bytes of a row that are taken together. Behind the last row is as much padding, so that a fixed number of
# bytes can be taken where a last NULL would have its value.
_TOGETHER = 256
PADDING = bytes(_TOGETHER)

# The bytes before the first field, and before each value.
_COUNT_BYTES, _LENGTH_BYTES = 2, 4

_UNREADABLE = "PostgreSQL sent rows that cannot be read: nothing was loaded. This is a defect of the reader"

type Positions = npt.NDArray[np.int64]
type Flags = npt.NDArray[np.bool_]
type Bytes = npt.NDArray[np.uint8]


def unreadable() -> SourceError:
    """Return the error for bytes that are not in the format that was asked for."""
    return SourceError(_UNREADABLE)


def first_row(data: memoryview) -> int:
    """Return the length of the header that `data` begins with. Raises SourceError."""
    flags = len(SIGNATURE)
    extension = flags + 4
    if data[:extension] != SIGNATURE + bytes(4):
        raise unreadable()
    return _HEADER_BYTES + int.from_bytes(data[extension:_HEADER_BYTES], "big")


def is_trailer(row: memoryview) -> bool:
    """Whether this is the mark after the last row."""
    return row == _TRAILER


@dataclass(frozen=True)
class Shape:
    """The values of a column as far as the type determines them.

    Attributes:
        head: how many first bytes of each value to take at once with those of the neighbouring columns.
        is_fixed: whether these are all bytes of a value.
    """

    head: int = 0
    is_fixed: bool = False


# That of a type of which nothing is known.
NO_SHAPE = Shape()


@dataclass(frozen=True)
class Values:
    """The values of a column, of n rows, in the type's binary format.

    Attributes:
        data: the bytes of all rows, and `PADDING`.
        begin: where each value begins; of NULL, where the next field begins.
        length: the number of its bytes; 0 of NULL.
        null: which values are NULL; None where none is.
        heads: the first bytes of each value as a row of a matrix, where they are taken already.
    """

    data: Bytes
    begin: Positions
    length: Positions
    null: Flags | None = None
    heads: Bytes | None = None

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def validity(self) -> pa.Buffer | None:
        """Arrow's bitmap of the values that are not NULL."""
        return None if self.null is None else pa.py_buffer(np.packbits(~self.null, bitorder="little"))

    def at(self, offset: int, dtype: str) -> npt.NDArray[np.generic]:
        """Return what is `offset` bytes after the beginning of each value, as `dtype`, a big-endian type of numpy."""
        end = offset + np.dtype(dtype).itemsize
        if self.heads is not None and end <= self.heads.shape[1]:
            return self.heads[:, offset:end].view(dtype)[:, 0]
        return gather(self.data, self.begin + offset, dtype)

    def check_width(self, width: int) -> None:
        """Raise SourceError unless each value has `width` bytes."""
        wrong = self.length != width
        if self.null is not None:
            wrong &= ~self.null
        if wrong.any():
            raise unreadable()

    def bytes_of(self, index: int) -> bytes | None:
        """Return the bytes of one value, None of NULL."""
        if self.null is not None and self.null[index]:
            return None
        begin = int(self.begin[index])
        return self.data[begin : begin + int(self.length[index])].tobytes()


def gather(data: Bytes, positions: Positions, dtype: str) -> npt.NDArray[np.generic]:
    """Return the items of `dtype` that begin at the positions, whatever their alignment. Raises SourceError."""
    size = np.dtype(dtype).itemsize
    items = np.ndarray((max(len(data) - size + 1, 0),), dtype, data, strides=(1,))
    try:
        return items[positions]
    except IndexError:
        raise unreadable() from None


@dataclass(frozen=True)
class Rows:
    """Complete rows.

    Attributes:
        data: their bytes, and `PADDING`.
        bounds: where each row begins, and the end of the last: one more than there are rows.
    """

    data: Bytes
    bounds: Positions

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def slice(self, begin: int, end: int) -> Rows:
        """Return the rows from the number `begin` to `end`, without it."""
        return Rows(self.data, self.bounds[begin : end + 1])

    def columns(self, shapes: Sequence[Shape]) -> Iterator[Values]:
        """Yield the values of each column. Raises SourceError when the rows have other columns."""
        begin, first = self.bounds[:-1], _COUNT_BYTES
        if (gather(self.data, begin, ">i2") != len(shapes)).any():
            raise unreadable()
        number = 0
        while number < len(shapes):
            found, begin = _neighbours(self.data, begin, first, shapes[number:])
            yield from found
            number, first = number + len(found), 0
        if (begin != self.bounds[1:]).any():
            raise unreadable()


def _neighbours(data: Bytes, begin: Positions, first: int, shapes: Sequence[Shape]) -> tuple[list[Values], Positions]:
    """Return the values of the first columns of `shapes`, of one at least, and where the field behind them begins.

    Args:
        begin, first: the first field is `first` bytes behind `begin`.
    """
    width = first
    for shape in shapes:
        if width + _LENGTH_BYTES + shape.head > _TOGETHER:
            break
        width += _LENGTH_BYTES + shape.head
        if not shape.is_fixed:
            break
    together = gather(data, begin, f"V{width}").view(np.uint8).reshape(len(begin), width)
    found: list[Values] = []
    place = first
    for shape in shapes:
        head = place + _LENGTH_BYTES
        end = head + shape.head
        if end > width:
            break
        lengths, heads, values = together[:, place:head].view(">i4")[:, 0], together[:, head:end], begin + head
        if shape.is_fixed and (lengths == shape.head).all():
            found.append(Values(data, values, np.full(len(begin), shape.head), None, heads))
            place = end
            continue
        length = lengths.astype(np.int64)
        null = None
        if len(length) and length.min() < 0:
            null = length < 0
            if length.min() < -1:
                raise unreadable()
            length[null] = 0
        return [*found, Values(data, values, length, null, heads)], values + length
    return found, begin + place
