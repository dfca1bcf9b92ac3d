"""The columns of documents that have no schema: the server counts which fields have which types."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.binary import Binary
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES, ID, UUID, column
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter, both
from sync_pipeline.sources.mongodb.index_operators import for_aggregation
from sync_pipeline.sources.mongodb.to_json import AMBIGUOUS_ID, LENIENT
from sync_pipeline.suggestions import did_you_mean

# How long the server may count what is only reported, or look for what is hardly there.
COUNT_MILLISECONDS = 10_000

_UNAUTHORIZED = 13
_UUID_SUBTYPE = 4

# What `LENIENT` makes of bytes that are not UTF-8.
_NOT_UTF8 = re.compile("[\ud800-\udfff]")

# binData is ordered by length, subtype and bytes: between these two lie all UUIDs and nothing else.
_FIRST_UUID, _LAST_UUID = Binary(bytes(16), _UUID_SUBTYPE), Binary(bytes([255] * 16), _UUID_SUBTYPE)
_IS_UUID = {"$and": [{"$gte": ["$$this.v", _FIRST_UUID]}, {"$lte": ["$$this.v", _LAST_UUID]}]}
_TYPE = {"$cond": [_IS_UUID, UUID, {"$type": "$$this.v"}]}


@dataclass(frozen=True)
class CollectionKind:
    """What kind of collection it is.

    Attributes:
        name: `collection`, `view` or `timeseries`; empty where the user may not know.
        has_id_order: its documents can be read by ranges of an index on `_id` that orders as BSON does.
    """

    name: str
    has_id_order: bool


def look_up(collection: Collection[Document]) -> CollectionKind:
    """Return what the collection is. Raises SourceQueryError when there is none: MongoDB would answer with nothing."""
    database = collection.database
    try:
        found = list(database.list_collections())
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        # A user of one collection may know no more than that it is there.
        found = [{"name": name} for name in database.list_collection_names(authorizedCollections=True, nameOnly=True)]
    known = {str(entry["name"]): entry for entry in found}
    entry = known.get(collection.name)
    if entry is None:
        raise SourceQueryError(_nothing_there(collection, known))
    options = entry.get("options", {})
    kind = str(entry.get("type", ""))
    return CollectionKind(kind, kind == "collection" and "collation" not in options and "clusteredIndex" not in options)


def _nothing_there(collection: Collection[Document], known: Iterable[str]) -> str:
    names = sorted(name for name in known if not name.startswith("system."))
    database = collection.database.name
    if names:
        return (
            f"mongodb_collection: there is no collection {collection.name} in database {database}"
            f"{did_you_mean(collection.name, names)}"
        )
    databases: list[str] = []
    with contextlib.suppress(OperationFailure):
        databases = collection.database.client.list_database_names()
    return (
        f"mongodb_database: database {database} has no collection that the user can see"
        f"{did_you_mean(database, [name for name in databases if name != database])}"
    )


def field_types(
    collection: Collection[Document],
    stages: Sequence[Mapping[str, Any]],
    projection: Filter,
    *,
    milliseconds: int,
    max_fields: int | None = None,
) -> Mapping[str, frozenset[str]]:
    """Return the types that each field has in the documents that the `stages` give.

    Fields are in the order of their names, `_id` first. A name that is not UTF-8 can be no column: it is left to the
    read, whose documents with it do not fit.

    Args:
        milliseconds: how long the server may take; then it raises ExecutionTimeout.

    Raises SchemaError when there are more than `max_fields`.
    """
    # An array of pairs, in which a value's type stands behind its name.
    pairs = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": ["$$this.k", _TYPE]}}
    found = collection.with_options(codec_options=LENIENT).aggregate(
        [
            *stages,
            *([{"$project": projection}] if projection else []),
            # Most documents have one of a few shapes: only those are taken apart.
            {"$group": {"_id": pairs}},
            {"$unwind": "$_id"},
            {"$group": {"_id": "$_id"}},
        ],
        allowDiskUse=True,
        maxTimeMS=milliseconds,
    )
    types: dict[str, set[str]] = {}
    for document in found:
        key, name = document["_id"]
        if not _NOT_UTF8.search(key):
            types.setdefault(key, set()).add(name)
        if max_fields is not None and len(types) > max_fields:
            raise SchemaError(
                f"the documents have more than {max_fields:,} different fields, and a BigQuery table has no more "
                "columns: where names of fields are data, load whole documents (mongodb_document_mode=true); else "
                "choose fields with mongodb_projection or transformation_config.include_fields"
            )
    return {key: frozenset(types[key]) for key in sorted(types, key=lambda key: (key != ID, key))}


def schema_of(types: Mapping[str, frozenset[str]]) -> Schema:
    """Return the columns. Raises SchemaError naming the fields that would be one column."""
    keys: dict[str, list[str]] = {}
    fields: list[Field] = []
    for key, names in types.items():
        field = column(key, names)
        keys.setdefault(field.name, []).append(key)
        fields.append(field)
    clashes = [
        f"fields {' and '.join(map(repr, several))} would both be column {name!r}"
        for name, several in keys.items()
        if len(several) > 1
    ]
    if clashes:
        raise SchemaError(
            f"{'; '.join(clashes)}: leave all but one out with mongodb_projection, or set mongodb_document_mode=true"
        )
    return Schema(tuple(fields))


def check_view_has_distinct_ids(collection: Collection[Document], query: Filter) -> list[str]:
    """Return a risk where nobody can tell whether the documents of a view repeat an `_id`, as those of `$unwind` do.

    Of documents with one `_id` a merge by it would keep one. Raises SchemaError when there are any.
    """
    stages: list[Mapping[str, Any]] = [
        {"$match": for_aggregation(query)},
        {"$group": {"_id": f"${ID}", "documents": {"$sum": 1}}},
        {"$match": {"documents": {"$gt": 1}}},
        {"$group": {"_id": None, "ids": {"$sum": 1}, "documents": {"$sum": "$documents"}}},
    ]
    try:
        found = list(collection.aggregate(stages, allowDiskUse=True, maxTimeMS=COUNT_MILLISECONDS))
    except TIME_IS_UP:
        problem = f"{collection.name} is a view, and there was no time to look whether it repeats an _id"
        return [f"{problem}: of documents with one _id the merge by _id keeps one, unless primary_key is given"]
    if not found:
        return []
    raise SchemaError(
        f"{collection.name} is a view that repeats _ids: {found[0]['documents']:,} documents have only "
        f"{found[0]['ids']:,} different ones, and a merge by _id would keep one of each. Give primary_key with the "
        'columns that tell them apart, or leave _id out (mongodb_projection={"_id": 0}) so that rows are appended'
    )


def check_ids_are_distinct(collection: Collection[Document], query: Filter) -> list[str]:
    """Return risks of `_id`s of several types as texts. Raises SchemaError when two may have the same text.

    Looks at the whole collection, as far as `query` has the `_id`s, whatever the run reads: what it decides must not
    change from run to run.
    """
    others: Filter = {ID: {"$type": [name for name in BSON_TYPES if name not in ("string", UUID)]}}
    ambiguous: Filter = {ID: {"$type": "string", "$regex": re.compile(AMBIGUOUS_ID).pattern}}

    def has(these: Filter) -> bool:
        return collection.find_one(both(query, these), {ID: 1}, max_time_ms=COUNT_MILLISECONDS) is not None

    try:
        are_ambiguous = has(others) and has(ambiguous)
    except TIME_IS_UP:
        return ["_id may have several types, and there was no time to look for texts that read like another type's"]
    if not are_ambiguous:
        return []
    raise SchemaError(
        "_id has several types, and strings among them that read like a value of another type, such as an ObjectId's "
        "digits: two documents could become one row. Read one type at a time into a table of its own, with "
        'mongodb_query={"_id": {"$type": "string"}} and the like'
    )
