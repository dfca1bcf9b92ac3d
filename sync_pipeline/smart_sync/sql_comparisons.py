"""Finds in a query's SQL what it compares with a placeholder."""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import exp

_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)


def columns_in_sql(dialect: str, query: str, column: str, placeholder: str) -> Iterator[str | None]:
    """Yield what a query compares with the placeholder, as `placeholder_columns.Comparisons`."""
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
