"""Checks that a GoogleSQL query is one statement."""

from __future__ import annotations

from itertools import pairwise

import sqlglot
from sqlglot.tokens import TokenType

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER
from sync_pipeline.sources.access import place_of


def single_statement(query: str, parameter: str) -> str:
    """Return `query` without a final semicolon and comments, so that it can be used as a subquery.

    Raises:
        SourceQueryError: the query has no statement or more than one, a string or comment is not terminated, or a
            placeholder is not in quotes.
    """
    try:
        tokens = sqlglot.tokenize(query, read="bigquery")
    except sqlglot.errors.TokenError:
        raise SourceQueryError(
            f"{parameter}: a text, a quoted name or a comment does not end, or is malformed: correct the query"
        ) from None
    for before, token in pairwise(tokens):
        placeholder = f"{{{token.text}}}"
        if before.token_type == TokenType.L_BRACE and placeholder in (START_PLACEHOLDER, END_PLACEHOLDER):
            raise SourceQueryError(
                f"{parameter}: {placeholder}{place_of(query, before.start)} is not in quotes: write '{placeholder}'"
            )
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise SourceQueryError(f"{parameter} has more than one statement: give one SELECT")
    if not tokens:
        raise SourceQueryError(f"{parameter} has no statement: give one SELECT")
    return query[: tokens[-1].end + 1].strip()
