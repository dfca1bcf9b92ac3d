"""`tables_file`: the parameters that differ by table, and the tables to sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.parameters.rows import TABLES_FILE
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.parameters.table_patterns import TablePatterns


@dataclass(frozen=True)
class TableEntry:
    """An entry of the file: a query, or the tables that it names.

    Attributes:
        place: where it is in the file, for messages.
        patterns: None for a query.
        values: the values of its other parameters, by name.
    """

    place: str
    patterns: TablePatterns | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class TablesFile:
    """The content of a tables file; without a file it is empty.

    Attributes:
        defaults: values for all tables, by name.
        entries: those that name tables or a query, in order.
        exclusions: from entries that only exclude tables.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[TableEntry, ...] = ()
    exclusions: tuple[TablePatterns, ...] = ()

    @property
    def values(self) -> list[Mapping[str, Any]]:
        """The values of all its places."""
        return [self.defaults, *(entry.values for entry in self.entries)]

    def excludes(self, table: TableName) -> bool:
        return any(patterns.excludes(table) for patterns in self.exclusions)

    def entry_for(self, table: TableName) -> TableEntry | None:
        """Return the entry that holds for a table: the one with its exact name, else the first with a pattern."""
        entries = [entry for entry in self.entries if entry.patterns is not None and entry.patterns.matches(table)]
        exact = (entry for entry in entries if entry.patterns and entry.patterns.names(table))
        return next(exact, entries[0] if entries else None)


def read_tables_file(location: str, data_source: str) -> tuple[TablesFile, list[str]]:
    """Read the file. Return its content, and a sentence for each problem."""
    return TablesFile(), [f"{TABLES_FILE} is {location}: it is not read yet for {data_source}"]
