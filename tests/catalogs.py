"""What the tests of catalogs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sync_pipeline.parameters.source_tables import CatalogTable, TableName


@dataclass(frozen=True)
class Names:
    """The tables whose names match a glob."""

    glob: str = "*"

    def may_choose(self, name: TableName) -> bool:
        return self.matches(name)

    def matches(self, name: TableName) -> bool:
        return fnmatchcase(str(name), self.glob)


def by_name(tables: Iterable[CatalogTable]) -> dict[str, CatalogTable]:
    return {str(table.name): table for table in tables}


def facts[Fact](tables: Iterable[CatalogTable], fact: Callable[[CatalogTable], Fact]) -> dict[str, Fact]:
    """Return one fact of each table, by its name."""
    return {name: fact(table) for name, table in by_name(tables).items()}
