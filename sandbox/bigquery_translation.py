"""Faster translation of statements to DuckDB's SQL; patches of the emulator in memory.

Translating takes the emulator half of its time, as the statements are short and the tables small.
"""

from local_bigquery.sql import translate
from local_bigquery.sql.dialect import DuckDBDialect
from local_bigquery.sql.rules import typing
from sqlglot import exp


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    write_without_a_copy()
    look_for_types_once()


def write_without_a_copy() -> None:
    """Unpatched: the tree, itself a copy of which nothing else is needed, is copied to be written as text."""
    dialect = DuckDBDialect()
    generate = dialect.generate
    dialect.generate = lambda tree, **options: generate(tree, **options | {"copy": False})
    translate.DuckDBDialect = dialect


def look_for_types_once() -> None:
    """Unpatched: where no types are found, they are looked for again without the columns named by position.

    That is the same again where no column is.
    """
    typed = typing._typed

    def typed_once(tree, schema, positional):
        if not positional and not any(_positions(tree)):
            raise ValueError("nothing is named by position")
        return typed(tree, schema, positional)

    typing._typed = typed_once


def _positions(tree):
    for node in tree.find_all(exp.Group, exp.Order):
        for item in node.expressions:
            target = item.this if isinstance(item, exp.Ordered) else item
            yield isinstance(target, exp.Literal) and target.is_int
