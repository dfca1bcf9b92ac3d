"""Checks that the fields named by `transformation_config` exist: a misspelt name would let a value through.

Only field names leave the server. A document may lack any field, so an unknown name is a warning. A name that differs
from a field's only in case is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pymongo.collection
from pymongo.errors import OperationFailure

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter, both
from sync_pipeline.sources.mongodb.index_operators import for_aggregation
from sync_pipeline.suggestions import did_you_mean

# Time limit of the search for one field, and number of documents to search for similar names.
LOOK_MILLISECONDS, LOOK_DOCUMENTS = 3_000, 1_000

_Collection = pymongo.collection.Collection[Document]
_KEYS = ("exclude_fields", "include_fields", "hash_fields")


def check_fields(
    collection: _Collection, query: Filter, config: TransformationConfig, types: Collection[str]
) -> list[str]:
    """Return warnings about named fields that the documents of `query` lack.

    Args:
        types: fields that are known to exist.

    Raises:
        SchemaError: names differ from fields only in case; names every such field.
    """
    known = set(types) | {column_name(key) for key in types}
    problems: list[str] = []
    risks: list[str] = []
    for key in _KEYS:
        for path in getattr(config, key):
            if path in types or (path in known and key != "include_fields"):
                continue
            if path not in known and _exists(collection, query, path):
                continue
            similar, hint = _similar(collection, query, path, types)
            if similar is not None:
                problems.append(f"transformation_config.{key} names {path!r}, but the documents call it {similar!r}")
            elif hint is not None:
                risks.append(f"transformation_config.{key} names {path}, which no examined document has{hint}")
    if problems:
        raise SchemaError("; ".join(problems))
    return risks


def _exists(collection: _Collection, query: Filter, path: str) -> bool:
    if path.startswith("$"):
        return False
    try:
        found = collection.find_one(both(query, {path: {"$exists": True}}), {"_id": 1}, max_time_ms=LOOK_MILLISECONDS)
    except (OperationFailure, *TIME_IS_UP):
        # The time limit, or a path with a special meaning to the server.
        return False
    return found is not None


def _similar(
    collection: _Collection, query: Filter, path: str, types: Collection[str]
) -> tuple[str | None, str | None]:
    """Return the field that differs only in case, if any, and a hint; both empty without documents."""
    parts, before = path.split("."), ""
    for place, part in enumerate(parts):
        names = _names(collection, query, before)
        if not place:
            names |= set(types)
        if not names:
            return None, None if not place else ""
        whole = {name.casefold(): name for name in names} | {column_name(name): name for name in names if not before}
        left = ".".join(parts[place:])
        for candidate, rest in ((left, ""), (part, ".".join(parts[place + 1 :]))):
            meant = whole.get(candidate) or whole.get(candidate.casefold())
            if meant is not None and meant != candidate:
                return ".".join(filter(None, (before, meant, rest))), None
        if part not in names:
            return None, did_you_mean(part, names)
        before = f"{before}.{part}" if before else part
    return None, ""


def _names(collection: _Collection, query: Filter, path: str) -> set[str]:
    """Return the names of the fields at a path, from a sample of documents, passing through arrays."""
    value = f"${path}" if path else "$$ROOT"
    names = {"$map": {"input": {"$objectToArray": "$$each"}, "in": "$$this.k"}}
    stages: list[Mapping[str, Any]] = [
        {"$match": for_aggregation(both(query, {path: {"$exists": True}}) if path else query)},
        {"$limit": LOOK_DOCUMENTS},
        {"$project": {"_id": 0, "v": {"$cond": [{"$isArray": value}, value, [value]]}}},
        {"$unwind": "$v"},
        # An array nested in an array.
        {"$unwind": "$v"},
        {"$match": {"$expr": {"$eq": [{"$type": "$v"}, "object"]}}},
        {"$project": {"k": {"$let": {"vars": {"each": "$v"}, "in": names}}}},
        {"$unwind": "$k"},
        {"$group": {"_id": "$k"}},
        {"$limit": 10 * LOOK_DOCUMENTS},
    ]
    try:
        return {str(found["_id"]) for found in collection.aggregate(stages, maxTimeMS=LOOK_MILLISECONDS)}
    except (OperationFailure, *TIME_IS_UP):
        return set()
