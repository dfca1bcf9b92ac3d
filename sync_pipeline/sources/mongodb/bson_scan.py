"""Locates the values of each field and type in many raw BSON documents at once, without decoding them.

The scan walks all documents in lockstep. One step advances all documents whose next element has the same type and name,
by comparing bytes in numpy. So the cost depends on the number of distinct elements instead of documents. For any shapes
of documents, the scan visits every element exactly once. https://bsonspec.org/spec.html
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

# Type bytes of the specification.
DOUBLE, STRING, OBJECT, ARRAY, BINARY, UNDEFINED, OBJECT_ID, BOOL, DATE, NULL = range(1, 11)
REGEX, DB_POINTER, CODE, SYMBOL, CODE_WITH_SCOPE, INT32, TIMESTAMP, INT64, DECIMAL128 = range(11, 20)
MIN_KEY, MAX_KEY = 0xFF, 0x7F

_FIXED_SIZES = {
    DOUBLE: 8,
    UNDEFINED: 0,
    OBJECT_ID: 12,
    BOOL: 1,
    DATE: 8,
    NULL: 0,
    INT32: 4,
    TIMESTAMP: 8,
    INT64: 8,
    DECIMAL128: 16,
    MIN_KEY: 0,
    MAX_KEY: 0,
}

# Bytes of a document's length and its final zero.
_SMALLEST = 5

# Bytes of padding, because the scan may read beyond the end of a document.
PADDING = 16

_LENGTH = struct.Struct("<i")

# Cost model, in units of one document per step: the fixed cost of a step, the cost per byte of walking one by one, and
# the effort below which the choice does not matter.
_STEP_COST, _BYTE_COST, _SMALL_EFFORT = 500, 2, 1_000_000

# Bytes of a value that its length prefix (int32) does not count.
_COUNTED_SIZES = {STRING: 4, OBJECT: 0, ARRAY: 0, BINARY: 5, DB_POINTER: 16, CODE: 4, SYMBOL: 4, CODE_WITH_SCOPE: 0}


class MalformedBsonError(Exception):
    """The bytes are not BSON. Carries none of them."""


@dataclass(frozen=True)
class Elements:
    """The values of one field with one type.

    Attributes:
        key: the field's name, as UTF-8 bytes.
        code: the type byte.
        rows: 0-based indexes of the documents that contain the values, ascending.
        begins, ends: byte offsets of each value in the buffer, without its type and name.
    """

    key: bytes
    code: int
    rows: Positions
    begins: Positions
    ends: Positions


@dataclass(frozen=True)
class Documents:
    """Documents in a buffer, in ascending order. Between them there may be other bytes.

    Attributes:
        raw: the bytes, which go on for at least `PADDING` after the last document, so that a read may pass its end.
        begins, ends: byte offsets of the documents.
    """

    raw: bytes
    begins: Positions
    ends: Positions

    @classmethod
    def of(cls, raw: bytes | memoryview) -> Documents:
        """Locate the documents in `raw`, one after the other. Raises MalformedBsonError when the bytes are not BSON."""
        starts = [0]
        position, size, length_at = 0, len(raw), _LENGTH.unpack_from
        padded = b"".join((raw, bytes(PADDING)))
        while position < size:
            (length,) = length_at(padded, position)
            if length < _SMALLEST:
                raise MalformedBsonError
            position += length
            starts.append(position)
        if position != size:
            raise MalformedBsonError
        bounds = np.array(starts, dtype=np.int64)
        return cls(padded, bounds[:-1], bounds[1:])

    def in_array(self, begin: int, end: int) -> Documents:
        """Locate the documents that are the elements of the array between two offsets.

        The name of each element is its index in decimal digits, as the specification says, so its length is known.

        Raises:
            MalformedBsonError: the bytes are not an array of documents.
        """
        begins: list[int] = []
        position, last, length_at, add = begin + 4, end - 1, _LENGTH.unpack_from, begins.append
        for digits in itertools.count(1):
            header = digits + 2
            for _ in range(9 * 10 ** (digits - 1) + (digits == 1)):
                if position >= last:
                    break
                position += header
                (length,) = length_at(self.raw, position)
                if length < _SMALLEST:
                    raise MalformedBsonError
                add(position)
                position += length
            if position >= last:
                break
        if position != last:
            raise MalformedBsonError
        found = np.array(begins, dtype=np.int64)
        # Each element is preceded by the final zero of its name.
        if (self.numbers(found - 1, "u1") != 0).any():
            raise MalformedBsonError
        return Documents(self.raw, found, found + self.numbers(found, "<i4"))

    def __len__(self) -> int:
        return len(self.begins)

    def parts(self, size: int) -> Iterator[Documents]:
        """Yield the documents in parts of about `size` bytes that share the buffer."""
        first = 0
        while first < len(self):
            end = int(np.searchsorted(self.begins, self.begins[first] + size))
            end = min(max(end, first + 1), len(self))
            yield Documents(self.raw, self.begins[first:end], self.ends[first:end])
            first = end

    def document(self, row: int) -> bytes:
        """Return one document."""
        return self.raw[self.begins[row] : self.ends[row]]

    def numbers(self, positions: Positions, dtype: str) -> npt.NDArray[Any]:
        """Return the little-endian numbers of type `dtype` at `positions`."""
        width = np.dtype(dtype).itemsize
        if len(positions) and positions.max() + width > len(self.raw):
            raise MalformedBsonError
        # A view with a number at every byte offset, aligned or not.
        everywhere = np.ndarray((len(self.raw) - width + 1,), dtype, self.raw, 0, (1,))
        numbers: npt.NDArray[Any] = everywhere[positions]
        return numbers


class TooManyHeadersError(Exception):
    """The documents have too many distinct names and types for the scan."""


def take_apart(documents: Documents) -> list[Elements]:
    """Return all elements of the documents, grouped by field and type, in an order that documents have.

    Raises:
        MalformedBsonError: the bytes are not BSON.
    """
    return take_extents_apart(documents, documents.begins, documents.ends)


def take_extents_apart(
    documents: Documents, begins: Positions, ends: Positions, max_headers: int | None = None
) -> list[Elements]:
    """Return the elements of the documents or arrays between the ascending offsets `begins` and `ends`.

    Raises:
        MalformedBsonError: the bytes are not BSON.
        TooManyHeadersError: the elements have more than `max_headers` distinct names and types.
    """
    walk = _Walk(documents, begins, ends)
    if len(begins) == 1 and max_headers is None:
        # A single document shares no steps.
        walk.finish_one_by_one()
    while walk.active.size:
        if walk.active.size == 1:
            # A step for all documents costs more than walking the rest one by one.
            walk.finish_one_by_one()
            if max_headers is not None and len(walk.headers) > max_headers:
                raise TooManyHeadersError
            break
        walk.learn()
        if max_headers is not None and len(walk.headers) > max_headers:
            raise TooManyHeadersError
        if walk.is_laborious():
            # Typical if field names are data, so that documents have few names in common.
            if max_headers is not None:
                raise TooManyHeadersError
            walk.finish_one_by_one()
            break
        for header in list(walk.headers):
            walk.step(header)
    return walk.elements()


class _Walk:
    """The position of the scan in each document, and the elements found."""

    def __init__(self, documents: Documents, begins: Positions, ends: Positions) -> None:
        self._documents = documents
        self._cursors = begins + 4
        self._last = ends - 1
        self.active = np.flatnonzero(self._cursors < self._last)
        # Headers (type and name) in the order in which documents have them, so that one round covers most documents.
        self.headers: list[bytes] = []
        self._found: dict[bytes, list[tuple[Positions, Positions, Positions]]] = {}
        self._effort = 0

    def learn(self) -> None:
        """Learn the remaining headers of the first unfinished document."""
        row = self.active[0]
        place = 0
        cursor, last = int(self._cursors[row]), int(self._last[row])
        while cursor < last:
            header = self._header(cursor)
            if header in self._found:
                place = max(place, self.headers.index(header) + 1)
            else:
                self._found[header] = []
                self.headers.insert(place, header)
                place += 1
            begin = np.array([cursor + len(header)])
            cursor = int(self._ends(header[0], begin)[0])

    def step(self, header: bytes) -> None:
        """Advance every document whose next element has this header."""
        rows = self.active
        if not rows.size:
            return
        cursors = self._cursors[rows]
        self._effort += _STEP_COST + len(rows)
        limit = len(self._documents.raw) - PADDING
        for offset in range(0, len(header), 8):
            part = header[offset : offset + 8]
            positions = cursors + offset
            if positions.max() >= limit:
                inside = positions < limit
                rows, cursors, positions = rows[inside], cursors[inside], positions[inside]
            wanted = np.frombuffer(part.ljust(8, b"\0"), dtype="<u8")[0]
            mask = np.uint64((1 << (8 * len(part))) - 1)
            fits = (self._documents.numbers(positions, "<u8") & mask) == wanted
            # Often all documents have the header: then nothing has to be copied.
            if not fits.all():
                rows, cursors = rows[fits], cursors[fits]
            if not rows.size:
                return
        begins = cursors + len(header)
        ends = self._ends(header[0], begins)
        last = self._last[rows]
        if (ends > last).any() or (ends < begins).any():
            raise MalformedBsonError
        self._found[header].append((rows, begins, ends))
        self._cursors[rows] = ends
        if (ends == last).any():
            self.active = self.active[self._cursors[self.active] < self._last[self.active]]

    def is_laborious(self) -> bool:
        """Whether the steps so far cost more than walking the rest one by one."""
        left = int((self._last[self.active] - self._cursors[self.active]).sum())
        return self._effort > _SMALL_EFFORT + _BYTE_COST * left

    def finish_one_by_one(self) -> None:
        """Read the remaining elements of every unfinished document, one document at a time."""
        found: dict[bytes, list[tuple[int, int, int]]] = {}
        for row in self.active.tolist():
            cursor, last = int(self._cursors[row]), int(self._last[row])
            while cursor < last:
                header = self._header(cursor)
                begin = cursor + len(header)
                cursor = self._end(header[0], begin)
                if cursor > last or cursor < begin:
                    raise MalformedBsonError
                found.setdefault(header, []).append((row, begin, cursor))
        for header, places in found.items():
            if header not in self._found:
                self._found[header] = []
                self.headers.append(header)
            rows, begins, ends = np.array(places, dtype=np.int64).T
            self._found[header].append((rows, begins, ends))
        self.active = self.active[:0]

    def elements(self) -> list[Elements]:
        found = []
        for header in self.headers:
            parts = self._found[header]
            if not parts:
                continue
            rows, begins, ends = parts[0]
            if len(parts) > 1:
                rows, begins, ends = (np.concatenate(part) for part in zip(*parts, strict=True))
                order = np.argsort(rows, kind="stable")
                rows, begins, ends = rows[order], begins[order], ends[order]
            found.append(Elements(header[1:-1], header[0], rows, begins, ends))
        return found

    def _header(self, cursor: int) -> bytes:
        end = self._documents.raw.find(b"\0", cursor + 1)
        if end < 0:
            raise MalformedBsonError
        return self._documents.raw[cursor : end + 1]

    def _ends(self, code: int, begins: Positions) -> Positions:
        if code in _FIXED_SIZES:
            return begins + _FIXED_SIZES[code]
        if code in _COUNTED_SIZES:
            ends: Positions = begins + self._documents.numbers(begins, "<i4") + _COUNTED_SIZES[code]
            return ends
        if code == REGEX:
            return np.array([self._end_of_regex(int(begin)) for begin in begins], dtype=np.int64)
        raise MalformedBsonError

    def _end(self, code: int, begin: int) -> int:
        if code in _FIXED_SIZES:
            return begin + _FIXED_SIZES[code]
        return int(self._ends(code, np.array([begin]))[0])

    def _end_of_regex(self, begin: int) -> int:
        pattern = self._documents.raw.find(b"\0", begin)
        return self._documents.raw.find(b"\0", pattern + 1) + 1
