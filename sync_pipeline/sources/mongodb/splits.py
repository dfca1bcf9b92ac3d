"""Splits a collection into finds that run in parallel.

The bounds come from a random sample. Splits by `_id` are ranges of its index, which follow BSON's total order over
values of all types, so every document belongs to exactly one split. (A comparison in a filter would match only values
of the same type.) Splits of an interval are ranges of the timestamp, if it has an index. Splitting needs only the read
privilege.
https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import bson
import bson.json_util
from bson import Binary, Decimal128, MaxKey, MinKey, ObjectId
from bson.binary import UUID_SUBTYPE
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from pymongo.collection import Collection

from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.sources.mongodb.bson_types import ID
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document
from sync_pipeline.sources.mongodb.filters import Filter, both, interval_filter, null_filter
from sync_pipeline.sources.mongodb.index_operators import chooses_index
from sync_pipeline.sources.mongodb.schema_scan import CollectionSize
from sync_pipeline.sources.mongodb.to_json import DECODING, EXTENDED, LENIENT, extended_json

# Without num_partitions, a split has about this many bytes of documents, up to a maximum number of splits.
SPLIT_BYTES = 256 * 1024 * 1024
MAX_SPLITS = 100

# A larger sample gives more even splits. $sample uses a random cursor only below a twentieth of the collection.
SAMPLES_PER_SPLIT = 50
MIN_SAMPLE = 1000

# Time limit of the sample, because the server may have to compute a view for it.
_SAMPLE_MILLISECONDS = 30_000


@dataclass(frozen=True)
class Find:
    """One find on the collection.

    Attributes:
        minimum, maximum: the range of `_id`; minimum is inclusive, maximum exclusive, None is unbounded.
        of_keys: whether it finds keys, so that it must not miss a document (`key_read`).
        sees_all: whether it finds whole documents, and must not miss one either.
    """

    query: Filter
    projection: Filter
    minimum: Filter | None = None
    maximum: Filter | None = None
    of_keys: bool = False
    sees_all: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the driver's `find`."""
        arguments: dict[str, Any] = {"filter": self.query, "projection": self.projection or None}
        if self.minimum is not None or self.maximum is not None:
            arguments |= {"min": self.minimum, "max": self.maximum}
        if len(arguments) > 2 or self.of_keys or self.sees_all:
            arguments["hint"] = {ID: 1}
        return arguments

    def statement(self) -> str:
        """Return the find as canonical Extended JSON."""
        document = {
            "filter": self.query,
            "projection": self.projection,
            "min": self.minimum,
            "max": self.maximum,
            "keys": self.of_keys,
            "all": self.sees_all,
        }
        return extended_json({name: value for name, value in document.items() if value})

    @classmethod
    def from_statement(cls, statement: str) -> Find:
        """Return the find of a `statement`."""
        document = bson.json_util.loads(statement, json_options=EXTENDED)
        return cls(
            document.get("filter", {}),
            document.get("projection", {}),
            document.get("min"),
            document.get("max"),
            document.get("keys", False),
            document.get("all", False),
        )


@dataclass(frozen=True)
class Sample:
    """A random sample of documents.

    Attributes:
        documents: estimated number of documents in the collection.
        share: the fraction that the query matches; None if only reading them would tell.
        size: average size of a matching document, in bytes.
        ids, moments: sorted `_id`s and timestamps of matching documents.
    """

    documents: int
    share: float | None
    size: float
    ids: tuple[Any, ...]
    moments: tuple[datetime, ...]

    @property
    def rows(self) -> int | None:
        """Estimated number of documents that the query matches."""
        return None if self.share is None else round(self.documents * self.share)

    @property
    def bytes(self) -> int | None:
        """Estimated size of these documents."""
        return None if self.rows is None or (self.rows and not self.size) else round(self.rows * self.size)


def take_sample(
    collection: Collection[Document],
    query: Filter,
    timestamp_column: str | None,
    num_partitions: int | None,
    known: CollectionSize | None = None,
) -> Sample:
    """Sample random documents of the collection that match `query`. Returns an empty sample if that takes long.

    Args:
        known: the size of the collection; None if it has to be asked for. One that is read whole in one split needs no
            sample then.
    """
    if known is not None and not query:
        average = known.bytes / known.documents if known.documents else 0.0
        whole = Sample(known.documents, 1.0, average, (), ())
        if split_count(whole, num_partitions) == 1:
            return whole
    try:
        documents = known.documents if known else collection.estimated_document_count(maxTimeMS=_SAMPLE_MILLISECONDS)
        return _sample(collection, query, timestamp_column, num_partitions, documents)
    except TIME_IS_UP:
        return Sample(0, None, 0.0, (), ())


