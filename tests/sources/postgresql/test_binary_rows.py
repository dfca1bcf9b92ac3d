from __future__ import annotations

import struct

import numpy as np
import pytest

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.postgresql.binary_rows import PADDING, SIGNATURE, Rows, Shape, first_row, gather


def row(*values: bytes | None) -> bytes:
    fields = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
    return struct.pack(">h", len(values)) + b"".join(fields)


def rows(*parts: bytes) -> Rows:
    bounds = np.cumsum([0, *map(len, parts)])
    return Rows(np.frombuffer(b"".join(parts) + PADDING, np.uint8), bounds)


def values_of(found: Rows, count: int) -> list[list[bytes | None]]:
    return [[column.bytes_of(index) for index in range(len(found))] for column in found.columns([Shape()] * count)]


TWO = (row(b"a", None, b""), row(b"bc", b"d", None))


def test_the_values_of_each_column() -> None:
    assert values_of(rows(*TWO), 3) == [[b"a", b"bc"], [None, b"d"], [b"", None]]


def test_a_slice() -> None:
    assert values_of(rows(*TWO, TWO[0]).slice(1, 2), 3) == [[b"bc"], [b"d"], [None]]
    assert len(rows(*TWO, TWO[0]).slice(1, 3)) == 2


@pytest.mark.parametrize(
    ("found", "count"),
    [
        pytest.param(rows(*TWO), 2, id="more columns"),
        pytest.param(rows(*TWO), 4, id="fewer columns"),
        pytest.param(rows(row(b"a"), row(b"a", b"b")), 1, id="rows of different columns"),
        pytest.param(rows(row(b"a")[:-1], row(b"a")), 1, id="a row in two messages"),
        pytest.param(rows(row(b"a") + row(b"a")), 1, id="two rows in one message"),
        pytest.param(rows(struct.pack(">hi", 1, -2)), 1, id="a negative length"),
        pytest.param(rows(struct.pack(">hi", 1, 1000)), 1, id="a length beyond the end"),
    ],
)
def test_what_is_no_row_ends_the_read(found: Rows, count: int) -> None:
    with pytest.raises(SourceError, match="defect of the reader"):
        list(found.columns([Shape()] * count))


@pytest.mark.parametrize(
    ("values", "is_valid"),
    [
        pytest.param((b"1234", b"5678"), True, id="that width"),
        pytest.param((b"1234", None), True, id="NULL"),
        pytest.param((b"1234", b"567"), False, id="another width"),
    ],
)
def test_the_width_of_values(values: tuple[bytes | None, ...], is_valid: bool) -> None:
    (column,) = rows(*map(row, values)).columns([Shape()])
    if is_valid:
        column.check_width(4)
        return
    with pytest.raises(SourceError, match="defect of the reader"):
        column.check_width(4)


INT2, INT4, TEXT, NUMERIC = Shape(2, is_fixed=True), Shape(4, is_fixed=True), Shape(), Shape(8)
SHAPED = [INT2, INT4, TEXT, NUMERIC, INT4, INT2]
USUAL = (b"ab", b"cdef", b"text", b"12345678910", b"ghij", b"kl")


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="none"),
        pytest.param([(b"mn", b"opqr", b"", b"1", b"stuv", b"wx")], id="of other lengths"),
        *(pytest.param([(*USUAL[:at], None, *USUAL[at + 1 :])], id=f"with NULL at {at}") for at in range(len(USUAL))),
        pytest.param([(None,) * len(USUAL)] * 2, id="of NULL alone"),
        pytest.param([(b"a", b"cde", b"text", b"1234567", b"g", b"k")], id="with values of other widths"),
    ],
)
def test_values_of_fixed_and_of_other_widths(others: list[tuple[bytes | None, ...]]) -> None:
    expected = [USUAL, *others, USUAL]
    found = rows(*(row(*values) for values in expected))
    columns = list(found.columns(SHAPED))
    assert [[column.bytes_of(index) for index in range(len(found))] for column in columns] == [
        list(values) for values in zip(*expected, strict=True)
    ]
    for column, values in zip(columns, zip(*expected, strict=True), strict=True):
        first = column.at(0, "S1")
        assert all(value is None or value[:1] == first[number] for number, value in enumerate(values))


def test_more_columns_than_are_taken_together() -> None:
    count = 500
    values = [struct.pack(">i", number) for number in range(count)]
    found = rows(row(*values), row(*values[:-1], None), row(*reversed(values)))
    columns = list(found.columns([INT4] * count))
    assert [column.bytes_of(0) for column in columns] == values
    assert [int(column.at(0, ">i4")[2]) for column in columns] == list(reversed(range(count)))  # type: ignore[call-overload]
    assert columns[-1].bytes_of(1) is None


def test_the_last_null_has_bytes_to_read_in_its_place() -> None:
    (column,) = rows(row(None)).columns([Shape()])
    assert list(column.at(0, ">i8")) == [0]


def test_items_at_any_place() -> None:
    data = np.frombuffer(b"\0\1\2\3\4", np.uint8)
    assert list(gather(data, np.array([0, 1, 3]), ">u2")) == [0x0001, 0x0102, 0x0304]
    with pytest.raises(SourceError):
        gather(data, np.array([4]), ">u2")


@pytest.mark.parametrize(
    ("data", "length"),
    [
        pytest.param(SIGNATURE + bytes(8) + b"\0\1", 19, id="plain"),
        pytest.param(SIGNATURE + struct.pack(">ii", 0, 3) + b"abc", 22, id="with an extension"),
    ],
)
def test_the_header(data: bytes, length: int) -> None:
    assert first_row(memoryview(data)) == length


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"1,2,3\n" + bytes(20), id="text"),
        pytest.param(SIGNATURE + struct.pack(">ii", 1 << 16, 0), id="with oids"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_another_header(data: bytes) -> None:
    with pytest.raises(SourceError, match="defect of the reader"):
        first_row(memoryview(data))
