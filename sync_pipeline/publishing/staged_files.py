"""The files that a run has staged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync_pipeline.auto_schema.partitions import partition_groups


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that is complete.

    Attributes:
        uri: where it is.
        rows: how many rows it holds.
        size: in bytes.
        partitions: the partitions of the destination its rows belong to, each by its first moment; one is None
            when there are rows without one.
        is_dead_letters: it holds rows for the dead letter table, not for the destination.
        is_keys: it holds keys of the source, to find deleted rows.
    """

    uri: str
    rows: int
    size: int
    partitions: frozenset[str | None] = frozenset()
    is_dead_letters: bool = False
    is_keys: bool = False


@dataclass(frozen=True)
class StagedFiles:
    """Files of one kind: those of the rows, of the dead letters, or of the source's keys."""

    files: Sequence[StagedFile] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)

    @property
    def partitions(self) -> frozenset[str | None]:
        return frozenset().union(*(file.partitions for file in self.files))

    @property
    def partition_groups(self) -> list[frozenset[str | None]]:
        """The partitions in groups that one statement each can write to; see `partitions.partition_groups`."""
        return partition_groups(self.partitions)
