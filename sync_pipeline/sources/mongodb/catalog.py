"""The catalog of MongoDB: the collections of a database, and the fields by which Smart Sync could read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pymongo
import pymongo.collection
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.sources.catalog import Wanted
from sync_pipeline.sources.mongodb.bson_types import ID, NO_VALUE
from sync_pipeline.sources.mongodb.clock import ServerClock, read_clock
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import MAX_CONNECTIONS, TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.document_query import DocumentQuery
from sync_pipeline.sources.mongodb.schema_scan import (
    CollectionKind,
    CollectionSize,
    check_database,
    collection_kind,
    field_types,
    visible_collections,
)
from sync_pipeline.sources.mongodb.session import ANSWER_SECONDS, MongodbSession
from sync_pipeline.sources.mongodb.transport import resolved

# How many documents of a collection show its fields, in how many levels of objects, and the time limit of a request.
LOOK_DOCUMENTS, LOOK_DEPTH, LOOK_MILLISECONDS = 100, 2, 3_000

# Collections that the server keeps: its own, and the state of Queryable Encryption.
# https://www.mongodb.com/docs/manual/core/queryable-encryption/fundamentals/manage-collections/
_OF_THE_SERVER = ("system.", "enxcol_.")

# The two collections of a bucket. https://www.mongodb.com/docs/manual/core/gridfs/#gridfs-collections
_GRIDFS = ("files", "chunks")

# Replaces each object in a document by its fields, under their paths.
_MEMBERS = {
    "$map": {
        "input": {"$objectToArray": "$$this.v"},
        "as": "member",
        "in": {"k": {"$concat": ["$$this.k", ".", "$$member.k"]}, "v": "$$member.v"},
    }
}
_WITH_PATHS = {
    "$replaceWith": {
        "$arrayToObject": {
            "$reduce": {
                "input": {"$objectToArray": "$$ROOT"},
                "initialValue": [],
                "in": {
                    "$concatArrays": [
                        "$$value",
                        {"$cond": [{"$eq": [{"$type": "$$this.v"}, "object"]}, _MEMBERS, ["$$this"]]},
                    ]
                },
            }
        }
    }
}

_Collection = pymongo.collection.Collection[Document]


@dataclass(frozen=True)
class _Entry:
    """A collection of the catalog, with what its session needs; `size` is None if unknown."""

    table: CatalogTable
    kind: CollectionKind
    size: CollectionSize | None


@dataclass(frozen=True)
class MongodbCatalog:
    """The collections of a database, read over one client.

    Attributes:
        uri: the resolved connection string, or empty.
    """

    database: Database[Document]
    uri: str
    clock: ServerClock
    entries: Mapping[TableName, _Entry]

    @property
    def tables(self) -> tuple[CatalogTable, ...]:
        """The collections that may be chosen, in the order of their names."""
        return tuple(entry.table for entry in self.entries.values())

    def narrowing(self, tables: Sequence[CatalogTable]) -> dict[TableName, dict[str, str]]:
        """Return the timestamps that begin an index, by the names of their columns. See `SourceCatalog`."""

        def of(table: CatalogTable) -> dict[str, str]:
            if not table.timestamps:
                return {}
            try:
                indexes = list(self.database[table.name.name].list_indexes())
            except OperationFailure:
                # A view has no indexes, and the user may lack the privilege to list them.
                return {}
            return {column_name(next(iter(index["key"]))): "index" for index in indexes}

        with ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="mongodb") as pool:
            return dict(zip((table.name for table in tables), pool.map(of, tables), strict=True))

    def session(self, table: CatalogTable, config: SyncConfig) -> MongodbSession:
        """Return the session that plans one collection, over the catalog's client."""
        assert isinstance(config.source, MongodbConfig)
        entry = self.entries[table.name]
        return MongodbSession(
            DocumentQuery(config, config.source),
            self.database[table.name.name],
            self.clock.source_clock(config.source, self.uri, config.smart_sync),
            entry.kind,
            entry.size,
        )


