"""Decides whether a read can be split: only if the splits together return exactly the rows of the whole query.

Inspects the server's query plan, which has views and functions expanded, because the query's text shows less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Plan nodes that return the same rows in every execution.
# https://github.com/postgres/postgres/blob/master/src/backend/commands/explain.c lists all names.
_REPEATABLE_NODES = frozenset(
    {
        "Append",
        "Bitmap Heap Scan",
        "Bitmap Index Scan",
        "BitmapAnd",
        "BitmapOr",
        "CTE Scan",
        "Function Scan",
        "Gather",
        "Gather Merge",
        "Hash",
        "Hash Join",
        "Incremental Sort",
        "Index Only Scan",
        "Index Scan",
        "Materialize",
        "Memoize",
        "Merge Append",
        "Merge Join",
        "Nested Loop",
        "ProjectSet",
        "Result",
        "Seq Scan",
        "Sort",
        "Subquery Scan",
        "Tid Range Scan",
        "Tid Scan",
        "Values Scan",
    }
)

# Plan nodes that may return other rows in each execution, with the reason.
_NOT_SPLITTABLE: Mapping[str, str] = {
    "Limit": "it has a LIMIT or OFFSET, which each split would count again",
    "WindowAgg": "it has a window function, which each split would compute again over all rows",
    "Aggregate": "it groups rows or has DISTINCT, which each split would compute again",
    "Group": "it groups rows or has DISTINCT, which each split would compute again",
    "Unique": "it groups rows or has DISTINCT, which each split would compute again",
    "SetOp": "it has INTERSECT or EXCEPT, which each split would compute again",
    "Sample Scan": "it draws a sample, which differs each time",
    "Foreign Scan": "it reads a foreign table, which may return other rows each time",
}

# Functions that return the current time, which differs between splits. PostgreSQL's other stable functions depend only
# on settings.
_CLOCKS = frozenset({"now", "transaction_timestamp", "statement_timestamp", "age"})
_CLOCK_WORDS = re.compile(r"\b(CURRENT_DATE|CURRENT_TIME|CURRENT_TIMESTAMP|LOCALTIME|LOCALTIMESTAMP)\b")
_CLOCK_TEXTS = re.compile(r"'\s*(now|today|tomorrow|yesterday)\s*'", re.IGNORECASE)

_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(r'("(?:[^"]|"")+"|[a-z_\x80-\U0010ffff][\w$]*)\(')

_FUNCTIONS_SQL = """
    SELECT p.proname, p.provolatile = 'v'
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = ANY(%(names)s)
      AND (p.provolatile = 'v' OR p.provolatile = 's' AND n.nspname <> 'pg_catalog')
    ORDER BY 2 DESC, 1
"""


def why_not_splittable(cursor: Any, query: str, plan: Mapping[str, Any]) -> str | None:
    """Return why the read of the query cannot be split, as a clause that follows "because"; None if it can.

    Args:
        plan: the query plan from `explained`.
    """
    names: set[str] = set()
    for step in _steps(plan):
        kind = step["Node Type"]
        if kind not in _REPEATABLE_NODES:
            return _NOT_SPLITTABLE.get(kind, f"its plan has the node {kind}, which may return other rows each time")
        for text in _texts(step):
            expression = _LITERAL.sub("''", text)
            if word := _CLOCK_WORDS.search(expression):
                return f"it uses {word[1]}, which is another time in each split"
            names |= {name.strip('"').replace('""', '"') for name in _CALL.findall(expression)}
    if clocks := names & _CLOCKS:
        return f"it calls {min(clocks)}(), which is another time in each split"
    if moment := _CLOCK_TEXTS.search(query):
        return f"it has '{moment[1]}', which may be another time in each split"
    cursor.execute(_FUNCTIONS_SQL, {"names": sorted(names)})
    for name, is_volatile in cursor.fetchall():
        kind = "volatile" if is_volatile else "only stable"
        return f"it calls {name}(), which is declared {kind}: it may return other values in each split"
    return None


def explained(cursor: Any, statement: str) -> dict[str, Any]:
    """Return the root node of the server's plan for a statement, with names and expressions."""
    cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {statement}")
    document = cursor.fetchone()[0]
    plan: dict[str, Any] = (json.loads(document) if isinstance(document, str) else document)[0]["Plan"]
    return plan


def scanned_relations(plan: Mapping[str, Any]) -> frozenset[str]:
    """Return the tables that a plan reads, as unquoted `schema.table`."""
    return frozenset(
        f"{step['Schema']}.{step['Relation Name']}" if "Relation Name" in step else step["Node Type"]
        for step in _steps(plan)
        if "Relation Name" in step or step["Node Type"] in ("Function Scan", "Values Scan", "CTE Scan")
    )


def reads_only(plan: Mapping[str, Any], relations: frozenset[str]) -> bool:
    """Whether a plan reads only these tables and has no join. An outer join can make any column NULL."""
    return scanned_relations(plan) <= relations and not any("Join Type" in step for step in _steps(plan))


def repeats_rows(plan: Mapping[str, Any]) -> bool:
    """Whether a set-returning function multiplies the rows of a plan's tables."""
    return any(step["Node Type"] == "ProjectSet" for step in _steps(plan))


def _steps(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for step in plan.get("Plans", ()):
        yield from _steps(step)


def _texts(step: Mapping[str, Any]) -> Iterator[str]:
    for value in step.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (text for text in value if isinstance(text, str))
