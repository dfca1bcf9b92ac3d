"""The read of keys: the reader of a source without the rows whose key is invalid."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from sync_pipeline.sources.source import DeadLetter, SplitReader


@dataclass(frozen=True)
class KeyReader(SplitReader):
    """Reads splits of keys.

    Attributes:
        reader: reads the key columns.
    """

    reader: SplitReader
    rows: ClassVar[str] = "keys"
    part: ClassVar[str] = "key split"

    def read(self, split: Any) -> Generator[pa.Table | DeadLetter]:
        """Yield the keys of the split. Raises SyncError."""
        with closing(self.reader.read(split)) as parts:
            for part in parts:
                # A destination row cannot have a key that its columns cannot hold.
                if not isinstance(part, DeadLetter):
                    yield part

    def close_idle(self) -> None:
        """Close what `reader` keeps open."""
        self.reader.close_idle()
