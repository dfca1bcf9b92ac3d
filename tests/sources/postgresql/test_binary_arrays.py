from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.checked_text import RejectedError
from sync_pipeline.sources.postgresql.binary_arrays import lists
from sync_pipeline.sources.postgresql.binary_rows import PADDING, Values
from sync_pipeline.sources.postgresql.binary_values import texts

TEXT = 25


def array(*elements: str | None, oid: int = TEXT, dimensions: int = 1) -> bytes:
    items = (
        b"\xff" * 4 if item is None else struct.pack(">i", len(item.encode())) + item.encode() for item in elements
    )
    shape = struct.pack(">iiIii", dimensions, 0, oid, len(elements), 1)
    return (shape if elements else struct.pack(">iiI", 0, 0, oid)) + b"".join(items)


def decoded(*arrays: bytes | None) -> pa.Array:
    lengths = np.array([len(item or b"") for item in arrays])
    null = np.array([item is None for item in arrays])
    data = np.frombuffer(b"".join(item or b"" for item in arrays) + PADDING, np.uint8)
    values = Values(data, np.cumsum(lengths) - lengths, lengths, null if null.any() else None)
    found = lists(texts, {TEXT})(values)
    found.validate(full=True)
    return found


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40])
def test_arrays_of_different_lengths(count: int) -> None:
    # Of few arrays, the elements are found one after the other, of more together.
    expected = [None if number % 5 == 4 else [f"{number}.{i}" * i for i in range(number)] for number in range(count)]
    assert decoded(*(None if items is None else array(*items) for items in expected)).to_pylist() == expected


def test_one_long_array_among_others() -> None:
    expected = [["a"], [str(number) for number in range(5000)], *([["b", "c"]] * 30)]
    assert decoded(*(array(*items) for items in expected)).to_pylist() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(array("a", None), id="NULL element"),
        pytest.param(array("a", "b", dimensions=2), id="two dimensions"),
    ],
)
def test_what_a_list_does_not_hold(wrong: bytes) -> None:
    with pytest.raises(RejectedError):
        decoded(array("a"), wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(array("a", oid=23), id="another type"),
        pytest.param(array("a")[:-1], id="too short"),
        pytest.param(array("a") + b"b", id="too long"),
    ],
)
def test_what_is_no_array_ends_the_read(wrong: bytes) -> None:
    with pytest.raises(SourceError, match="defect of the reader"):
        decoded(wrong)