def read_catalog(server: MongodbConfig, database: Database[Document], wanted: Wanted) -> MongodbCatalog:
    """Read the clock, list the collections, and look at those that are wanted.

    Raises:
        SourceQueryError: the database has no collection that the user can see.
    """
    with pymongo.timeout(ANSWER_SECONDS):
        clock = read_clock(database)
        visible = visible_collections(database)
        check_database(database, visible)
    texts = (text for text in sorted(visible) if not text.startswith(_OF_THE_SERVER))
    names = [name for text in texts if wanted.may_choose(name := TableName("", text))]

    def describe(name: TableName) -> _Entry:
        return _described(database[name.name], visible[name.name], visible)

    with ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="mongodb") as pool:
        entries = dict(zip(names, pool.map(describe, names), strict=True))
    return MongodbCatalog(database, resolved(server), clock, entries)


def _described(collection: _Collection, listed: Document, names: Collection[str]) -> _Entry:
    kind = collection_kind(listed)
    left_out = _left_out(collection.name, kind, names)
    size, timestamps = None, {}
    if not left_out:
        size = _size(collection, kind)
        timestamps = {column_name(path): True for path in _date_fields(collection, kind)}
    table = CatalogTable(
        TableName("", collection.name),
        _kind_text(kind, listed.get("options", {})),
        # Only a collection has a unique index on _id: a view may repeat documents, and a time series takes any _id.
        key=(ID,) if kind.name == "collection" else (),
        timestamps=timestamps,
        rows=size.documents if size else None,
        size=size.bytes if size else None,
        left_out=left_out,
    )
    return _Entry(table, kind, size)


def _left_out(name: str, kind: CollectionKind, names: Collection[str]) -> str:
    """Return why a wildcard does not choose the collection; empty if it does."""
    if kind.name == "view":
        return "it is a view, which computes its rows from other collections: name it to load it"
    if _is_of_gridfs(name, names):
        return "it is a part of GridFS, which stores files: name it to load it"
    return ""


def _is_of_gridfs(name: str, names: Collection[str]) -> bool:
    bucket, _, part = name.rpartition(".")
    return part in _GRIDFS and all(f"{bucket}.{each}" in names for each in _GRIDFS)


def _kind_text(kind: CollectionKind, options: Mapping[str, Any]) -> str:
    if kind.name == "timeseries":
        return "time series"
    return "capped collection" if options.get("capped") else kind.name or "collection"


def _size(collection: _Collection, kind: CollectionKind) -> CollectionSize | None:
    """Return the number and size of the documents by the collection's metadata; None if they are not known."""
    if kind.name != "collection":
        # The numbers of a time series are those of its buckets.
        return None
    stages: list[Mapping[str, Any]] = [
        {"$collStats": {"storageStats": {}}},
        # A sharded collection has a document for each shard.
        {
            "$group": {
                "_id": None,
                "documents": {"$sum": "$storageStats.count"},
                "bytes": {"$sum": "$storageStats.size"},
            }
        },
    ]
    try:
        found = list(
            collection.with_options(read_concern=ReadConcern("local")).aggregate(stages, maxTimeMS=LOOK_MILLISECONDS)
        )
    except (OperationFailure, *TIME_IS_UP):
        # The user may lack the privilege.
        return None
    return CollectionSize(int(found[0]["documents"]), int(found[0]["bytes"])) if found else None


def _date_fields(collection: _Collection, kind: CollectionKind) -> list[str]:
    """Return the fields, and the paths to fields in objects, whose values are dates or missing.

    Looks at the documents with the largest `_id`: those with an ObjectId are the newest, and show what is written now.
    """
    look: list[Mapping[str, Any]] = [{"$limit": LOOK_DOCUMENTS}, *[_WITH_PATHS] * LOOK_DEPTH]
    if kind.name == "collection":
        look.insert(0, {"$sort": {ID: -1}})
    try:
        types = field_types(collection, look, {}, milliseconds=LOOK_MILLISECONDS)
    except (OperationFailure, *TIME_IS_UP):
        return []
    # No interval contains fields inside arrays.
    arrays = tuple(f"{name}." for name, found in types.items() if "array" in found)
    return [name for name, found in types.items() if found - NO_VALUE == {"date"} and not name.startswith(arrays)]
