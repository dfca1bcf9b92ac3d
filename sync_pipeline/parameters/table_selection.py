"""Which tables of a source a run syncs, and the configuration of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.declaration import SourceTables
from sync_pipeline.parameters.destination_names import SCHEMA_FIELD, TABLE_FIELD, destination_name
from sync_pipeline.parameters.one_table import destination_problems
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.rows import DESTINATION, TABLES_FILE
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.parameters.table_patterns import TablePattern, TablePatterns
from sync_pipeline.parameters.tables_file import TableEntry, TablesFile
from sync_pipeline.printable import named
from sync_pipeline.suggestions import closest_match

_DESTINATION = DESTINATION[-1]
# A message names so many tables.
_SHOWN = 5
# With more names, looking for similar ones among thousands would take seconds.
_MAX_COMPARED = 20


@dataclass(frozen=True)
class ChosenTable:
    """A table, or a query of the tables file, that a run syncs.

    Attributes:
        name: its name as users write it; for a query, the name of its destination table.
        table: None for a query.
        given: the names of the parameters that the user gave for it. On the command line a default is not given.
    """

    name: str
    table: CatalogTable | None
    given: frozenset[str]
    _values: ParameterValues = field(repr=False)
    _own: frozenset[str] = field(repr=False)

    @property
    def destination(self) -> str:
        """The name of its destination table, in which fields stand for the names of the source's table."""
        given: str | None = self._values[_DESTINATION]
        return given or TABLE_FIELD

    def value(self, name: str) -> Any:
        """Return the value of a parameter: a given one, or the default."""
        return self._values[name]

    def config(self, implied: Mapping[str, Any]) -> SyncConfig:
        """Return the table's configuration.

        Args:
            implied: values of parameters, used for those that are not given.

        Raises:
            ConfigError: parameters are invalid. Each problem begins with the table's name.
        """
        values = {name: value for name, value in implied.items() if name not in self.given}
        try:
            return SyncConfig.from_values(self._values.with_given(values), about=self._own)
        except ConfigError as error:
            raise ConfigError([f"{self.name}: {problem}" for problem in error.problems]) from None


@dataclass(frozen=True)
class Choice:
    """The tables that a run syncs.

    Attributes:
        failed: errors by the names of tables and patterns: they have no table at the source, or a destination that
            cannot be.
    """

    tables: tuple[ChosenTable, ...]
    failed: Mapping[str, ConfigError]


