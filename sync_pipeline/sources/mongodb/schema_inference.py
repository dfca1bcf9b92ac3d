"""Schema inference: derives the columns from all documents of a run, or from a sample if they are too many.

A launch has a deadline, and each document costs the server 3 to 20 µs: a billion documents would take hours. If the
read finds a field or type that the sample lacks, it loads the value or rejects the document, and never drops it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.mongodb.bson_types import ID
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter
from sync_pipeline.sources.mongodb.index_operators import chooses_index, for_aggregation
from sync_pipeline.sources.mongodb.schema_scan import CollectionKind, CollectionSize, field_types

# Up to this number, inference uses all documents.
MAX_ALL = 1_000_000

# Sample size for more documents, and the additional number of oldest, newest and first matching documents.
SAMPLE_SIZE = 100_000
ENDS, FIRST = 1_000, 10_000

# $sample uses a random cursor instead of a collection scan if the sample is less than a twentieth of the collection.
# https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/
_SCANNED_SHARE = 20

# Time limits of the whole inference, and of counting or searching for the first matching documents.
LOOK_SECONDS, SEARCH_SECONDS = 240, 10

_Stages = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Inference:
    """The result of schema inference.

    Attributes:
        types: the BSON types by field, `_id` first.
        sampled: the size of the sample and of the collection, for the plan; empty if all documents were used.
        risks: warnings for the plan.
    """

    types: Mapping[str, frozenset[str]]
    sampled: str = ""
    risks: tuple[str, ...] = ()


def infer_types(
    collection: Collection[Document],
    kind: CollectionKind,
    query: Filter,
    projection: Filter,
    sample_size: int | None,
    *,
    max_fields: int | None,
    size: CollectionSize | None = None,
) -> Inference:
    """Return the types of the fields of the documents of `query`.

    Args:
        size: the size of the collection; None if it has to be asked for.
        sample_size: number of random documents to use; None for all, or a default sample if they are too many.

    Raises:
        SourceQueryError: the inference takes too long.
        SchemaError: the documents have more than `max_fields` fields.
    """
    look = _Look(collection, projection, time.monotonic() + LOOK_SECONDS, max_fields)
    matching: _Stages = [{"$match": for_aggregation(query)}]
    random: _Stages = [{"$sample": {"size": sample_size}}] if sample_size is not None else []
    try:
        documents = None if chooses_index(query) else size.documents if size else _document_count(collection)
        if documents is None or documents <= max(MAX_ALL, sample_size or 0):
            return Inference(look.types([*matching, *random]))
        if sample_size is None and query and _are_few(collection, query):
            return Inference(look.types(matching))
        return _sampled(look, kind, query, documents, sample_size)
    except TIME_IS_UP:
        raise SourceQueryError(
            f"schema inference took longer than {LOOK_SECONDS} seconds, its limit during a launch: sample fewer "
            "documents (mongodb_schema_sample_size=10000), add an index for mongodb_query, or load whole documents "
            "(mongodb_document_mode=true), which needs no inference"
        ) from None


def _sampled(look: _Look, kind: CollectionKind, query: Filter, documents: int, sample_size: int | None) -> Inference:
    """Return the types of a random sample, and of the newest and oldest documents, because fields change over time."""
    matching: _Stages = [{"$match": query}] if query else []
    size = min(sample_size or SAMPLE_SIZE, documents // _SCANNED_SHARE - 1)
    began = time.monotonic()
    # Sample before the filter: after it, the server would read all matching documents.
    found = [look.types([{"$sample": {"size": size}}, *matching])]
    seconds = (time.monotonic() - began) / size * documents
    if kind.has_id_order:
        ends: list[_Stages] = [[{"$sort": {ID: order}}, {"$limit": ENDS}] for order in (1, -1)]
        found += [look.types([*end, *matching]) for end in ends]
    if query:
        found.append(look.types_if_quick([*matching, {"$limit": FIRST}]))
    sampled = f"{size:,} of about {documents:,} documents"
    risk = (
        f"the columns come from a random sample, {sampled}: a document with a field or type outside the sample may be "
        "invalid, and is a dead letter or fails the run. Inference from all documents "
        f"(mongodb_schema_sample_size={documents}) would take about {_duration(seconds)}"
    )
    if seconds > LOOK_SECONDS:
        risk += f", beyond the limit of {LOOK_SECONDS} seconds: use a larger sample, or mongodb_document_mode=true"
    return Inference(_united(found), sampled, (risk,))


@dataclass(frozen=True)
class _Look:
    """Reads the types of documents until a deadline.

    Attributes:
        deadline: the deadline on the monotonic clock, in seconds.
    """

    collection: Collection[Document]
    projection: Filter
    deadline: float
    max_fields: int | None

    def types(self, stages: _Stages, seconds: float = LOOK_SECONDS) -> Mapping[str, frozenset[str]]:
        left = min(seconds, self.deadline - time.monotonic())
        return field_types(
            self.collection, stages, self.projection, milliseconds=max(1, int(left * 1000)), max_fields=self.max_fields
        )

    def types_if_quick(self, stages: _Stages) -> Mapping[str, frozenset[str]]:
        """Return the types, or an empty mapping if the search takes long."""
        try:
            return self.types(stages, SEARCH_SECONDS)
        except TIME_IS_UP:
            return {}


def _document_count(collection: Collection[Document]) -> int:
    """Return an estimate of the collection's size; a very large number for a slow view."""
    try:
        return collection.estimated_document_count(maxTimeMS=SEARCH_SECONDS * 1000)
    except TIME_IS_UP:
        return 10**9


def _are_few(collection: Collection[Document], query: Filter) -> bool:
    """Whether the query matches few enough documents to use all. False if counting takes long, as without an index."""
    try:
        return collection.count_documents(query, limit=MAX_ALL + 1, maxTimeMS=SEARCH_SECONDS * 1000) <= MAX_ALL
    except TIME_IS_UP:
        return False


def _united(found: Sequence[Mapping[str, frozenset[str]]]) -> Mapping[str, frozenset[str]]:
    keys = sorted({key for types in found for key in types}, key=lambda key: (key != ID, key))
    return {key: frozenset().union(*(types.get(key, frozenset()) for types in found)) for key in keys}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
