"""Filters and projections: the user's, in Extended JSON, and the filters of Smart Sync's interval."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import bson.json_util
from bson.errors import BSONError

from sync_pipeline.errors import ConfigError
from sync_pipeline.smart_sync.interval import BEGINNING, EARLIEST, LATEST, SyncInterval, as_moment
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER
from sync_pipeline.sources.access import place_of
from sync_pipeline.sources.mongodb.to_json import EXTENDED, moment_text

Filter = dict[str, Any]

# Operators that run JavaScript on the server. https://www.mongodb.com/docs/manual/core/server-side-javascript/
JAVASCRIPT_OPERATORS = frozenset({"$where", "$function", "$accumulator"})

# The start placeholder as an Extended JSON date. For a run over everything, it becomes the millisecond before the
# earliest date in BigQuery, so that `$gt` excludes nothing.
_DATE_OF_START = re.compile(rf'(?P<key>"\$date"\s*:\s*)"{re.escape(START_PLACEHOLDER)}"')
_BEFORE_EARLIEST = '{"$numberLong": "-62135596800001"}'

# A sample interval, to check the form of a filter.
_ANY_MOMENT = moment_text(BEGINNING)


def parse_filter(text: str | None, parameter: str, interval: SyncInterval | None = None) -> Filter:
    """Parse a parameter in Extended JSON, with placeholders filled. None gives the empty filter.

    Raises:
        ConfigError: the text is not valid; names the problem and its position.
    """
    if text is None:
        return {}
    start, end = (
        (_ANY_MOMENT, _ANY_MOMENT)
        if interval is None
        else (
            as_moment(interval.start),
            as_moment(interval.end),
        )
    )
    if interval is not None and interval.is_everything:
        text = _DATE_OF_START.sub(rf"\g<key>{_BEFORE_EARLIEST}", text)
        start = EARLIEST
    filled = text.replace(START_PLACEHOLDER, _text(start)).replace(END_PLACEHOLDER, _text(end))
    document = json.loads(filled)
    refused = sorted(JAVASCRIPT_OPERATORS & set(_keys(document)))
    if refused:
        problem = f"{parameter} uses {' and '.join(refused)}{_place(filled, refused[0], 0)}, which runs JavaScript"
        raise ConfigError([f"{problem} on the server: use query operators instead, such as $expr"])
    try:
        parsed: Filter = bson.json_util.loads(filled, json_options=EXTENDED)
    except (BSONError, ValueError, TypeError, ArithmeticError, KeyError) as error:
        raise ConfigError([f"{parameter}: {_mistake(filled, document) or str(error)}"]) from None
    return parsed


def interval_filter(
    column: str, interval: SyncInterval, *, with_nulls: bool = False, after: Any = None, until: Any = None
) -> Filter:
    """Return the filter for documents whose date in `column` lies in the interval.

    Excludes arrays, which a comparison with a date would match if they contain one. Both bounds are rounded down to
    BSON's milliseconds, which loses nothing, because BSON has no dates in between. `column` may be a path; fields
    inside arrays are excluded, because they have no single value.

    Args:
        with_nulls: include documents in which the field is null or missing.
        after, until: bounds of a part of the interval.
    """
    # BSON has dates before the year 1, which BigQuery cannot store.
    start = (
        {"$gte": milliseconds(EARLIEST)} if interval.is_everything else {"$gt": milliseconds(as_moment(interval.start))}
    )
    bounds = {
        **(start if after is None else {"$gt": after}),
        "$lte": milliseconds(as_moment(interval.end)) if until is None else until,
        "$not": {"$type": "array"},
    }
    dates: Filter = {column: bounds, **{prefix: {"$not": {"$type": "array"}} for prefix in _above(column)}}
    if not with_nulls:
        return dates
    return {"$or": [dates, null_filter(column)]}


def null_filter(column: str) -> Filter:
    """Return the filter for documents in which the field is null or missing."""
    return {column: {"$eq": None, "$not": {"$type": "array"}}}


def not_a_date_filter(column: str) -> Filter:
    """Return the filter for documents that no interval of `column` contains."""
    return {
        "$or": [
            {column: {"$not": {"$type": "date"}}},
            *({path: {"$type": "array"}} for path in (column, *_above(column))),
            {column: {"$lt": milliseconds(EARLIEST)}},
            {column: {"$gt": milliseconds(LATEST)}},
        ]
    }


def _above(path: str) -> list[str]:
    """Return the paths of the objects that contain a field."""
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]


def both(first: Filter, second: Filter) -> Filter:
    """Return the filter for documents that match both filters."""
    if not first or not second:
        return first or second
    return {"$and": [first, second]}


def milliseconds(moment: datetime.datetime) -> datetime.datetime:
    """Return the timestamp for BSON: naive UTC, rounded down to milliseconds."""
    utc = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _text(moment: datetime.datetime | str) -> str:
    return moment if isinstance(moment, str) else moment_text(moment)


def _keys(value: Any) -> Iterator[str]:
    """Yield all keys at any depth, in the order of the text."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield key
            yield from _keys(member)
    elif isinstance(value, list):
        for member in value:
            yield from _keys(member)


def _mistake(text: str, document: Any) -> str:
    """Return the problem and position of the first invalid type wrapper, such as {"$oid": "x"}."""
    seen: dict[str, int] = {}
    for wrapper in _wrappers(document):
        key = next(iter(wrapper))
        number = seen.get(key, 0)
        seen[key] = number + 1
        try:
            bson.json_util.loads(json.dumps(wrapper), json_options=EXTENDED)
        except (BSONError, ValueError, TypeError, ArithmeticError, KeyError) as error:
            shown = json.dumps(wrapper, ensure_ascii=False)
            return f"{shown}{_place(text, key, number)} is not Extended JSON: {error}"
    return ""


def _wrappers(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the innermost objects whose first key begins with a dollar, in the order of the text."""
    if isinstance(value, Mapping):
        if value and next(iter(value)).startswith("$") and not any(map(_is_nested, value.values())):
            yield value
        for member in value.values():
            yield from _wrappers(member)
    elif isinstance(value, list):
        for member in value:
            yield from _wrappers(member)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _place(text: str, key: str, number: int) -> str:
    """Return the position of the n-th occurrence of a key, counted from 0."""
    matches = list(re.finditer(re.escape(json.dumps(key)) + r"\s*:", text))
    if number >= len(matches):
        return ""
    return place_of(text, matches[number].start())
