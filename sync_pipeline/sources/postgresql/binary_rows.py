"""Rows of PostgreSQL's binary COPY format: where each value of each column is, found for all rows at a time.

https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT. A row is the number of its fields in 16
bits, then for each field its length in 32 bits, -1 for NULL, and its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
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

# Behind the last row, so that a fixed number of bytes can be read where a last NULL would have its value.
PADDING = bytes(16)

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
class Values:
    """The values of a column, of n rows, in the type's binary format.

    Attributes:
        data: the bytes of all rows, and `PADDING`.
        begin: where each value begins; of NULL, where the next field begins.
        length: the number of its bytes; 0 of NULL.
        null: which values are NULL; None where none is.
    """

    data: Bytes
    begin: Positions
    length: Positions
    null: Flags | None = None

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def validity(self) -> pa.Buffer | None:
        """Arrow's bitmap of the values that are not NULL."""
        return None if self.null is None else pa.py_buffer(np.packbits(~self.null, bitorder="little"))

    def at(self, offset: Positions | int, dtype: str) -> npt.NDArray[np.generic]:
        """Return what is `offset` bytes after the beginning of each value, as `dtype`, a big-endian type of numpy."""
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

    def columns(self, count: int) -> Iterator[Values]:
        """Yield the values of each of `count` columns. Raises SourceError when the rows have others."""
        if (gather(self.data, self.bounds[:-1], ">i2") != count).any():
            raise unreadable()
        position = self.bounds[:-1] + 2
        for _ in range(count):
            length = gather(self.data, position, ">i4").astype(np.int64)
            position = position + 4
            null = None
            if len(length) and length.min() < 0:
                null = length < 0
                if length.min() < -1:
                    raise unreadable()
                length[null] = 0
            yield Values(self.data, position, length, null)
            position = position + length
        if (position != self.bounds[1:]).any():
            raise unreadable()
