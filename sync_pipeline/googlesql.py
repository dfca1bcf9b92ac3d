"""GoogleSQL's lexical rules for identifiers and string literals."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a column or table name as a quoted GoogleSQL identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string_literal(text: str) -> str:
    """Return `text` as a GoogleSQL string literal.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
    """
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'
