"""Finds the column that a query compares with the placeholders.

It has to be Smart Sync's timestamp column, otherwise runs miss changed rows. If the column cannot be determined, the
run warns and continues.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from sync_pipeline.registry import BIGQUERY, MONGODB, POSTGRESQL
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER

_DIALECTS = {POSTGRESQL: "postgres", BIGQUERY: "bigquery"}
_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)


def compared_columns(query: str, source: str, column: str, placeholder: str) -> frozenset[str] | None:
    """Return the column names that a query compares with `placeholder`; None if they cannot be determined.

    A column that the query returns under the alias `column` counts as `column`.
    """
    compared = _in_filter(query, placeholder) if source == MONGODB else _in_sql(query, source, column, placeholder)
    names = list(compared)
    return None if not names or None in names else frozenset(name for name in names if name is not None)


def mismatch(query: str, source: str, column: str) -> str | None:
    """Return which placeholder the query certainly compares with another column than `column`, and which; else None."""
    for placeholder in (START_PLACEHOLDER, END_PLACEHOLDER):
        columns = compared_columns(query, source, column, placeholder)
        if columns is not None and column.lower() not in columns:
            return f"{placeholder} with {' and '.join(sorted(columns))}"
    return None


def is_readable(query: str, source: str, column: str) -> bool:
    """Whether the columns that the query compares with the placeholders can be determined."""
    return all(
        compared_columns(query, source, column, placeholder) is not None
        for placeholder in (START_PLACEHOLDER, END_PLACEHOLDER)
    )


def _in_sql(query: str, source: str, column: str, placeholder: str) -> Iterator[str | None]:
    try:
        tree = sqlglot.parse_one(query, read=_DIALECTS[source])
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


def _in_filter(query: str, placeholder: str) -> Iterator[str | None]:
    try:
        document = json.loads(query)
    except (ValueError, RecursionError):
        yield None
        return
    yield from _compared_fields(document, placeholder, None)


def _compared_fields(value: Any, placeholder: str, field: str | None) -> Iterator[str | None]:
    """Yield the field that a MongoDB filter compares with each placeholder, None if it cannot be determined."""
    if isinstance(value, str):
        if placeholder in value:
            yield field.lower() if field is not None else None
    elif isinstance(value, list):
        # The form of $expr: {"$gt": ["$updated_at", {"$date": …}]}.
        paths = [member[1:] for member in value if isinstance(member, str) and member.startswith("$")]
        for member in value:
            yield from _compared_fields(member, placeholder, paths[0] if len(paths) == 1 else field)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _compared_fields(member, placeholder, field if key.startswith("$") else key)
