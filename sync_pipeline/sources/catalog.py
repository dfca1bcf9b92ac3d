"""The interface of a source's catalog: all tables of a source in a few requests, to plan many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.sources.source import SourceSession


class Wanted(Protocol):
    """Tells which tables a run may choose, so that a catalog describes no others."""

    def may_choose(self, name: TableName) -> bool:
        """Whether to describe a table: one that matches, or has a name like one that may not exist."""

    def matches(self, name: TableName) -> bool:
        """Whether the user's names and wildcards include a table."""


class SourceCatalog(Protocol):
    """A connected source and its tables.

    The source's clock is read when the catalog is opened, before any row.
    """

    @property
    def tables(self) -> Sequence[CatalogTable]:
        """The tables that may be chosen, in the order of their names."""

    def narrowing(self, tables: Sequence[CatalogTable]) -> Mapping[TableName, Mapping[str, str]]:
        """Return by which timestamp columns an interval is found without reading the whole table, and by what.

        The words are the source's, such as `index` or `partition`. May send a request for each table.
        """

    def session(self, table: CatalogTable, config: SyncConfig) -> SourceSession:
        """Return the session that plans one table, over the catalog's own connection.

        The number of requests of its methods does not grow with the number of tables, except for tables that are large
        enough to be split. Threads may use the sessions of different tables at once. Make all sessions before the first
        describes its table, because they share requests.

        Args:
            table: one of `tables`.
            config: the table's configuration; `config.source` names the same server and this table.
        """


class OpenCatalog(Protocol):
    """`open_catalog` of a source's module `source`."""

    def __call__(self, server: Any, max_retries: int, wanted: Wanted) -> AbstractContextManager[SourceCatalog]:
        """Connect, read the clock and the catalog.

        Args:
            server: the source's own configuration (`RunConfig.source`), without a table.
            max_retries: how often connecting is tried again.

        Raises:
            ConfigError: a parameter, or what it names, is wrong.
            SourceError: the source cannot be reached or rejects a request.
        """
