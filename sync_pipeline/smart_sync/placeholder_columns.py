"""Finds the column that a query compares with the placeholders.

It has to be Smart Sync's timestamp column, otherwise runs miss changed rows. If the column cannot be determined, the
run warns and continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sync_pipeline.smart_sync.placeholders import PLACEHOLDERS

# From a query, Smart Sync's column and a placeholder to the column names that the query compares with the placeholder;
# None for each that cannot be determined. A column that the query returns under Smart Sync's name counts as that one.
type Comparisons = Callable[[str, str, str], Iterable[str | None]]


def compared_columns(comparisons: Comparisons, query: str, column: str, placeholder: str) -> frozenset[str] | None:
    """Return the column names that a query compares with `placeholder`; None if they cannot be determined."""
    names = list(comparisons(query, column, placeholder))
    return None if not names or None in names else frozenset(name for name in names if name is not None)


def mismatch(comparisons: Comparisons, query: str, column: str) -> str | None:
    """Return which placeholder the query certainly compares with another column than `column`, and which; else None."""
    for placeholder in PLACEHOLDERS:
        columns = compared_columns(comparisons, query, column, placeholder)
        if columns is not None and column.lower() not in columns:
            return f"{placeholder} with {' and '.join(sorted(columns))}"
    return None


def is_readable(comparisons: Comparisons, query: str, column: str) -> bool:
    """Whether the columns that the query compares with the placeholders can be determined."""
    return all(compared_columns(comparisons, query, column, placeholder) is not None for placeholder in PLACEHOLDERS)


def in_sql(dialect: str) -> Comparisons:
    """Return the `Comparisons` of queries in a dialect of SQL, given by sqlglot's name."""
    return partial(_in_sql, dialect)


def _in_sql(dialect: str, query: str, column: str, placeholder: str) -> Iterator[str | None]:
    # Only a query with placeholders needs the parser, which takes long to import.
    from sync_pipeline.smart_sync.sql_comparisons import columns_in_sql

    return columns_in_sql(dialect, query, column, placeholder)
