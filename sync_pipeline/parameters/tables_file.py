"""`tables_file`: the parameters that differ by table, and the tables to sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.file_values import content_of, text_of
from sync_pipeline.parameters.files import read_file
from sync_pipeline.parameters.parsing import read_value, shown
from sync_pipeline.parameters.rows import DESTINATION, TABLES_FILE
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS
from sync_pipeline.parameters.table_patterns import TablePatterns
from sync_pipeline.suggestions import did_you_mean

_DESTINATION = DESTINATION[-1]
_KEYS = ("defaults", "tables")
# Thousands of tables with queries have less.
_MAX_BYTES = 4_000_000


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
    """Read the file. Return its content without what is invalid, and a sentence for each problem.

    Raises:
        SourceUnavailableError: Cloud Storage could not be reached, or failed.
    """
    try:
        text = read_file(TABLES_FILE, location, _MAX_BYTES).decode("utf-8-sig")
        content = content_of(text)
    except UnicodeDecodeError:
        return TablesFile(), [f"{TABLES_FILE}: {location} is not text in UTF-8"]
    except ConfigError as error:
        return TablesFile(), [_with_place(problem, TABLES_FILE) for problem in error.problems]
    reading = _Reading(data_source)
    file = reading.file(content)
    return file, [f"{TABLES_FILE}: {problem}" for problem in reading.problems]


class _Reading:
    """Reads the content of a file, and collects the problems."""

    def __init__(self, data_source: str) -> None:
        self.source = data_source
        tables = declared(data_source).tables
        assert tables is not None, "only a source with tables reads the file"
        self.tables = tables
        self.problems: list[str] = []

    def file(self, content: Any) -> TablesFile:
        if not isinstance(content, dict):
            found = "it is empty" if content is None else "it is another YAML value"
            self.problems.append(f"{found}: write a mapping with defaults and tables")
            return TablesFile()
        for key in content:
            if key not in _KEYS:
                self.problems.append(f"{_on_one_line(key)} is not known{did_you_mean(str(key), _KEYS)}")
        return TablesFile(self._defaults(content.get("defaults")), *self._entries(content.get("tables")))

    def _defaults(self, given: Any) -> dict[str, Any]:
        values = self._values("defaults", {} if given is None else given)
        for name in (self.tables.parameter, *self.tables.queries):
            if values.pop(name, None) is not None:
                self.problems.append(f"defaults: {name} is not a default: write it in an entry under tables")
        return values

    def _entries(self, given: Any) -> tuple[tuple[TableEntry, ...], tuple[TablePatterns, ...]]:
        if given is not None and not isinstance(given, list):
            self.problems.append("tables has to be a list of mappings, each with the name of a table")
        items = given if isinstance(given, list) else []
        entries, exclusions = [], []
        named: dict[TableName, str] = {}
        for number, item in enumerate(items):
            entry = self._entry(f"tables[{number}]{self._label(item)}", item)
            if entry.patterns is not None and not entry.patterns.included:
                exclusions.append(entry.patterns)
                if entry.values:
                    self.problems.append(f"{entry.place}: it only excludes tables: omit {', '.join(entry.values)}")
                continue
            entries.append(entry)
            for pattern in entry.patterns.included if entry.patterns is not None else ():
                if pattern.literal is not None and named.setdefault(pattern.literal, entry.place) != entry.place:
                    self.problems.append(f"{entry.place}: {named[pattern.literal]} names {pattern.text} already")
        return tuple(entries), tuple(exclusions)

    def _entry(self, place: str, item: Any) -> TableEntry:
        before = len(self.problems)
        values = self._values(place, item)
        patterns = values.pop(self.tables.parameter, None)
        # An entry whose table or query is invalid has its sentence.
        if patterns is None and len(self.problems) == before:
            queries = " or ".join(self.tables.queries)
            if not any(name in values for name in self.tables.queries):
                other = f", or {queries} with {_DESTINATION}" if queries else ""
                self.problems.append(f"{place}: it names no table: give {self.tables.parameter}{other}")
            elif _DESTINATION not in values:
                self.problems.append(f"{place}: {_DESTINATION} is missing: a query has no table's name")
        return TableEntry(place, patterns, values)

    def _label(self, item: Any) -> str:
        """Return the name of an entry's table for messages."""
        given = item if isinstance(item, dict) else {}
        for name in (self.tables.parameter, _DESTINATION):
            text = text_of(name, given.get(name))
            if text:
                return f" ({_on_one_line(text)})"
        return ""

    def _values(self, place: str, given: Any) -> dict[str, Any]:
        """Return the valid values of parameters by name."""
        if not isinstance(given, dict):
            self.problems.append(f"{place}: it has to be a mapping of parameters to values")
            return {}
        values = {}
        for name, value in given.items():
            problem = self._name_problem(name)
            if problem is not None:
                self.problems.append(f"{place}: {problem}")
                continue
            text = text_of(name, value)
            if text is None:
                self.problems.append(f"{place}: {name} is not a text: put its value in quotes")
            elif text.strip():
                try:
                    values[name] = read_value(BY_NAME[name], text)
                except ConfigError as error:
                    self.problems += [f"{place}: {found}" for found in error.problems]
        return values

    def _name_problem(self, name: Any) -> str | None:
        """Return why a key is not a parameter that may differ by table, or None."""
        parameter = BY_NAME.get(name) if isinstance(name, str) else None
        if parameter is None:
            known = [other.name for other in PARAMETERS if other.by_table and other.is_for(self.source)]
            hint = did_you_mean(str(name), known) or did_you_mean(str(name), BY_NAME)
            return f"{_on_one_line(name)} is not a parameter of this template{hint}"
        if parameter.secret:
            return f"{name} is a secret: give it as a parameter of the run"
        if not parameter.by_table:
            return f"{name} is the same for all tables: give it as a parameter of the run"
        if not parameter.is_for(self.source):
            return f"{name} has no effect: data_source is {self.source}"
        return None


def _on_one_line(key: Any) -> str:
    return shown(str(key))[1:-1]


def _with_place(problem: str, place: str) -> str:
    return problem if problem.startswith(f"{place}:") else f"{place}: {problem}"