@dataclass(frozen=True)
class TableSelection:
    """The tables that a run syncs, before the source's catalog is read.

    Attributes:
        tables: how the source names tables.
        named: the tables that a parameter names; None if those of the file are synced.
        file: what differs by table.
        values: the values of the command line.
    """

    tables: SourceTables
    named: TablePatterns | None
    file: TablesFile
    values: ParameterValues = field(repr=False)

    def may_choose(self, name: TableName) -> bool:
        """Whether `choose` needs a table of the source.

        It needs those that may be chosen, and names similar to one that may not exist, for the error message.
        """
        return self.matches(name) or (not self.file.excludes(name) and self._resembles(name))

    def matches(self, name: TableName) -> bool:
        """Whether the user's names and wildcards include a table. Wildcards do not choose each that they match."""
        return not self.file.excludes(name) and any(patterns.matches(name) for _, patterns in self._lists)

    def choose(self, tables: Sequence[CatalogTable]) -> Choice:
        """Return the chosen ones of the source's tables, in their order, and then the file's queries.

        Wildcards choose no tables that the catalog leaves out.

        Raises:
            ConfigError: nothing is left to sync. Holds all problems.
        """
        chosen = [self._chosen_table(table) for table in tables if self._chooses(table)]
        if self.named is None:
            chosen += [self._chosen_query(entry) for entry in self.file.entries if entry.patterns is None]
        problems: dict[str, list[str]] = {}
        for name, problem in (*self._unmatched(tables), *self._destination_problems(chosen)):
            problems.setdefault(name, []).append(problem)
        kept = tuple(one for one in chosen if one.name not in problems)
        if not kept:
            found = list(dict.fromkeys(problem for several in problems.values() for problem in several))
            raise ConfigError(found or [f"{self._place}: every table that it names is excluded, too"])
        return Choice(kept, {name: ConfigError(found) for name, found in problems.items()})

    def left_out(self, tables: Sequence[CatalogTable]) -> list[CatalogTable]:
        """Return the tables that a wildcard matches and does not choose, because the catalog leaves them out."""
        return [
            table
            for table in tables
            if table.left_out
            and not self._chooses(table)
            and not self.file.excludes(table.name)
            and any(patterns.matches(table.name) for _, patterns in self._lists)
        ]

    @cached_property
    def _lists(self) -> list[tuple[str, TablePatterns]]:
        """The lists that choose tables, each with its place for messages."""
        if self.named is not None:
            return [(self.tables.parameter, self.named)]
        return [
            (f"{TABLES_FILE}: {entry.place}: {self.tables.parameter}", entry.patterns)
            for entry in self.file.entries
            if entry.patterns is not None
        ]

    @property
    def _place(self) -> str:
        return TABLES_FILE if self.named is None else self.tables.parameter

    @cached_property
    def _literals(self) -> list[tuple[str, TablePattern, TableName]]:
        """The names without wildcards that must exist, each with its place and pattern."""
        lists = list(self._lists)
        if self.named is not None:
            lists += [
                (f"{TABLES_FILE}: {entry.place}: {self.tables.parameter}", entry.patterns)
                for entry in self.file.entries
                if entry.patterns is not None
            ]
        return [
            (place, pattern, pattern.literal)
            for place, patterns in lists
            for pattern in patterns.included
            if pattern.literal is not None
            and not self.file.excludes(pattern.literal)
            and any(chooser.matches(pattern.literal) for _, chooser in self._lists)
        ]

    def _resembles(self, name: TableName) -> bool:
        if len(self._literals) > _MAX_COMPARED:
            return False
        return closest_match(str(name), {str(literal) for *_, literal in self._literals}) is not None

    def _chooses(self, table: CatalogTable) -> bool:
        if self.file.excludes(table.name):
            return False
        return any(
            patterns.names(table.name) if table.left_out else patterns.matches(table.name)
            for _, patterns in self._lists
        )

    def _chosen_table(self, table: CatalogTable) -> ChosenTable:
        entry = self.file.entry_for(table.name)
        own = entry.values if entry is not None else {}
        name = self.tables.syntax.written(table.name)
        values = {**self.file.defaults, **own, self.tables.parameter: self.tables.syntax.parse(name)}
        return self._chosen(name, table, values, own)

    def _chosen_query(self, entry: TableEntry) -> ChosenTable:
        values = {**self.file.defaults, **entry.values}
        return self._chosen(f"query into {values[_DESTINATION]}", None, values, entry.values)

    def _chosen(
        self, name: str, table: CatalogTable | None, values: Mapping[str, object], own: Mapping[str, object]
    ) -> ChosenTable:
        layered = self.values.with_given(values)
        return ChosenTable(name, table, layered.given, layered, frozenset(own))

    def _unmatched(self, tables: Sequence[CatalogTable]) -> Iterator[tuple[str, str]]:
        """Yield each name and pattern without a table, with a sentence about it."""
        existing = {table.name for table in tables}
        for place, pattern, name in self._literals:
            if name not in existing:
                yield pattern.text, f"{place} names {pattern.text}, which does not exist{self._hint(name, tables)}"
        for place, patterns in self._lists:
            for pattern in patterns.included:
                if pattern.literal is not None:
                    continue
                matched = [table for table in tables if pattern.matches(table.name)]
                if not matched:
                    excluded = ", or only excluded ones" if self._has_exclusions else ""
                    yield pattern.text, f"{place} has {pattern.text}, which matches no table{excluded}"
                elif not any(map(self._chooses, matched)) and all(table.left_out for table in matched):
                    first = self.tables.syntax.written(matched[0].name)
                    reason = f"which matches no table that a wildcard chooses: {first}: {matched[0].left_out}"
                    yield pattern.text, f"{place} has {pattern.text}, {reason}"

    @property
    def _has_exclusions(self) -> bool:
        lists = (*self.file.exclusions, *(patterns for _, patterns in self._lists))
        return any(pattern.excludes for patterns in lists for pattern in patterns.patterns)

    def _hint(self, name: TableName, tables: Sequence[CatalogTable]) -> str:
        written = {str(table.name): self.tables.syntax.written(table.name) for table in tables}
        similar = closest_match(str(name), written)
        return f"; did you mean {written[similar]}?" if similar is not None else ""

    def _destination_problems(self, chosen: Sequence[ChosenTable]) -> Iterator[tuple[str, str]]:
        """Yield the name of each table whose destination cannot be, with a sentence about it."""
        by_destination: dict[str, list[str]] = {}
        for one in chosen:
            template = one.destination
            if one.table is None:
                by_destination.setdefault(template, []).append(one.name)
                continue
            problems = list(destination_problems(template, one.table.name, self.tables))
            yield from ((one.name, f"{one.name}: {problem}") for problem in problems)
            if not problems:
                by_destination.setdefault(destination_name(template, one.table.name), []).append(one.name)
        remedy = f"{SCHEMA_FIELD}_{TABLE_FIELD}" if self.tables.syntax.default_schema else TABLE_FIELD
        for destination, names in by_destination.items():
            if len(names) > 1:
                problem = (
                    f"{named(names, _SHOWN)} have one destination table, {destination}: give {_DESTINATION}={remedy}, "
                    f"or a name for each in {TABLES_FILE}"
                )
                yield from ((name, problem) for name in names)
        dataset = [self.values[name] for name in DESTINATION[:-1]]
        for one in chosen:
            letters = one.value("dead_letter_table")
            names = by_destination.get(letters.table, []) if letters else []
            if letters and [letters.project, letters.dataset] == dataset and names and one.name not in names:
                yield one.name, f"{one.name}: dead_letter_table is the destination table of {names[0]}: name another"
