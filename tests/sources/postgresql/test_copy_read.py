from __future__ import annotations

import struct

import pytest

from sync_pipeline.errors import SourceError
from sync_pipeline.sources.postgresql import copy_read
from sync_pipeline.sources.postgresql.binary_rows import SIGNATURE, Rows, Shape
from sync_pipeline.sources.postgresql.copy_read import RowsWriter

HEADER = SIGNATURE + bytes(8)
TRAILER = b"\xff\xff"


def row(number: int) -> bytes:
    return struct.pack(">hii", 1, 4, number)


def written(*messages: bytes, sent: int) -> list[list[int]]:
    """Return the numbers in the rows of each chunk."""
    chunks: list[Rows] = []
    writer = RowsWriter(chunks.append)
    for message in messages:
        writer.write(message)
    writer.finish(sent)
    return [list(column.at(0, ">i4")) for chunk in chunks for column in chunk.columns([Shape(4, is_fixed=True)])]


@pytest.mark.parametrize("chunk_bytes", [1, 11, 30, 31, 1000])
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([HEADER + row(1), row(2), row(3), TRAILER], id="the header with the first row"),
        pytest.param([HEADER, row(1), row(2), row(3), TRAILER], id="the header alone"),
    ],
)
def test_rows(monkeypatch: pytest.MonkeyPatch, messages: list[bytes], chunk_bytes: int) -> None:
    monkeypatch.setattr(copy_read, "CHUNK_BYTES", chunk_bytes)
    chunks = written(*messages, sent=3)
    assert [number for chunk in chunks for number in chunk] == [1, 2, 3]
    assert all(chunks)


@pytest.mark.parametrize(
    "messages", [pytest.param([HEADER + TRAILER], id="at once"), pytest.param([HEADER, TRAILER], id="one by one")]
)
@pytest.mark.parametrize("chunk_bytes", [1, 1000])
def test_no_rows(monkeypatch: pytest.MonkeyPatch, messages: list[bytes], chunk_bytes: int) -> None:
    monkeypatch.setattr(copy_read, "CHUNK_BYTES", chunk_bytes)
    assert written(*messages, sent=0) == []


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        pytest.param([HEADER + row(1), row(2)], 2, id="without the trailer"),
        pytest.param([HEADER + row(1), TRAILER], 2, id="a row less"),
        pytest.param([HEADER + row(1), row(2), TRAILER], 1, id="a row more"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_what_is_not_complete_ends_the_read(messages: list[bytes], sent: int) -> None:
    with pytest.raises(SourceError, match=rf"row count mismatch: PostgreSQL sent {sent} rows, \d arrived: nothing"):
        written(*messages, sent=sent)
