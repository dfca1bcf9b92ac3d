"""Checks Smart Sync's timestamp field: whether documents have it, and which have no date in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.smart_sync.interval import EARLIEST, LATEST
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.sources.mongodb.bson_types import NO_VALUE
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter, both, milliseconds, not_a_date_filter, null_filter
from sync_pipeline.sources.mongodb.index_operators import for_aggregation
from sync_pipeline.sources.mongodb.schema_scan import COUNT_MILLISECONDS, field_types
from sync_pipeline.suggestions import did_you_mean

# Sample size for suggesting other fields if the named field does not exist.
_LOOKED_AT = 1_000

# Time limit of a request for the first or the last date. With an index it takes milliseconds.
RANGE_SECONDS = 60

# Maximum count of documents without a date in an incremental run.
_MOST_COUNTED = 10_000

# The range of dates that an interval can contain. In an index, values of other types lie before or after it.
_FIRST, _LAST = milliseconds(EARLIEST), milliseconds(LATEST)


def check_timestamp_field(collection: Collection[Document], query: Filter, column: str) -> None:
    """Check the field, within a time limit. Raises SchemaError when no document has a date in it."""
    try:
        if _has(collection, both(query, {column: {"$type": "date"}})) or not _has(collection, query):
            return
        stages: list[Mapping[str, Any]] = [{"$match": for_aggregation(query)}, {"$limit": _LOOKED_AT}]
        types = dict(field_types(collection, stages, {}, milliseconds=COUNT_MILLISECONDS))
        if "." in column:
            stages.append({"$project": {"_id": 0, "value": f"${column}"}})
            types[column] = field_types(collection, stages, {}, milliseconds=COUNT_MILLISECONDS).get("value", NO_VALUE)
    except TIME_IS_UP:
        return
    dates = [name for name, names in types.items() if "date" in names]
    there = f"fields with dates: {', '.join(dates[:10])}" if dates else "no field at the top of them has dates"
    if not types.get(column, NO_VALUE) - NO_VALUE:
        others = dates or [name for name in types if name != column]
        raise SchemaError(
            f"smart_sync_timestamp_column: no document has a value in {column}{did_you_mean(column, others)} ({there})"
        )
    known = " and ".join(sorted(types[column] - NO_VALUE))
    raise SchemaError(
        f"smart_sync_timestamp_column: {column} is {known} in the documents and never a date, so no interval contains "
        f"them: store dates in it, or name another field ({there})"
    )


def read_range(collection: Collection[Document], query: Filter, column: str) -> TimestampRange | None:
    """Return the range of the dates of the documents of `query`, all of which have one; None if there are none.

    Raises SourceQueryError when it takes too long.
    """
    try:
        first, last = (_extreme(collection, query, column, order) for order in (pymongo.ASCENDING, pymongo.DESCENDING))
    except TIME_IS_UP:
        raise SourceQueryError(
            f"smart_sync_max_interval_hours: the server could not find the first and the last {column} within "
            f"{RANGE_SECONDS} seconds: create an index on it, or omit the parameter"
        ) from None
    return None if first is None or last is None else TimestampRange(first, last)


def _extreme(collection: Collection[Document], query: Filter, column: str, order: int) -> datetime | None:
    found: Any = collection.find_one(
        query, {"_id": 0, column: 1}, sort=[(column, order)], max_time_ms=RANGE_SECONDS * 1000
    )
    if found is None:
        return None
    for name in column.split("."):
        found = found[name]
    assert isinstance(found, datetime), "the filter selects dates"
    return found.replace(tzinfo=UTC)


def without_timestamp(
    collection: Collection[Document], query: Filter, column: str, *, includes_null: bool, is_increment: bool
) -> list[str]:
    """Return a warning about documents of `query` that no interval contains, if any.

    A run over everything counts all of them, for at most ten seconds. An incremental run counts them only with an index
    (which excludes arrays that contain a date), because otherwise it would scan the collection.
    """
    filters: list[Filter] = [query, not_a_date_filter(column)]
    if is_increment:
        if not has_index(collection, column, of_all=True):
            return []
        filters[1] = {"$or": [{column: {"$not": {"$gte": _FIRST}}}, {column: {"$gt": _LAST}}]}
    if includes_null:
        filters.append({"$nor": [null_filter(column)]})
    stages: list[Mapping[str, Any]] = [
        {"$match": for_aggregation({"$and": filters})},
        *([{"$limit": _MOST_COUNTED}] if is_increment else []),
        {"$group": {"_id": {"$type": f"${column}"}, "count": {"$sum": 1}}},
    ]
    try:
        found = list(collection.aggregate(stages, maxTimeMS=COUNT_MILLISECONDS))
    except TIME_IS_UP:
        problem = f"documents whose {column} is not a date are not read. Counting them took too long"
        return [f"{problem}: create an index on {column}"]
    counts = {str(entry["_id"]): int(entry["count"]) for entry in found}
    total = sum(counts.values())
    if not total:
        return []
    if "date" in counts:
        counts["date of a year that is not from 1 to 9999"] = counts.pop("date")
    each = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
    more = " or more" if is_increment and total == _MOST_COUNTED else ""
    return [f"{total:,}{more} documents are not read: their {column} is not a date ({each})"]


def has_index(collection: Collection[Document], column: str, *, of_all: bool = False) -> bool:
    """Whether an index begins with the field; with `of_all`, an index that includes all documents."""
    try:
        return any(
            next(iter(index["key"])) == column
            and not (of_all and any(index.get(option) for option in ("sparse", "partialFilterExpression", "hidden")))
            for index in collection.list_indexes()
        )
    except OperationFailure:
        # A view has no indexes, and the user may lack the privilege to list them.
        return False


def _has(collection: Collection[Document], query: Filter) -> bool:
    return collection.find_one(query, {"_id": 1}, max_time_ms=COUNT_MILLISECONDS) is not None