def _sample(
    collection: Collection[Document],
    query: Filter,
    timestamp_column: str | None,
    num_partitions: int | None,
    documents: int,
) -> Sample:
    size = max(MIN_SAMPLE, (num_partitions or 0) * SAMPLES_PER_SPLIT)
    if chooses_index(query):
        return Sample(documents, None, 0.0, (), ())
    found = list(
        collection.with_options(codec_options=LENIENT).aggregate(
            [
                {"$sample": {"size": size}},
                {"$match": query},
                {
                    "$project": {
                        "size": {"$bsonSize": "$$ROOT"},
                        "moment": f"${timestamp_column}" if timestamp_column else {"$literal": None},
                    }
                },
                {"$sort": {ID: 1}},
            ],
            allowDiskUse=True,
            maxTimeMS=_SAMPLE_MILLISECONDS,
        )
    )
    looked_at = min(size, documents)
    return Sample(
        documents=documents,
        share=min(1.0, len(found) / looked_at) if looked_at else 0.0,
        size=sum(document["size"] for document in found) / len(found) if found else 0.0,
        ids=tuple(document[ID] for document in found if ID in document),
        moments=tuple(sorted(moment for document in found if isinstance(moment := document.get("moment"), datetime))),
    )


def split_count(sample: Sample, num_partitions: int | None) -> int:
    """Return the number of splits: `num_partitions`, or by size; one without a sample."""
    if sample.rows is None:
        return 1
    if num_partitions is not None:
        return num_partitions
    return min(MAX_SPLITS, max(1, round(sample.rows * sample.size / SPLIT_BYTES)))


def by_id(
    collection: Collection[Document],
    query: Filter,
    projection: Filter,
    sample: Sample,
    count: int,
    *,
    shows_any: bool,
) -> tuple[list[Find], tuple[str, ...]]:
    """Return finds by ranges of `_id`, and warnings about them.

    Args:
        shows_any: whether any `_id` may be a bound; otherwise only types that cannot hold personal data. Bounds are
            part of the job, and users who may view the job can read them.
    """
    # The first and last value are no useful bounds, and a value that does not survive as text cannot be one.
    usable = [value for value in sample.ids if not isinstance(value, MinKey | MaxKey) and _survives(value)]
    plain = [value for value in usable if _tells_nothing(value)]
    risks: tuple[str, ...] = ()
    if len(plain) < len(usable):
        if shows_any:
            risks = ("read splits have values of _id as bounds, which users who may view the job can read",)
        else:
            usable = plain
            risk = "_id may hold personal data, so its values bound read splits only if num_partitions is set, because"
            risks = (f"{risk} users who may view the job can read them: num_partitions={count} would be suitable",)
    ends = [{ID: value} for value in _quantiles(usable, count)]
    finds = [Find(query, projection, minimum, maximum) for minimum, maximum in pairwise([None, *ends, None])]
    last: Filter = {ID: {"$type": "maxKey"}}
    if ends and collection.find_one(last, {ID: 1}) is not None:
        # The only value that an unbounded range does not include.
        finds.append(Find(both(query, last), projection))
    return finds, risks


def _tells_nothing(value: Any) -> bool:
    """Whether an `_id` has a type without text: an ObjectId, a number, a date or a UUID."""
    if isinstance(value, Binary):
        return value.subtype == UUID_SUBTYPE
    return isinstance(value, ObjectId | int | float | Decimal128 | datetime | DatetimeMS | UUID)


def by_timestamp(
    query: Filter,
    projection: Filter,
    column: str,
    interval: SyncInterval,
    sample: Sample,
    count: int,
    *,
    with_nulls: bool,
) -> list[Find]:
    """Return finds by parts of the interval, and one for documents without a timestamp if these are included."""
    cuts = [None, *_quantiles(sample.moments, count), None]
    finds = [
        Find(both(query, interval_filter(column, interval, after=after, until=until)), projection)
        for after, until in pairwise(cuts)
    ]
    if with_nulls:
        finds.append(Find(both(query, null_filter(column)), projection))
    return finds


def _quantiles(values: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` - 1 distinct values that divide ordered values into parts of similar size."""
    places = sorted({len(values) * part // count for part in range(1, count)} - {0}) if values else []
    ends: list[Any] = []
    for place in places:
        if not ends or _encoded(values[place]) != _encoded(ends[-1]):
            ends.append(values[place])
    return ends


def _survives(value: Any) -> bool:
    try:
        again = bson.json_util.loads(extended_json({ID: value}), json_options=EXTENDED)
        return _encoded(again[ID]) == _encoded(value)
    except (BSONError, ValueError):
        return False


def _encoded(value: Any) -> bytes:
    return bson.encode({ID: value}, codec_options=DECODING)
