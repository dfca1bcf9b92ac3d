"""Which documents tell the columns: all of a run's, or a sample where there are too many to look at during a launch.

A launch has a deadline, and a look at a document costs the server 3 to 20 µs: a billion documents would take hours.
What a sample has not shown is met by the read, which loads it, or says that it does not fit, and never leaves it out.
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
from sync_pipeline.sources.mongodb.schema_scan import CollectionKind, field_types

# Up to so many documents are all looked at.
MAX_ALL = 1_000_000

# How many are looked at where there are more, and besides: of the oldest and the newest, and the first that match.
SAMPLE_SIZE = 100_000
ENDS, FIRST = 1_000, 10_000

# A sample is drawn by random places, instead of a scan, where it is less than a twentieth of the collection.
# https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/
_SCANNED_SHARE = 20

# How long the server may look in all, and how long it may count, or search for the first that match.
LOOK_SECONDS, SEARCH_SECONDS = 240, 10

_Stages = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Inference:
    """What was seen.

    Attributes:
        types: the BSON types by field, `_id` first.
        sampled: where not all documents were looked at, how many were, of how many; else empty.
        risks: sentences for the plan.
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
) -> Inference:
    """Return the types of the fields of the documents of `query`.

    Args:
        sample_size: how many random documents to look at; None for all, or a sample where there are too many.

    Raises SourceQueryError: it takes too long; SchemaError: there are more than `max_fields` fields.
    """
    look = _Look(collection, projection, time.monotonic() + LOOK_SECONDS, max_fields)
    matching: _Stages = [{"$match": for_aggregation(query)}]
    random: _Stages = [{"$sample": {"size": sample_size}}] if sample_size is not None else []
    try:
        documents = None if chooses_index(query) else _document_count(collection)
        if documents is None or documents <= max(MAX_ALL, sample_size or 0):
            return Inference(look.types([*matching, *random]))
        if sample_size is None and query and _are_few(collection, query):
            return Inference(look.types(matching))
        return _sampled(look, kind, query, documents, sample_size)
    except TIME_IS_UP:
        raise SourceQueryError(
            f"the look at the documents that tells the columns took longer than {LOOK_SECONDS} seconds, and a launch "
            "has to end: look at fewer (mongodb_schema_sample_size=10000), add an index for mongodb_query, or load "
            "whole documents (mongodb_document_mode=true), for which nobody looks at them first"
        ) from None


def _sampled(look: _Look, kind: CollectionKind, query: Filter, documents: int, sample_size: int | None) -> Inference:
    """Return what random documents show, with the newest and the oldest, as fields come and go with the years."""
    matching: _Stages = [{"$match": query}] if query else []
    size = min(sample_size or SAMPLE_SIZE, documents // _SCANNED_SHARE - 1)
    began = time.monotonic()
    # The sample first: behind the filter it would read all that match.
    found = [look.types([{"$sample": {"size": size}}, *matching])]
    seconds = (time.monotonic() - began) / size * documents
    if kind.has_id_order:
        ends: list[_Stages] = [[{"$sort": {ID: order}}, {"$limit": ENDS}] for order in (1, -1)]
        found += [look.types([*end, *matching]) for end in ends]
    if query:
        found.append(look.types_if_quick([*matching, {"$limit": FIRST}]))
    sampled = f"{size:,} of about {documents:,} documents"
    risk = (
        f"the columns come from a sample, {sampled} chosen at random: a document with a field or type that none of "
        "them has may not fit, and is a dead letter or ends the run. A look at all documents "
        f"(mongodb_schema_sample_size={documents}) would take about {_duration(seconds)}"
    )
    if seconds > LOOK_SECONDS:
        risk += f", and may take {LOOK_SECONDS} seconds: rather take a larger sample, or mongodb_document_mode=true"
    return Inference(_united(found), sampled, (risk,))


@dataclass(frozen=True)
class _Look:
    """Looks at documents until its time is over.

    Attributes:
        deadline: on the monotonic clock.
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
        """Return nothing when the server has to search for long."""
        try:
            return self.types(stages, SEARCH_SECONDS)
        except TIME_IS_UP:
            return {}


def _document_count(collection: Collection[Document]) -> int:
    """Return how many documents the collection has, about; of a view that takes its time, very many."""
    try:
        return collection.estimated_document_count(maxTimeMS=SEARCH_SECONDS * 1000)
    except TIME_IS_UP:
        return 10**9


def _are_few(collection: Collection[Document], query: Filter) -> bool:
    """Whether the query matches no more documents than can all be looked at. No index, and this is not known."""
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
