"""Checks texts for JSON columns: whether BigQuery's PARSE_JSON accepts them with wide_number_mode=>'round'.

PARSE_JSON rejects escapes of lone surrogates and numbers beyond the range of a double, both of which PostgreSQL's JSON
types may hold, and more than 500 levels of nesting. https://cloud.google.com/bigquery/docs/json-data#limitations
"""

from __future__ import annotations

import enum
import re

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

MAX_LEVELS = 500

# A number without an exponent and with fewer digits is in the range of a double.
_DIGITS = 300

# Digits of an exponent to skip after the third.
_MOST_DIGITS_OF_EXPONENT = 8

# The scan for long numbers looks at every 20th byte.
_STEP = 20

# Bytes that can follow a number in an array or an object, and bytes that a text can begin with if it is only a number.
_AFTER_NUMBERS = np.frombuffer(b",]} \t\r\n", dtype=np.uint8)
_IS_BEFORE_NUMBERS = np.isin(np.arange(256), np.frombuffer(b"-0123456789 \t\r\n", dtype=np.uint8))

_BRACKETS_OR_STRING = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*"')

type _Bytes = npt.NDArray[np.uint8]
type _Flags = npt.NDArray[np.bool_]


class Origin(enum.Enum):
    """What is known about the texts before the check."""

    ANY = "nothing"
    JSON = "valid JSON, with its original spelling"
    NORMALIZED = "JSON written by a server: no exponents, no escapes of surrogates"


def are_json(texts: pa.Array, origin: Origin) -> bool:
    """Whether BigQuery accepts all `texts`, a string array, as JSON. NULL is accepted.

    If the source guarantees JSON, parses only the texts that may violate BigQuery's limits.
    """
    if origin is not Origin.ANY:
        texts = texts.take(pa.array(_suspicious_rows(texts, is_normalized=origin is Origin.NORMALIZED)))
    return all(text is None or is_json(text) for text in texts.to_pylist())


def is_json(text: str) -> bool:
    """Whether BigQuery accepts one text as JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return text.count("[") + text.count("{") <= MAX_LEVELS or _levels(text) <= MAX_LEVELS


def _suspicious_rows(texts: pa.Array, *, is_normalized: bool) -> npt.NDArray[np.int64]:
    """Return the indexes of the texts, known to be JSON, that BigQuery may reject."""
    offsets = np.frombuffer(texts.buffers()[1] or b"\0\0\0\0", dtype=np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin == end:
        return np.empty(0, dtype=np.int64)
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[begin:end]
    places = _long_numbers(data)
    if not is_normalized:
        places = np.concatenate([places, _halves(data), _wide_exponents(data)])
    alone = np.flatnonzero(_IS_BEFORE_NUMBERS[data[np.minimum(offsets[:-1] - begin, len(data) - 1)]])
    rows = np.concatenate([np.searchsorted(offsets, places + begin, side="right") - 1, alone])
    longest = int(np.diff(offsets).max())
    if longest > 2 * MAX_LEVELS:
        brackets = np.searchsorted(offsets, _places(data, "[{") + begin, side="right") - 1
        rows = np.concatenate([rows, np.flatnonzero(np.bincount(brackets) > MAX_LEVELS)])
    return np.unique(rows).astype(np.int64)


def _halves(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return the positions of escapes that may be lone surrogates."""
    places = np.flatnonzero(data == ord("\\"))
    places = places[places < len(data) - 3]
    places = places[(data[places + 1] == ord("u")) & ((data[places + 2] | 0x20) == ord("d"))]
    # \uD8 to \uDF.
    found: npt.NDArray[np.int64] = places[data[places + 3] >= ord("8")]
    return found


def _long_numbers(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return positions of possible numbers with hundreds of digits."""
    # The sample of every 20th byte has this many consecutive digits from a number that long.
    in_sample = _DIGITS // _STEP - 1
    sums = np.concatenate([[0], np.cumsum(_are_digits(data[::_STEP]))])
    return np.flatnonzero(sums[in_sample:] - sums[:-in_sample] == in_sample) * _STEP


def _wide_exponents(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return positions of possible numbers with an exponent of three digits."""
    places = _places(data, "eE")
    places = places[(places > 0) & (places < len(data) - 4)]
    places = places[_are_digits(data[places - 1])]
    # The first digit of 1e+300 follows the sign; 1e-300 is small, not wide.
    firsts = places + 1 + (data[places + 1] == ord("+"))
    for distance in range(3):
        firsts = firsts[_are_digits(data[firsts + distance])]
    # A letter or a dash after the digits means that they are not a number, but part of a UUID, for example.
    after = firsts + 3
    for _ in range(_MOST_DIGITS_OF_EXPONENT):
        after = after + _are_digits(data[np.minimum(after, len(data) - 1)])
    last = data[np.minimum(after, len(data) - 1)]
    found: npt.NDArray[np.int64] = firsts[_are_digits(last) | np.isin(last, _AFTER_NUMBERS)]
    return found


def _places(data: _Bytes, characters: str) -> npt.NDArray[np.int64]:
    # Two comparisons are several times as fast as folding the case of all bytes first.
    return np.concatenate([np.flatnonzero(data == ord(character)) for character in characters])


def _are_digits(data: _Bytes) -> _Flags:
    return (data >= ord("0")) & (data <= ord("9"))


def _levels(text: str) -> int:
    """Return how deeply arrays and objects are nested in a JSON text."""
    deepest = level = 0
    for match in _BRACKETS_OR_STRING.finditer(text):
        if match[0] in "[{":
            level += 1
            deepest = max(deepest, level)
        elif match[0] in "]}":
            level -= 1
    return deepest
