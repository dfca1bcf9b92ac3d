"""The declaration of a source: its parameters, checks and configuration.

Each package in `registry.SOURCES` has a `SOURCE` of this class. Every run reads all declarations, so a package imports
neither a driver nor Beam; only its module `source` does, which has `open_source(config)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sync_pipeline.parameters.parameter import Group, Parameter, ParameterValues
from sync_pipeline.parameters.table_patterns import TableSyntax
from sync_pipeline.registry import SOURCES
from sync_pipeline.smart_sync.placeholder_columns import Comparisons


def _nothing(_: ParameterValues) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True)
class SourceTables:
    """The parameter that names a source's tables.

    Attributes:
        parameter: of type TABLES, read by `syntax`.
        queries: the parameters that give a query instead of a table.
        always_by_catalog: whether even a single name is looked up in the source's catalog (`open_catalog`). Otherwise
            the source reads it without.
    """

    parameter: str
    syntax: TableSyntax
    queries: tuple[str, ...] = ()
    always_by_catalog: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceDeclaration:
    """The declaration of a source.

    Attributes:
        label: the source's display name.
        parameters: the source's parameters, in order. A parameter of several sources is defined once in
            `parameters.rows`, and each source lists it.
        group: the source's heading; empty for `label`.
        group_after: the heading of shared parameters that the source's heading follows.
        read_config: returns the source's own configuration (`SyncConfig.source`) from the parameters' values. The value
            of `tables.parameter` is the `TableName` to read, or None. Workers receive it by pickle.
        checks: yields sentences about contradictory combinations.
        warnings: yields sentences about parameters that have no effect or are unwise.
        query: the parameter of the query; empty if the source has none, so that placeholders cannot be used.
        base_query: the parameter that Smart Sync prefers over `query`; it contains both placeholders.
        comparisons: yields what a query compares with a placeholder; `smart_sync.placeholder_columns.in_sql` for SQL.
        timestamp_column: returns the column name for `smart_sync_timestamp_column`.
        has_own_key: whether Smart Sync merges the rows by a key of the source if no primary_key is given.
        reads_keys: whether the source can read the keys of all rows, to find deleted ones (`sources.source.ReadsKeys`).
        too_many_columns: the remedy for too many columns, besides excluding some.
        tables: how to name tables; None if the source reads only queries.
        asks: yields the parameters of the connection that `init` asks for, in order, by what is given. It asks for the
            required ones anyway; others may be left empty.
    """

    label: str
    parameters: tuple[Parameter, ...]
    read_config: Callable[[ParameterValues], Any]
    group: str = ""
    group_after: Group = Group.AUTO_SCHEMA
    checks: Callable[[ParameterValues], Iterator[str]] = _nothing
    warnings: Callable[[ParameterValues], Iterator[str]] = _nothing
    query: str = ""
    base_query: str = ""
    comparisons: Comparisons | None = None
    timestamp_column: Callable[[str], str] = str
    has_own_key: bool = False
    reads_keys: bool = False
    too_many_columns: str = ""
    tables: SourceTables | None = None
    asks: Callable[[ParameterValues], Iterator[str]] = _nothing

    @property
    def heading(self) -> str:
        """The heading of its parameters."""
        return self.group or self.label

    def query_of(self, values: ParameterValues) -> str:
        """Return the parameter of the query that the run uses; it may be missing."""
        if values["enable_smart_sync"] and self.base_query and values[self.base_query] is not None:
            return self.base_query
        return self.query


def declared(source: str) -> SourceDeclaration:
    """Return the declaration of a source; `source` is a value of `data_source`."""
    declaration: SourceDeclaration = importlib.import_module(SOURCES[source]).SOURCE
    return declaration


def declarations() -> dict[str, SourceDeclaration]:
    """Return the declarations of all sources by the values of `data_source`, in the registry's order."""
    return {source: declared(source) for source in SOURCES}
