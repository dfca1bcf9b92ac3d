"""Determines the fields of documents and their types, with an aggregation on the server."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.binary import Binary
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES, ID, UUID, column
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter, both
from sync_pipeline.sources.mongodb.index_operators import for_aggregation
from sync_pipeline.sources.mongodb.to_json import AMBIGUOUS_ID, LENIENT
from sync_pipeline.suggestions import did_you_mean

# Time limit for counts that are only reported, and for searches for rare documents.
COUNT_MILLISECONDS = 10_000

_UNAUTHORIZED = 13
_UUID_SUBTYPE = 4

# The character that `LENIENT` decodes invalid UTF-8 to.
_NOT_UTF8 = re.compile("[\ud800-\udfff]")

# binData is ordered by length, subtype and bytes, so exactly the UUIDs lie between these two.
_FIRST_UUID, _LAST_UUID = Binary(bytes(16), _UUID_SUBTYPE), Binary(bytes([255] * 16), _UUID_SUBTYPE)
_IS_UUID = {"$and": [{"$gte": ["$$this.v", _FIRST_UUID]}, {"$lte": ["$$this.v", _LAST_UUID]}]}
_TYPE = {"$cond": [_IS_UUID, UUID, {"$type": "$$this.v"}]}


@dataclass(frozen=True)
class CollectionKind:
    """The kind of a collection.

    Attributes:
        name: `collection`, `view` or `timeseries`; empty if the user lacks the privilege to know.
        has_id_order: whether an index on `_id` in BSON order allows reads by ranges of `_id`.
    """

    name: str
    has_id_order: bool

    @property
    def may_repeat_ids(self) -> bool:
        """Whether several documents may have the same `_id`: views with `$unwind` repeat it, a time series takes any.

        https://jira.mongodb.org/browse/SERVER-122027
        """
        return self.name in ("view", "timeseries")


@dataclass(frozen=True)
class CollectionSize:
    """The size of a collection by its metadata: an estimate, in documents and in bytes."""

    documents: int
    bytes: int


def look_up(collection: Collection[Document]) -> CollectionKind:
    """Return the kind of the collection. Raises SourceQueryError when it does not exist, unlike MongoDB's find."""
    database = collection.database
    visible = visible_collections(database)
    entry = visible.get(collection.name)
    if entry is None:
        check_database(database, visible)
        names = sorted(name for name in visible if not name.startswith("system."))
        raise SourceQueryError(
            f"mongodb_collection: database {database.name} has no collection {collection.name}"
            f"{did_you_mean(collection.name, names)}"
        )
    return collection_kind(entry)


def visible_collections(database: Database[Document]) -> dict[str, Document]:
    """Return the server's description of each collection that the user can see, by name."""
    try:
        found = list(database.list_collections())
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        # A user with privileges on only some collections may learn only that these exist.
        found = [{"name": name} for name in database.list_collection_names(authorizedCollections=True, nameOnly=True)]
    return {str(entry["name"]): dict(entry) for entry in found}


def collection_kind(entry: Document) -> CollectionKind:
    """Return the kind of a collection by the server's description."""
    options = entry.get("options", {})
    kind = str(entry.get("type", ""))
    return CollectionKind(kind, kind == "collection" and "collation" not in options and "clusteredIndex" not in options)


def check_database(database: Database[Document], visible: Iterable[str]) -> None:
    """Raise SourceQueryError when none of the visible collections is a user's, as in a database that does not exist."""
    if not all(name.startswith("system.") for name in visible):
        return
    databases: list[str] = []
    with contextlib.suppress(OperationFailure):
        databases = database.client.list_database_names()
    raise SourceQueryError(
        f"mongodb_database: database {database.name} has no collection that the user can see"
        f"{did_you_mean(database.name, [name for name in databases if name != database.name])}"
    )


