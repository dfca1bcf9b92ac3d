"""Texts that are published into JSON columns: whether BigQuery's PARSE_JSON takes them, wide numbers rounded.

It refuses escapes of half a surrogate pair and numbers beyond a double, both of which PostgreSQL's types hold, and more
than 500 levels. https://cloud.google.com/bigquery/docs/json-data#limitations
"""

from __future__ import annotations

import enum
import re

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

MAX_LEVELS = 500

# A number of fewer digits is a double, if it has no exponent.
_DIGITS = 300

# As many as are looked at beyond the third.
_MOST_DIGITS_OF_EXPONENT = 8

# Of the bytes every so many-th is looked at for them.
_STEP = 20

# What can follow a number in an array or an object, and what a text begins with that may be a number alone.
_AFTER_NUMBERS = np.frombuffer(b",]} \t\r\n", dtype=np.uint8)
_BEFORE_NUMBERS = np.frombuffer(b"-0123456789 \t\r\n", dtype=np.uint8)

_BRACKETS_OR_STRING = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*"')

type _Bytes = npt.NDArray[np.uint8]
type _Flags = npt.NDArray[np.bool_]


class Origin(enum.Enum):
    """What is known of texts before."""

    ANY = "nothing"
    JSON = "they are JSON, as somebody wrote it"
    NORMALIZED = "they are JSON that a server wrote: without exponents and escapes of surrogates"


def are_json(texts: pa.Array, origin: Origin) -> bool:
    """Whether all `texts`, which are strings, can be published as JSON; NULL can.

    Of texts that are JSON by the source's rules, only those that may break BigQuery's are parsed.
    """
    if origin is not Origin.ANY:
        texts = texts.take(pa.array(_suspicious_rows(texts, is_normalized=origin is Origin.NORMALIZED)))
    return all(text is None or is_json(text) for text in texts.to_pylist())


def is_json(text: str) -> bool:
    """Whether one text can be published as JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return text.count("[") + text.count("{") <= MAX_LEVELS or _levels(text) <= MAX_LEVELS


def _suspicious_rows(texts: pa.Array, *, is_normalized: bool) -> npt.NDArray[np.int64]:
    """Return the numbers of the texts, known to be JSON, that BigQuery may refuse."""
    offsets = np.frombuffer(texts.buffers()[1] or b"\0\0\0\0", dtype=np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin == end:
        return np.empty(0, dtype=np.int64)
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[begin:end]
    places = _long_numbers(data)
    if not is_normalized:
        places = np.concatenate([places, _halves(data), _wide_exponents(data)])
    alone = np.flatnonzero(np.isin(data[np.minimum(offsets[:-1] - begin, len(data) - 1)], _BEFORE_NUMBERS))
    rows = np.concatenate([np.searchsorted(offsets, places + begin, side="right") - 1, alone])
    longest = int(np.diff(offsets).max())
    if longest > 2 * MAX_LEVELS:
        brackets = np.searchsorted(offsets, _places(data, "[{") + begin, side="right") - 1
        rows = np.concatenate([rows, np.flatnonzero(np.bincount(brackets) > MAX_LEVELS)])
    return np.unique(rows).astype(np.int64)


def _halves(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return where escapes begin that may be half of a surrogate pair."""
    places = np.flatnonzero(data == ord("\\"))
    places = places[places < len(data) - 3]
    places = places[(data[places + 1] == ord("u")) & ((data[places + 2] | 0x20) == ord("d"))]
    # \uD8 to \uDF.
    found: npt.NDArray[np.int64] = places[data[places + 3] >= ord("8")]
    return found


def _long_numbers(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return where numbers may be that have hundreds of digits."""
    # A run of so many digits has this many in a sample of the bytes, one behind another.
    in_sample = _DIGITS // _STEP - 1
    sums = np.concatenate([[0], np.cumsum(_are_digits(data[::_STEP]))])
    return np.flatnonzero(sums[in_sample:] - sums[:-in_sample] == in_sample) * _STEP


def _wide_exponents(data: _Bytes) -> npt.NDArray[np.int64]:
    """Return where numbers may be that have an exponent of three digits."""
    places = _places(data, "eE")
    places = places[(places > 0) & (places < len(data) - 4)]
    places = places[_are_digits(data[places - 1])]
    # Of 1e+300 the first digit comes after the sign; 1e-300 is small, not wide.
    firsts = places + 1 + (data[places + 1] == ord("+"))
    for distance in range(3):
        firsts = firsts[_are_digits(data[firsts + distance])]
    # The digits of a UUID, say, go on with a letter or a dash.
    after = firsts + 3
    for _ in range(_MOST_DIGITS_OF_EXPONENT):
        after = after + _are_digits(data[np.minimum(after, len(data) - 1)])
    last = data[np.minimum(after, len(data) - 1)]
    found: npt.NDArray[np.int64] = firsts[_are_digits(last) | np.isin(last, _AFTER_NUMBERS)]
    return found


def _places(data: _Bytes, characters: str) -> npt.NDArray[np.int64]:
    # One comparison a character is several times as fast as one of a byte that has been changed.
    return np.concatenate([np.flatnonzero(data == ord(character)) for character in characters])


def _are_digits(data: _Bytes) -> _Flags:
    return (data >= ord("0")) & (data <= ord("9"))


def _levels(text: str) -> int:
    """Return how deeply arrays and objects lie in one another, in a text that is JSON."""
    deepest = level = 0
    for match in _BRACKETS_OR_STRING.finditer(text):
        if match[0] in "[{":
            level += 1
            deepest = max(deepest, level)
        elif match[0] in "]}":
            level -= 1
    return deepest
