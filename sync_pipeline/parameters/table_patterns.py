"""Names of a source's tables as users write them: `public.*,!public.audit_*`."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sync_pipeline.parameters.source_tables import TableName

_WILDCARDS = frozenset("*?")
# Possessive, so that a text without a closing quote costs no backtracking.
_QUOTED = r'"(?:[^"]|"")*+"'
_SEGMENT = re.compile(rf'{_QUOTED}|[^"]++')
_BARE_SQL_NAME = re.compile(r"[^\W\d][\w$]*")
_SQL_ITEM = re.compile(rf'(?:{_QUOTED}|[^,"])*+')
_SQL_PART = rf"((?:{_QUOTED}|[\w$*?])++)"
_SQL_NAME = re.compile(rf"(?:{_SQL_PART}\.)?{_SQL_PART}")
# Without schemas, a quote is special only at the beginning.
_PLAIN_ITEM = re.compile(rf' *!? *(?:{_QUOTED}(?:{_QUOTED}|[^,"])*+|[^,"][^,]*+)?')
_SYNTAX = 'write schema.table or table, with other names in double quotes: public."Order Items"'


@dataclass(frozen=True)
class TablePattern:
    """A name, or a name with wildcards.

    Attributes:
        text: as the user wrote it.
        schema, name: regular expressions for all of the stored name.
        literal: the only name that it matches; None with wildcards.
        excludes: whether the tables that it matches are not chosen.
    """

    text: str
    schema: re.Pattern[str]
    name: re.Pattern[str]
    literal: TableName | None
    excludes: bool

    def matches(self, table: TableName) -> bool:
        if self.literal is not None:
            return table == self.literal
        return self.schema.match(table.schema) is not None and self.name.match(table.name) is not None


@dataclass(frozen=True)
class TablePatterns:
    """A list of patterns. It matches each table that one of them matches and none of them excludes."""

    patterns: tuple[TablePattern, ...]

    def __str__(self) -> str:
        return ",".join(pattern.text for pattern in self.patterns)

    @cached_property
    def included(self) -> tuple[TablePattern, ...]:
        return tuple(pattern for pattern in self.patterns if not pattern.excludes)

    @property
    def literal(self) -> TableName | None:
        """The table, if the list is one name without wildcards."""
        return self.patterns[0].literal if len(self.patterns) == 1 and self.included else None

    def names(self, table: TableName) -> bool:
        """Whether one of the names without wildcards is this one."""
        return any(pattern.literal == table for pattern in self.included) and not self.excludes(table)

    def excludes(self, table: TableName) -> bool:
        return any(pattern.excludes and pattern.matches(table) for pattern in self.patterns)

    def matches(self, table: TableName) -> bool:
        return any(pattern.matches(table) for pattern in self.included) and not self.excludes(table)


@dataclass(frozen=True)
class TableSyntax:
    """How users write the names of a source's tables.

    Commas separate names, `*` and `?` are wildcards, `!` excludes. In double quotes each character stands for itself,
    and "" is a quote.

    Attributes:
        default_schema: the schema of a name without one. Empty if tables have no schemas: then names may have any other
            character unquoted, and a quote is special only at the beginning.
        folds_case: whether unquoted names are stored in lower case.
    """

    default_schema: str = ""
    folds_case: bool = False

    def parse(self, text: str) -> TablePatterns:
        """Parse a list of names.

        Raises:
            ValueError: the text is not such a list; the message shows the syntax.
        """
        items = list(self._items(text))
        if any(not item.strip(" !") for item in items):
            raise ValueError("an item is empty; separate the tables by single commas")
        # One name without wildcards is taken as it is: without schemas it may begin or end with a space.
        is_name = len(items) == 1 and _WILDCARDS.isdisjoint(text) and not self.default_schema
        return TablePatterns(tuple(self._pattern(item if is_name else item.strip(" ")) for item in items))

    def written(self, table: TableName) -> str:
        """Return the text that `parse` reads as this one name."""
        if self.default_schema:
            return f"{self._written_part(table.schema)}.{self._written_part(table.name)}"
        name = table.name
        is_plain = _WILDCARDS.isdisjoint(name) and "," not in name and name.strip(" ") == name
        return name if is_plain and not name.startswith(("!", '"')) else _quoted(name)

    def _items(self, text: str) -> Iterator[str]:
        pattern, start = _SQL_ITEM if self.default_schema else _PLAIN_ITEM, 0
        while match := pattern.match(text, start):
            yield match[0]
            start = match.end() + 1
            if match.end() == len(text):
                return
            if text[match.end()] != ",":
                raise ValueError('a quote is not closed: write "Order Items", and "" for a quote inside')

    def _pattern(self, item: str) -> TablePattern:
        excludes = item.lstrip(" ").startswith("!")
        text = item.lstrip(" ")[1:].strip(" ") if excludes else item
        if not self.default_schema:
            # A name may contain quotes, as long as it does not begin with one.
            segments = _SEGMENT.findall(text.strip(" ")) if text.lstrip(" ").startswith('"') else [text]
            schema, name = _Part("", ""), _part(segments, folds_case=False)
        else:
            match = _SQL_NAME.fullmatch(text)
            if match is None:
                raise ValueError(_SYNTAX)
            schema, name = (self._sql_part(part or self.default_schema) for part in match.groups())
        if not name.glob or (self.default_schema and not schema.glob):
            raise ValueError("a name is empty")
        literal = None
        if schema.literal is not None and name.literal is not None:
            literal = TableName(schema.literal, name.literal)
        return TablePattern(item.strip(" "), schema.compiled, name.compiled, literal, excludes)

    def _sql_part(self, text: str) -> _Part:
        if '"' not in text and _WILDCARDS.isdisjoint(text) and not _BARE_SQL_NAME.fullmatch(text):
            raise ValueError(_SYNTAX)
        return _part(_SEGMENT.findall(text), folds_case=self.folds_case)

    def _written_part(self, part: str) -> str:
        bare = "[a-z_][a-z0-9_]*" if self.folds_case else "[A-Za-z_][A-Za-z0-9_]*"
        return part if re.fullmatch(bare, part) else _quoted(part)


@dataclass(frozen=True)
class _Part:
    """A schema or a name: the pattern in the syntax of `fnmatch`, and the text without wildcards, if it has none."""

    glob: str
    literal: str | None

    @property
    def compiled(self) -> re.Pattern[str]:
        # Python's translation of `*` does not backtrack.
        return re.compile(fnmatch.translate(self.glob))


def _part(segments: list[str], *, folds_case: bool) -> _Part:
    pattern, literal, has_wildcards = "", "", False
    is_quoted = segments[0].startswith('"')
    for segment in segments:
        if is_quoted and segment.startswith('"'):
            text = segment[1:-1].replace('""', '"')
            pattern += glob.escape(text)
        else:
            text = segment.lower() if folds_case else segment
            pattern += text.replace("[", "[[]")
            has_wildcards = has_wildcards or not _WILDCARDS.isdisjoint(text)
        literal += text
    return _Part(pattern, None if has_wildcards else literal)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
