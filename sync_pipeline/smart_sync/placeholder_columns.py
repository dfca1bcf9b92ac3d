"""Finds the column that a query compares with the placeholders.

It has to be Smart Sync's timestamp column, otherwise runs miss changed rows. If the column cannot be determined, the
run warns and continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import sqlglot
from sqlglot import exp

from sync_pipeline.smart_sync.placeholders import PLACEHOLDERS

_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)

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
    try:
        tree = sqlglot.parse_one(query, read=dialect)
    except (sqlglot.errors.SqlglotError, RecursionError):
        yield None
        return
    # A table alias that renames columns: the mapping depends on the order of the columns.
    if any(alias.args.get("columns") for alias in tree.find_all(exp.TableAlias)):
        yield None
        return
    same = _expressions_of(tree, column.lower())
    for literal in tree.find_all(exp.Literal):
        if literal.is_string and placeholder in literal.this:
            other = _other_side(literal)
            if other is None:
                yield None
            elif _text(other) in same or (isinstance(other, exp.Column) and other.name.lower() in same):
                yield column.lower()
            else:
                yield other.name.lower() if isinstance(other, exp.Column) else None


def _expressions_of(tree: exp.Expression, column: str) -> set[str]:
    """Return the names and expressions that the query returns as `column`, through any number of aliases."""
    aliases = [(alias.alias.lower(), alias.this) for alias in tree.find_all(exp.Alias)]
    same = {column}
    while (
        more := {
            expression.name.lower() if isinstance(expression, exp.Column) else _text(expression)
            for name, expression in aliases
            if name in same
        }
        - same
    ):
        same |= more
    return same


def _other_side(literal: exp.Expression) -> exp.Expression | None:
    """Return the other operand of the comparison that `literal` is one operand of.

    None if the literal is not in a comparison, or its operand also contains a column or a subquery.
    """
    side: exp.Expression = literal
    while side.parent is not None and not isinstance(side.parent, _COMPARISONS):
        side = side.parent
        if isinstance(side, exp.Query) or side.find(exp.Column) is not None:
            return None
    comparison = side.parent
    if comparison is None:
        return None
    other = comparison.this if side is not comparison.this else comparison.args.get("expression")
    while isinstance(other, exp.Paren | exp.Cast):
        other = other.this
    return other if isinstance(other, exp.Expression) else None


def _text(expression: exp.Expression) -> str:
    while isinstance(expression, exp.Paren | exp.Cast):
        expression = expression.this
    return str(expression.sql()).lower()
