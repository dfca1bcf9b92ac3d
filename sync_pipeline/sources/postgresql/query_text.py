"""Checks that a query is one statement, with the rules of PostgreSQL's lexer.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html, with standard_conforming_strings on. Rejects a query
that it cannot tokenise: the server would run a second statement hidden in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER
from sync_pipeline.sources.access import place_of

# PostgreSQL treats every non-ASCII character as a letter, including non-ASCII spaces.
_LETTER = r"[A-Za-z_\x80-\U0010ffff]"
_SPACE = r"[ \t\n\r\f\v]"
_TOKEN = re.compile(
    rf"""
    (?P<space>     {_SPACE}+ )
  | (?P<comment>   --[^\n\r]* | /\* )
  | (?P<escapes>   [eE]' )
  | (?P<text>      (?: [bBxXnN] | [uU]& )? ' )
  | (?P<name>      (?: [uU]& )? " )
  | (?P<dollar>    \$ (?: {_LETTER} (?: {_LETTER} | [0-9] )* )? \$ )
  | (?P<word>      (?: {_LETTER} | [0-9] ) (?: {_LETTER} | [0-9$] )* )
  | (?P<end>       ; )
  | (?P<bracket>   [()] )
  | (?P<other>     . )
    """,
    re.VERBOSE | re.DOTALL,
)
_END_OF_TEXT = re.compile(r"[^']*(?:''[^']*)*'")
_END_OF_ESCAPES = re.compile(r"[^'\\]*(?:(?:''|\\.)[^'\\]*)*'", re.DOTALL)
_END_OF_NAME = re.compile(r'[^"]*(?:""[^"]*)*"')
# PostgreSQL joins two strings that only a line break separates; the first determines the escapes.
_CONTINUATION = re.compile(rf"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:{_SPACE}|--[^\n\r]*[\n\r])*'")
_COMMENT_MARK = re.compile(r"/\*|\*/")

# The first words of a statement that can be a subquery.
_BEGINNINGS = frozenset({"select", "with", "values", "table", "("})

_KINDS = {"comment": "comment", "escapes": "text", "text": "text", "name": "quoted name", "dollar": "text"}


@dataclass(frozen=True)
class _Token:
    kind: str
    begin: int
    end: int


def single_statement(query: str, parameter: str) -> str:
    """Return `query` without a final semicolon and comments, so that it can be used as a subquery.

    Raises:
        SourceQueryError: the query has no statement or more than one, the statement cannot be a SELECT, a string or
            comment is not terminated, brackets do not match, or a placeholder is not in quotes.
    """
    tokens = list(_tokens(query, parameter))
    _check_placeholders(query, tokens, parameter)
    tokens = [token for token in tokens if token.kind not in ("space", "comment")]
    while tokens and tokens[-1].kind == "end":
        tokens.pop()
    if any(token.kind == "end" for token in tokens):
        raise SourceQueryError(f"{parameter} has more than one statement: give one SELECT")
    if not tokens:
        raise SourceQueryError(f"{parameter} has no statement: give one SELECT")
    beginning = query[tokens[0].begin : tokens[0].end]
    if beginning.lower() not in _BEGINNINGS:
        shown = f" begins with {beginning}" if tokens[0].kind == "word" else " has no statement"
        raise SourceQueryError(f"{parameter}{shown}: give one SELECT")
    _check_brackets(query, tokens, parameter)
    return query[: tokens[-1].end].strip()


def _tokens(query: str, parameter: str) -> Iterator[_Token]:
    position = 0
    while match := _TOKEN.match(query, position):
        kind = str(match.lastgroup)
        end = _end(query, match, kind)
        if end is None:
            raise SourceQueryError(
                f"{parameter}: the {_KINDS[kind]} that begins{place_of(query, match.start())} does not end"
            )
        yield _Token(kind, position, end)
        position = end


def _end(query: str, match: re.Match[str], kind: str) -> int | None:
    """Return the end of the token, None if it is not terminated."""
    if kind == "comment" and match[0] == "/*":
        return _end_of_comment(query, match.end())
    if kind == "dollar":
        found = query.find(match[0], match.end())
        return None if found < 0 else found + len(match[0])
    if kind not in ("escapes", "text", "name"):
        return match.end()
    pattern = {"escapes": _END_OF_ESCAPES, "text": _END_OF_TEXT, "name": _END_OF_NAME}[kind]
    ended = pattern.match(query, match.end())
    while ended and kind == "escapes" and (more := _CONTINUATION.match(query, ended.end())):
        ended = pattern.match(query, more.end())
    return ended.end() if ended else None


def _end_of_comment(query: str, position: int) -> int | None:
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, position):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return None


def _check_brackets(query: str, tokens: list[_Token], parameter: str) -> None:
    # The query is used as a subquery in brackets, which a bracket in the query must not close.
    opened: list[int] = []
    for token in tokens:
        if token.kind != "bracket":
            continue
        if query[token.begin] == "(":
            opened.append(token.begin)
        elif opened:
            opened.pop()
        else:
            raise SourceQueryError(f"{parameter}: the closing bracket{place_of(query, token.begin)} has no opening one")
    if opened:
        raise SourceQueryError(f"{parameter}: the opening bracket{place_of(query, opened[-1])} has no closing one")


def _check_placeholders(query: str, tokens: list[_Token], parameter: str) -> None:
    for placeholder in (START_PLACEHOLDER, END_PLACEHOLDER):
        for match in re.finditer(re.escape(placeholder), query):
            token = next(token for token in tokens if token.begin <= match.start() < token.end)
            if token.kind not in ("escapes", "text", "dollar", "comment"):
                place = place_of(query, match.start())
                raise SourceQueryError(f"{parameter}: {placeholder}{place} is not in quotes: write '{placeholder}'")
