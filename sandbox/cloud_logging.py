"""Read-only Cloud Logging: the log entries of Dataflow jobs and of Cloud Scheduler runs."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.flex_templates import InvalidRequestError

_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_TERM = re.compile(
    r'(?P<not>NOT )?(?P<field>[\w.@]+)\s*(?P<operator>!=|>=|<=|=|:|>|<)\s*(?P<value>"(?:\\.|[^"\\])*"|\S+)'
)
_LOG_ID = re.compile(r'(?P<not>NOT )?log_id\("(?P<value>[^"]*)"\)')
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda found, wanted: bool(found == wanted),
    "!=": lambda found, wanted: bool(found != wanted),
    ">=": lambda found, wanted: bool(found >= wanted),
    "<=": lambda found, wanted: bool(found <= wanted),
    ">": lambda found, wanted: bool(found > wanted),
    "<": lambda found, wanted: bool(found < wanted),
}

type _Matches = Callable[[dict[str, Any]], bool]


def entries_that_match(entries: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the entries that match a filter, the latest first.

    Of the Logging query language it supports comparisons, `log_id(…)`, NOT before one of them, and AND between them.

    Raises:
        InvalidRequestError: the filter has anything else.
    """
    terms = [_matcher(term) for term in _terms(text)]
    chosen = [entry for entry in entries if all(matches(entry) for matches in terms)]
    return sorted(chosen, key=lambda entry: str(entry["timestamp"]), reverse=True)


def _terms(text: str) -> list[str]:
    text = text.strip()
    if not text:
        return []
    # Quoted text is one term.
    pieces = re.findall(r'"(?:\\.|[^"\\])*"|[()]|[^"()]+', text)
    depth, term, terms = 0, "", []
    for piece in pieces:
        depth += {"(": 1, ")": -1}.get(piece, 0)
        words = (
            re.split(r"\s+AND\s+|\n+", piece) if depth == 0 and piece not in ("(", ")") and piece[0] != '"' else [piece]
        )
        term += words[0]
        for word in words[1:]:
            terms.append(term)
            term = word
    terms = [term.strip() for term in [*terms, term] if term.strip()]
    if len(terms) == 1 and terms[0].startswith("(") and terms[0].endswith(")"):
        return _terms(terms[0][1:-1])
    return [inner for term in terms for inner in (_terms(term) if term.startswith("(") else [term])]


def _matcher(term: str) -> _Matches:
    if (match := _LOG_ID.fullmatch(term)) is not None:
        name = match["value"].replace("/", "%2F")
        matches: _Matches = lambda entry: str(entry["logName"]).endswith(f"/logs/{name}")  # noqa: E731
    elif (match := _TERM.fullmatch(term)) is not None:
        matches = _comparison(match["field"], match["operator"], match["value"].strip('"'))
    else:
        raise InvalidRequestError(f"The sandbox does not read this part of a filter: {term}")
    return (lambda entry: not matches(entry)) if match["not"] else matches


def _comparison(field: str, operator: str, wanted: str) -> _Matches:
    def matches(entry: dict[str, Any]) -> bool:
        found: Any = entry
        for name in field.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            return False
        if operator == ":":
            return wanted.lower() in str(found).lower()
        if field == "severity":
            return _COMPARISONS[operator](_SEVERITIES.index(found), _SEVERITIES.index(wanted))
        return _COMPARISONS[operator](str(found), wanted)

    return matches
