"""GoogleSQL's lexical rules: identifiers and strings."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a column or table name as GoogleSQL reads it whatever its letters."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string_literal(text: str) -> str:
    """Return `text` as a string of GoogleSQL. https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical"""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'
