"""The tables of a source as `init` shows them: size, key, timestamps, and what each run will do with each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sync_pipeline.output.terminal import aligned
from sync_pipeline.parameters.source_tables import CatalogTable
from sync_pipeline.planning.billed_queries import size_text
from sync_pipeline.planning.table_mode import AUTO, mode_of
from sync_pipeline.printable import on_one_line

DEFAULT_COLUMN = "updated_at"
# Names of columns that every change of a row sets, without underscores, the most usual first. A time of creation would
# hide later changes.
_SET_BY_CHANGES = (
    *("updatedat", "modifiedat", "lastmodified", "lastmodifiedat", "lastupdated", "lastupdatedat", "changedat"),
    *("updatedon", "modifiedon", "updatetime", "updated", "modified", "lastupdate"),
)
_HEADERS = ("Table", "Rows", "Size", "Key", "Timestamps", "Each run")


@dataclass(frozen=True)
class FoundTable:
    """A table of the source.

    Attributes:
        name: as a parameter names it.
        mode: what each run will do with it.
        narrowing: by what an interval of a timestamp is found without reading the whole table, by column.
    """

    name: str
    table: CatalogTable
    mode: str
    narrowing: Mapping[str, str] = field(default_factory=dict)


def timestamp_column(tables: Sequence[CatalogTable]) -> str:
    """Return the column by which most of the tables with a key can be read, `updated_at` if there is none."""
    found: Counter[str] = Counter()
    for table in tables:
        ranks = {name: _rank(name) for name in table.timestamps if _rank(name) is not None}
        if table.key and ranks:
            found[min(ranks, key=lambda name: ranks[name] or 0)] += 1
    return found.most_common(1)[0][0] if found else DEFAULT_COLUMN


def mode_text(table: CatalogTable, column: str, given: Collection[str], *, has_own_key: bool, asked: str = AUTO) -> str:
    """Return what each run will do with a table, and why."""
    mode = mode_of(table, given, column, asked=asked, smart_sync=None, has_own_key=has_own_key)
    if mode.implied.get("enable_smart_sync"):
        return f"merges what has changed, by {column}"
    if mode.implied.get("write_disposition") != "WRITE_TRUNCATE":
        return f"loads rows: {mode.reason}"
    other = next((name for name in table.timestamps if _rank(name) is not None and name != column), None)
    hint = f"; it has {other}: see tables_file" if other is not None and table.key else ""
    return f"replaces all rows: {mode.reason}{hint}"


def table_lines(tables: Sequence[FoundTable], width: int | None = None) -> list[str]:
    """Return the tables in aligned columns, below their headings. Cells are cut to fit into a width, in characters."""
    return aligned([_HEADERS, *map(_cells, tables)], width)


def _cells(found: FoundTable) -> tuple[str, ...]:
    table = found.table
    return (
        on_one_line(found.name),
        "unknown" if table.rows is None else f"{table.rows:,}",
        "unknown" if table.size is None else size_text(table.size),
        on_one_line(", ".join(table.key)) or "-",
        on_one_line(", ".join(_with_narrowing(found, name) for name in table.timestamps)) or "-",
        on_one_line(found.mode),
    )


def _with_narrowing(found: FoundTable, column: str) -> str:
    by = found.narrowing.get(column)
    return f"{column} ({by})" if by else column


def _rank(column: str) -> int | None:
    folded = column.lower().replace("_", "")
    return _SET_BY_CHANGES.index(folded) if folded in _SET_BY_CHANGES else None
