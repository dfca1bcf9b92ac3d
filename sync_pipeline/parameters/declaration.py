"""How a source declares itself: its parameters, its checks and its configuration.

Each package that `registry.SOURCES` names has a `SOURCE` of this kind. It is read by every run, whichever source that
has, so the package imports neither a driver nor Beam. Its module
`source` does, which has `open_source(config)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sync_pipeline.parameters.parameter import Group, Parameter, ParameterValues
from sync_pipeline.registry import SOURCES
from sync_pipeline.smart_sync.placeholder_columns import Comparisons


def _nothing(_: ParameterValues) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True, kw_only=True)
class SourceDeclaration:
    """What a source says of itself.

    Attributes:
        label: its name for people.
        parameters: its rows of the table, in their order. A row that several sources have is one value, in
            `parameters.rows`, which each of them lists.
        group_after: the heading that its own, which is `group` or else its label, follows.
        read_config: from the values of the parameters to the source's own configuration, `SyncConfig.source`, which
            nobody else looks into. It travels to the workers by pickle.
        checks: sentences on combinations that cannot be meant.
        warnings: sentences on what is given and has no effect, or is unwise.
        query: the parameter that is the query; empty where there is none, and the interval cannot be named in it.
        base_query: the parameter that Smart Sync uses in its place when it is given, with both placeholders.
        comparisons: what a query compares with a placeholder; `smart_sync.placeholder_columns.in_sql` for SQL.
        timestamp_column: from `smart_sync_timestamp_column` to the column that it is read as.
        has_own_key: rows have a key by which Smart Sync merges them where no primary_key is given.
        too_many_columns: what helps, besides leaving columns out, where the table would have too many.
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
    too_many_columns: str = ""

    @property
    def heading(self) -> str:
        """The heading of its parameters."""
        return self.group or self.label

    def query_of(self, values: ParameterValues) -> str:
        """Return the parameter whose query the run reads by; it may not be given."""
        if values["enable_smart_sync"] and self.base_query and values[self.base_query] is not None:
            return self.base_query
        return self.query


def declared(source: str) -> SourceDeclaration:
    """Return what the source says of itself; `source` is a value of `data_source`."""
    declaration: SourceDeclaration = importlib.import_module(SOURCES[source]).SOURCE
    return declaration


def declarations() -> dict[str, SourceDeclaration]:
    """Return what all sources say of themselves, by the values of `data_source`, in the registry's order."""
    return {source: declared(source) for source in SOURCES}
