"""Query operators that require their own index: `$near`, `$nearSphere` and `$text`.

A find with such an operator cannot be split by ranges of `_id`. Schema inference uses an aggregation, which accepts
`$text` only in its first stage and the others not at all.
https://www.mongodb.com/docs/manual/reference/operator/query/near/
https://www.mongodb.com/docs/manual/reference/operator/query/text/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync_pipeline.sources.mongodb.filters import Filter

# The radius of the earth in metres, by which MongoDB divides distances.
_EARTH_RADIUS = 6_378_100.0

_NEAR = ("$near", "$nearSphere")


def chooses_index(query: Any) -> bool:
    """Whether the query has an operator that requires its own index."""
    if isinstance(query, Mapping):
        return any(key in (*_NEAR, "$text") or chooses_index(value) for key, value in query.items())
    return isinstance(query, list) and any(map(chooses_index, query))


def for_aggregation(query: Filter) -> Filter:
    """Return a filter that an aggregation accepts. It may match some more documents, below `$minDistance`.

    `$near` sorts and selects by minimum and maximum distance; `$geoWithin` selects by the maximum only.
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
        # With GeoJSON, distances are in metres, next to the geometry.
        distance = place.get("$maxDistance", distance)
        distance = distance / _EARTH_RADIUS if isinstance(distance, int | float) else None
        shape, centre = "$centerSphere", place["$geometry"].get("coordinates")
    elif isinstance(place, Mapping):
        centre = list(place.values())
    if not isinstance(distance, int | float):
        return {"$exists": True}
    return {"$geoWithin": {shape: [centre, distance]}}
