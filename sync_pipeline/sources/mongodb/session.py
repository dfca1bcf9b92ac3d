"""The launch's requests to MongoDB: the clock, the columns of the documents in an interval, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pymongo
from pymongo.collection import Collection

from sync_pipeline.schema import MAX_COLUMNS, Schema
from sync_pipeline.smart_sync.interval import ALL_TIMESTAMPS, StartOrigin, SyncInterval
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.sources.mongodb.bson_types import ID
from sync_pipeline.sources.mongodb.clock import read_clock
from sync_pipeline.sources.mongodb.connection import Document, translated_errors
from sync_pipeline.sources.mongodb.document_query import DocumentQuery
from sync_pipeline.sources.mongodb.field_check import check_fields
from sync_pipeline.sources.mongodb.filters import both, interval_filter
from sync_pipeline.sources.mongodb.key_read import check_keys
from sync_pipeline.sources.mongodb.schema_inference import Inference, infer_types
from sync_pipeline.sources.mongodb.schema_scan import (
    CollectionKind,
    CollectionSize,
    check_ids_are_distinct,
    check_repeated_ids,
    look_up,
    schema_of,
)
from sync_pipeline.sources.mongodb.splits import (
    Find,
    Sample,
    by_id,
    by_timestamp,
    split_count,
    take_sample,
)
from sync_pipeline.sources.mongodb.timestamp_field import (
    check_timestamp_field,
    has_index,
    read_range,
    without_timestamp,
)
from sync_pipeline.sources.mongodb.transport import resolved
from sync_pipeline.sources.source import ReadPlan, ReadSplit, SourceClock, SourceDescription

# How long the launch waits for a quick answer. A slower request has a time limit of its own, sent to the server.
ANSWER_SECONDS = 60

_Collection = Collection[Document]


@dataclass(frozen=True)
class MongodbSession:
    """A client for planning a run.

    Attributes:
        kind: the collection's kind.
        size: the collection's size; None if it has to be asked for.
    """

    query: DocumentQuery
    collection: _Collection
    clock: SourceClock
    kind: CollectionKind
    size: CollectionSize | None = None

    def timestamp_range(self, interval: SyncInterval) -> TimestampRange | None:
        """Return the range of the dates of the query's documents. Raises SourceError."""
        field = self.query.timestamp_field
        if field is None:
            return None
        with translated_errors(self.query.source):
            query = both(self.query.without_interval(interval), interval_filter(field, interval))
            return read_range(self.collection, query, field)

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        """Return the columns of the documents in `interval`, or of all documents. Raises SourceError or SchemaError."""
        with translated_errors(self.query.source):
            return self._described(interval)

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return the find commands that read the documents in `interval`, or all documents of the query."""
        with translated_errors(self.query.source):
            return self._read_plan(schema, interval)

    def plan_keys(self, schema: Schema) -> ReadPlan:
        """Return the find commands that read the key columns of `schema`, whatever the documents' timestamps are."""
        with translated_errors(self.query.source):
            return self._key_plan(schema)

    def _described(self, interval: SyncInterval | None) -> SourceDescription:
        config = self.query.config
        interval_risks = self._interval_risks(interval)
        has_columns = not self.query.source.document_mode
        inference = self._infer_types(interval) if has_columns else Inference({})
        types = dict(inference.types)
        inferred = self.query.with_path(self.query.fields.columns(types))
        schema = schema_of(inferred) if has_columns else self.query.document_schema()
        fields = check_fields(self.collection, self.query.without_interval(interval), config.transformation, types)
        description = SourceDescription(
            schema,
            risks=(*interval_risks, *inference.risks, *fields, *self.query.fields.sent_notes(types)),
            default_primary_key=(ID,),
            has_dynamic_schema=True,
            transformation=self.query.fields.transformation,
        )
        return replace(description, nothing_seen=_not_sampled(inference)) if inference.sampled else description

    def _read_plan(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        id_risks = self._id_risks(schema)
        query = self.query.of(interval)
        is_merged_by_id = interval is not None and not self.query.config.primary_key and ID in schema
        if is_merged_by_id and self.kind.may_repeat_ids:
            id_risks += check_repeated_ids(self.collection, self.kind, query)
        if interval is not None and interval.is_unbounded:
            check_keys(self.collection, self.kind, query, "reconcile", "omit reconcile")
        sample = take_sample(
            self.collection, query, self.query.timestamp_field, self.query.config.num_partitions, self.size
        )
        finds, risks = self._finds(interval, sample)
        count = len(finds)
        shown = Find(query, self.query.projection).statement()
        source = self.query.source
        return ReadPlan(
            query=f"{source.database}.{source.collection}: {shown}",
            splits=tuple(ReadSplit(index, count, find.statement()) for index, find in enumerate(finds, 1)),
            estimated_rows=sample.rows,
            estimated_bytes=sample.bytes,
            risks=(*id_risks, *risks),
        )

    def _key_plan(self, schema: Schema) -> ReadPlan:
        query = self.query.without_interval(ALL_TIMESTAMPS)
        check_keys(self.collection, self.kind, query)
        num_partitions = self.query.config.num_partitions
        sample = take_sample(self.collection, query, None, num_partitions, self.size)
        count = split_count(sample, num_partitions) if self.kind.has_id_order else 1
        projection = self.query.key_projection(schema.names)
        finds = [Find(query, projection)]
        risks: tuple[str, ...] = ()
        if count > 1:
            shows_any = num_partitions is not None
            finds, risks = by_id(self.collection, query, projection, sample, count, shows_any=shows_any)
        statements = [replace(find, of_keys=True).statement() for find in finds]
        return ReadPlan(
            query=statements[0],
            splits=tuple(ReadSplit(index, len(finds), text) for index, text in enumerate(statements, 1)),
            estimated_rows=sample.rows,
            estimated_bytes=sample.bytes,
            splitting=f"by _id, {'from its index alone' if projection == {ID: 1} and not query else 'with documents'}",
            risks=risks,
        )

    def _interval_risks(self, interval: SyncInterval | None) -> list[str]:
        """Return warnings about documents that no interval has. Raises SchemaError when none has a timestamp."""
        column = self.query.interval_field
        if interval is None or interval.is_unbounded or column is None:
            return []
        query, includes_null = self.query.without_interval(interval), self.query.includes_null
        if not includes_null:
            check_timestamp_field(self.collection, query, column)
        is_increment = interval.origin in (StartOrigin.DESTINATION, StartOrigin.LOOKBACK, StartOrigin.BACKFILL)
        return without_timestamp(self.collection, query, column, includes_null=includes_null, is_increment=is_increment)

    def _infer_types(self, interval: SyncInterval | None) -> Inference:
        return infer_types(
            self.collection,
            self.kind,
            self.query.of(interval),
            # Includes excluded fields, to detect misspelt names; the server returns names and types only.
            self.query.user_projection,
            self.query.source.sample_size,
            max_fields=None if self.query.config.transformation.include_fields else MAX_COLUMNS,
            size=self.size,
        )

    def _id_risks(self, schema: Schema) -> list[str]:
        if ID not in schema or schema.field(ID).type != "STRING":
            return []
        # Whatever types this run has found: other runs into the table read other documents.
        query = self.query.without_interval()
        return check_ids_are_distinct(self.collection, {ID: query[ID]} if ID in query else {})

    def _finds(self, interval: SyncInterval | None, sample: Sample) -> tuple[list[Find], tuple[str, ...]]:
        num_partitions = self.query.config.num_partitions
        # A document that the read misses would seem to be deleted.
        sees_all = interval is not None and interval.is_unbounded
        whole = Find(self.query.of(interval), self.query.projection, sees_all=sees_all)
        count = split_count(sample, num_partitions)
        risks: tuple[str, ...] = ()
        column = self.query.interval_field
        if interval is not None and not sees_all and column is not None:
            if has_index(self.collection, column):
                return self._finds_by_timestamp(whole, column, interval, sample, count), ()
            if self.kind.name == "collection":
                count_text = f"{sample.documents:,} " if sample.documents else ""
                risks = (f"{column} has no index: every run looks at all {count_text}documents of the collection",)
        if count == 1 or not self.kind.has_id_order:
            return [whole], risks
        finds, more = by_id(
            self.collection, whole.query, whole.projection, sample, count, shows_any=num_partitions is not None
        )
        return [replace(find, sees_all=sees_all) for find in finds], (*risks, *more)

    def _finds_by_timestamp(
        self, whole: Find, column: str, interval: SyncInterval, sample: Sample, count: int
    ) -> list[Find]:
        if count == 1:
            return [whole]
        query = self.query.without_interval(interval)
        return by_timestamp(
            query, whole.projection, column, interval, sample, count, with_nulls=self.query.includes_null
        )


def begin_session(query: DocumentQuery, collection: _Collection) -> MongodbSession:
    """Read the server's clock. Raises SourceQueryError when the collection does not exist."""
    with translated_errors(query.source):
        with pymongo.timeout(ANSWER_SECONDS):
            kind = look_up(collection)
            clock = read_clock(collection.database)
        shown = clock.source_clock(query.source, resolved(query.source), query.config.smart_sync)
    return MongodbSession(query, collection, shown, kind)


def _not_sampled(inference: Inference) -> str:
    return (
        f"{inference.sampled} were looked at, and the run reads none of them, so that nobody can tell the columns of "
        "the table: set a larger mongodb_schema_sample_size, add an index for the filter, or set "
        "mongodb_document_mode=true"
    )
