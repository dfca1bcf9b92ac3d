"""How a collection is cut into parts that are read side by side.

The ends of the parts come from a random sample. Parts by `_id` are ranges of its index, which follow the one order that
BSON has over values of all types, so that every document is in exactly one, whatever its `_id` is. (A comparison in a
filter would only match values of the same type.) Parts of an interval are ranges of the timestamp, where it has an
index. Nothing of it needs more than the right to read.
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
from sync_pipeline.sources.mongodb.to_json import DECODING, EXTENDED, LENIENT, extended_json

# Documents that are read by one worker on one connection, when num_partitions does not say.
PARTITION_BYTES = 256 * 1024 * 1024
MAX_PARTITIONS = 100

# A range's ends are as even as the sample is large; the server takes one at random where it is below a twentieth.
SAMPLES_PER_PARTITION = 50
MIN_SAMPLE = 1000

# A view may have to be computed for it.
_SAMPLE_MILLISECONDS = 30_000


@dataclass(frozen=True)
class Find:
    """One find on the collection.

    Attributes:
        minimum, maximum: the range of `_id`, the first included, the last not; None is open.
    """

    query: Filter
    projection: Filter
    minimum: Filter | None = None
    maximum: Filter | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the driver's `find`."""
        arguments: dict[str, Any] = {"filter": self.query, "projection": self.projection or None}
        if self.minimum is not None or self.maximum is not None:
            arguments |= {"min": self.minimum, "max": self.maximum, "hint": {ID: 1}}
        return arguments

    def statement(self) -> str:
        """Return what is sent to the source, in canonical Extended JSON."""
        document = {
            "filter": self.query,
            "projection": self.projection,
            "min": self.minimum,
            "max": self.maximum,
        }
        return extended_json({name: value for name, value in document.items() if value})

    @classmethod
    def from_statement(cls, statement: str) -> Find:
        """Return the find that `statement` is."""
        document = bson.json_util.loads(statement, json_options=EXTENDED)
        return cls(document.get("filter", {}), document.get("projection", {}), document.get("min"), document.get("max"))


@dataclass(frozen=True)
class Sample:
    """Documents at random.

    Attributes:
        documents: how many the collection has, about.
        share: of them that the query matches; None where nobody can tell without reading them.
        size: of a matching document, in bytes.
        ids, moments: of matching documents, in order.
    """

    documents: int
    share: float | None
    size: float
    ids: tuple[Any, ...]
    moments: tuple[datetime, ...]

    @property
    def rows(self) -> int | None:
        """How many documents the query matches, about."""
        return None if self.share is None else round(self.documents * self.share)


def take_sample(
    collection: Collection[Document], query: Filter, timestamp_column: str | None, num_partitions: int | None
) -> Sample:
    """Look at random documents of the collection that match `query`; at none where that takes the server long."""
    try:
        return _sample(collection, query, timestamp_column, num_partitions)
    except TIME_IS_UP:
        return Sample(0, None, 0.0, (), ())


def _sample(
    collection: Collection[Document], query: Filter, timestamp_column: str | None, num_partitions: int | None
) -> Sample:
    documents = collection.estimated_document_count(maxTimeMS=_SAMPLE_MILLISECONDS)
    size = max(MIN_SAMPLE, (num_partitions or 0) * SAMPLES_PER_PARTITION)
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


def partition_count(sample: Sample, num_partitions: int | None) -> int:
    """Return how many parts to read in: what is asked for, or by size; one where there is no sample."""
    if sample.rows is None:
        return 1
    if num_partitions is not None:
        return num_partitions
    return min(MAX_PARTITIONS, max(1, round(sample.rows * sample.size / PARTITION_BYTES)))


def by_id(
    collection: Collection[Document],
    query: Filter,
    projection: Filter,
    sample: Sample,
    count: int,
    *,
    shows_any: bool,
) -> tuple[list[Find], tuple[str, ...]]:
    """Return finds by ranges of `_id`, and what is to be said of them.

    Args:
        shows_any: any `_id` may be an end of a range; else only those that tell nothing of a person. The ends are
            part of the job, and whoever may look at the job can read them.
    """
    # Beyond the two outermost there is nothing, and what does not survive as text cannot be an end.
    usable = [value for value in sample.ids if not isinstance(value, MinKey | MaxKey) and _survives(value)]
    plain = [value for value in usable if _tells_nothing(value)]
    risks: tuple[str, ...] = ()
    if len(plain) < len(usable):
        if shows_any:
            risks = ("values of _id are the ends of partitions, and whoever may look at the job can read them",)
        else:
            usable = plain
            risk = "_id may hold personal data, and partitions end at its values only where num_partitions is set, as"
            risks = (f"{risk} whoever may look at the job can read them: num_partitions={count} would suit",)
    ends = [{ID: value} for value in _quantiles(usable, count)]
    finds = [Find(query, projection, minimum, maximum) for minimum, maximum in pairwise([None, *ends, None])]
    last: Filter = {ID: {"$type": "maxKey"}}
    if ends and collection.find_one(last, {ID: 1}) is not None:
        # The one value that an open range does not reach.
        finds.append(Find(both(query, last), projection))
    return finds, risks


def _tells_nothing(value: Any) -> bool:
    """Whether an `_id` is of a type that holds no text: an ObjectId, a number, a date or a UUID."""
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
    """Return finds by parts of the interval, and one for documents without a timestamp where these are wanted."""
    cuts = [None, *_quantiles(sample.moments, count), None]
    finds = [
        Find(both(query, interval_filter(column, interval, after=after, until=until)), projection)
        for after, until in pairwise(cuts)
    ]
    if with_nulls:
        finds.append(Find(both(query, null_filter(column)), projection))
    return finds


def _quantiles(values: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` - 1 values, all different, that cut ordered values into parts of about one size."""
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
