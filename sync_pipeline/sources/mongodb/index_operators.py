"""Query operators that bring an index of their own: `$near`, `$nearSphere` and `$text`.

They choose the index, so that a find cannot be cut by ranges of `_id`; and an aggregation, by which the columns are
found, takes `$text` in its first stage only and the others never.
https://www.mongodb.com/docs/manual/reference/operator/query/near/
https://www.mongodb.com/docs/manual/reference/operator/query/text/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync_pipeline.sources.mongodb.filters import Filter

# Metres, as MongoDB has it: what it divides distances by.
_EARTH_RADIUS = 6_378_100.0

_NEAR = ("$near", "$nearSphere")


def chooses_index(query: Any) -> bool:
    """Whether the query has an operator that chooses the index."""
    if isinstance(query, Mapping):
        return any(key in (*_NEAR, "$text") or chooses_index(value) for key, value in query.items())
    return isinstance(query, list) and any(map(chooses_index, query))


def for_aggregation(query: Filter) -> Filter:
    """Return a filter that an aggregation takes, of the same documents or of a few more: those nearer than asked for.

    `$near` sorts, and selects by its distances; `$geoWithin` selects by the greatest distance alone.
    """
    return {key: _without_near(value) for key, value in query.items()}


def _without_near(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_near(member) for member in value]
    if not isinstance(value, Mapping):
        return value
    name = next((name for name in _NEAR if name in value), None)
    if name is None:
        return {key: _without_near(member) for key, member in value.items()}
    others = {key: member for key, member in value.items() if key not in (name, "$maxDistance", "$minDistance")}
    return {**others, **_within(name, value[name], value.get("$maxDistance"))}


def _within(name: str, place: Any, distance: Any) -> Filter:
    shape = "$centerSphere" if name == "$nearSphere" else "$center"
    centre = place
    if isinstance(place, Mapping) and "$geometry" in place:
        # Distances are metres, and stand beside the geometry.
        distance = place.get("$maxDistance", distance)
        distance = distance / _EARTH_RADIUS if isinstance(distance, int | float) else None
        shape, centre = "$centerSphere", place["$geometry"].get("coordinates")
    elif isinstance(place, Mapping):
        centre = list(place.values())
    if not isinstance(distance, int | float):
        return {"$exists": True}
    return {"$geoWithin": {shape: [centre, distance]}}
