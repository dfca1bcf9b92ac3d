"""Tables of a source as its catalog describes them, before any of them is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class TableName:
    """The stored name of a table or collection; `schema` is empty for a source without schemas."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class CatalogTable:
    """A table that the user of the source can see.

    Attributes:
        kind: the source's word for it, such as `table`, `view`, `partitioned table` or `collection`.
        key: the columns of its primary key, in order; empty without one, or if rows cannot be merged by it.
        why_no_key: why rows cannot be merged by its primary key, as a sentence; empty if they can, or without one.
        columns: the names of its columns; empty if they are unknown, or if the source gives them names that BigQuery
            allows.
        timestamps: the columns by which Smart Sync could read it, and whether each may be NULL.
        rows, size: the catalog's estimates, in rows and in bytes; None if unknown.
        left_out: why a wildcard does not choose it, and the remedy, worded to follow "NAME: "; empty if a wildcard
            chooses it. An exact name always does.
        may_read: whether the user of the source has the right to read it, if the catalog tells.
    """

    name: TableName
    kind: str
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    timestamps: Mapping[str, bool] = field(default_factory=dict)
    rows: int | None = None
    size: int | None = None
    left_out: str = ""
    why_no_key: str = ""
    may_read: bool = True