def field_types(
    collection: Collection[Document],
    stages: Sequence[Mapping[str, Any]],
    projection: Filter,
    *,
    milliseconds: int,
    max_fields: int | None = None,
) -> Mapping[str, frozenset[str]]:
    """Return the types of each field in the documents that the `stages` return.

    Fields are in alphabetical order, `_id` first. Omits names that are not UTF-8, which cannot be columns; the read
    rejects their documents.

    Args:
        milliseconds: time limit of the server, which then raises ExecutionTimeout.

    Raises:
        SchemaError: the documents have more than `max_fields` fields.
    """
    # An array of names, each followed by its value's type.
    pairs = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": ["$$this.k", _TYPE]}}
    found = collection.with_options(codec_options=LENIENT).aggregate(
        [
            *stages,
            *([{"$project": projection}] if projection else []),
            # Most documents have one of a few shapes, so group by shape before unwinding.
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
                f"the documents have more than {max_fields:,} different fields, BigQuery's limit for columns: if field "
                "names are data, load whole documents (mongodb_document_mode=true); otherwise select fields with "
                "mongodb_projection or transformation_config.include_fields"
            )
    return {key: frozenset(types[key]) for key in sorted(types, key=lambda key: (key != ID, key))}


def schema_of(types: Mapping[str, frozenset[str]]) -> Schema:
    """Return the columns. Raises SchemaError naming fields that would share a column."""
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
            f"{'; '.join(clashes)}: exclude all but one with mongodb_projection, or set mongodb_document_mode=true"
        )
    return Schema(tuple(fields))


def check_repeated_ids(collection: Collection[Document], kind: CollectionKind, query: Filter) -> list[str]:
    """Check that the documents of a view or a time series have distinct `_id`s.

    A merge by `_id` would keep one of several documents with the same `_id`. Returns a warning if the check takes too
    long.

    Raises:
        SchemaError: an `_id` is repeated.
    """
    noun = "view" if kind.name == "view" else "time series"
    stages: list[Mapping[str, Any]] = [
        {"$match": for_aggregation(query)},
        {"$group": {"_id": f"${ID}", "documents": {"$sum": 1}}},
        {"$match": {"documents": {"$gt": 1}}},
        {"$group": {"_id": None, "ids": {"$sum": 1}, "documents": {"$sum": "$documents"}}},
    ]
    try:
        found = list(collection.aggregate(stages, allowDiskUse=True, maxTimeMS=COUNT_MILLISECONDS))
    except TIME_IS_UP:
        problem = f"{collection.name} is a {noun}, and checking whether it repeats an _id took too long"
        return [f"{problem}: the merge by _id keeps one document per _id, unless primary_key is given"]
    if not found:
        return []
    raise SchemaError(
        f"{collection.name} is a {noun} that repeats _ids: {found[0]['documents']:,} documents have only "
        f"{found[0]['ids']:,} distinct ones, and a merge by _id would keep one of each. Give primary_key with columns "
        'that identify a document, or exclude _id (mongodb_projection={"_id": 0}) to append rows'
    )


def check_ids_are_distinct(collection: Collection[Document], query: Filter) -> list[str]:
    """Check that `_id`s of several types have distinct texts. Returns a warning if the check takes too long.

    Checks all `_id`s of `query`, not only those of the run's interval, so that the result is the same in every run.

    Raises:
        SchemaError: two `_id`s of different types may have the same text.
    """
    others: Filter = {ID: {"$type": [name for name in BSON_TYPES if name not in ("string", UUID)]}}
    ambiguous: Filter = {ID: {"$type": "string", "$regex": re.compile(AMBIGUOUS_ID).pattern}}

    def has(these: Filter) -> bool:
        return collection.find_one(both(query, these), {ID: 1}, max_time_ms=COUNT_MILLISECONDS) is not None

    try:
        are_ambiguous = has(others) and has(ambiguous)
    except TIME_IS_UP:
        return ["_id may have several types, and checking for equal texts of different types took too long"]
    if not are_ambiguous:
        return []
    raise SchemaError(
        "_id has several types, and some strings look like a value of another type, such as an ObjectId's digits: two "
        "documents could become one row. Load each type into a separate table, with "
        'mongodb_query={"_id": {"$type": "string"}} for strings'
    )
