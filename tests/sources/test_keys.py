from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pyarrow as pa

from sync_pipeline.sources.keys import KeyReader
from sync_pipeline.sources.source import DeadLetter, SplitReader

KEYS = pa.table({"id": [1, 2]})


class Reader(SplitReader):
    closed = False

    def read(self, split: Any) -> Generator[pa.Table | DeadLetter]:
        yield DeadLetter(("id",), "column 'id' has NULL", {"id": None})
        yield KEYS

    def close_idle(self) -> None:
        self.closed = True


def test_a_key_that_no_row_of_the_destination_can_have_is_left_out() -> None:
    reader = Reader()
    assert list(KeyReader(reader).read(None)) == [KEYS]
    KeyReader(reader).close_idle()
    assert reader.closed
