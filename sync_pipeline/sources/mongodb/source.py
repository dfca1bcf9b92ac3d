"""MongoDB as a source: `MongodbSource` describes the documents of a query at launch and says how to read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import apache_beam as beam
from pymongo.collection import Collection

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.schema import MAX_COLUMNS, Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.smart_sync.placeholders import has_placeholders
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns
from sync_pipeline.sources.mongodb.bson_types import DOCUMENT, ID
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import Document, connected, translated_errors
from sync_pipeline.sources.mongodb.connection_string import address_risks, check_connection_string
from sync_pipeline.sources.mongodb.field_check import check_fields
from sync_pipeline.sources.mongodb.field_choice import FieldChoice, choose_fields
from sync_pipeline.sources.mongodb.filters import Filter, both, interval_filter, milliseconds, parse_filter
from sync_pipeline.sources.mongodb.raw_read import ReadFromMongodb
from sync_pipeline.sources.mongodb.schema_inference import LOOK_SECONDS, infer_types
from sync_pipeline.sources.mongodb.schema_scan import (
    CollectionKind,
    check_ids_are_distinct,
    check_view_has_distinct_ids,
    look_up,
    schema_of,
)
from sync_pipeline.sources.mongodb.splits import (
    Find,
    Sample,
    by_id,
    by_timestamp,
    partition_count,
    take_sample,
)
from sync_pipeline.sources.mongodb.timestamp_field import check_timestamp_field, has_index, without_timestamp
from sync_pipeline.sources.mongodb.transport import protection, resolved, transport_risks
from sync_pipeline.sources.source import ReadPlan, ReadSplit, SourceDescription

# They mean something else to the aggregation by which the columns are found, or nothing.
# https://www.mongodb.com/docs/manual/reference/operator/projection/
_FIND_ONLY = ("$elemMatch", "$meta", "$slice")

# How long the launch waits for an answer. What may take longer has a limit of its own, which the server is told.
ANSWER_SECONDS = 60


@dataclass(frozen=True)
class MongodbSource:
    """The documents of one query. Nothing is connected until `describe` or `plan_read` is called."""

    config: SyncConfig
    connection: MongodbConfig

    def describe(self) -> SourceDescription:
        """Return the server's clock and the columns; with Smart Sync these follow by `scan`, for an interval.

        Raises SourceUnavailableError, SourceQueryError, also when there is no such collection, or SchemaError.
        """
        with self._connected() as collection:
            kind = look_up(collection)
            now, newest, risks = _clock(collection)
        settle = self._smart_sync.settle if self._smart_sync else timedelta()
        end = milliseconds(min(now, newest) - settle).replace(tzinfo=UTC)
        uri = resolved(self.connection)
        connection_risks = (*address_risks(self.connection, uri), *transport_risks(self.connection, uri))
        description = SourceDescription(
            Schema(()),
            now,
            end,
            risks=connection_risks,
            default_primary_key=(ID,),
            has_dynamic_schema=True,
            transport=protection(self.connection, uri),
            transformation=self._fields.transformation,
        )
        if self._smart_sync is None:
            return self._scanned(description, kind, None)
        description = replace(description, risks=(*connection_risks, *risks))
        return replace(description, scan=partial(self._scanned, description, kind))

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return the finds that read the documents of `interval`, or all of the query."""
        with self._connected() as collection:
            kind = look_up(collection)
            id_risks = self._id_risks(collection, schema)
            query = self._query(interval)
            if kind.name == "view" and interval is not None and not self.config.primary_key and ID in schema:
                id_risks += check_view_has_distinct_ids(collection, query)
            sample = take_sample(collection, query, self._timestamp_field, self.config.num_partitions)
            finds, risks = self._finds(collection, kind, interval, sample)
        count = len(finds)
        shown = Find(query, self._projection).statement()
        return ReadPlan(
            query=f"{self.connection.database}.{self.connection.collection}: {shown}",
            splits=tuple(ReadSplit(index, count, find.statement()) for index, find in enumerate(finds, 1)),
            estimated_rows=sample.rows,
            risks=(*id_risks, *risks),
        )

    def read(self, schema: Schema, run_id: str = "") -> beam.PTransform:
        """Return the transform from partitions to batches of `schema`, dead letters and failures."""
        return ReadFromMongodb(
            self.connection,
            self.columns(schema),
            batch_size=self.config.batch_size,
            max_retries=self.config.max_retries,
            keeps_dead_letters=self.config.dead_letter_table is not None,
            run_id=run_id,
        )

    def columns(self, schema: Schema) -> DocumentColumns:
        """Return what documents are read into; what is left out on purpose is no loss."""
        fields = self._fields
        return DocumentColumns(
            schema,
            parsed=frozenset(fields.transformation.type_overrides),
            left_out=frozenset(fields.transformation.exclude_fields),
            ignores_unknown=bool(fields.transformation.include_fields) or self.config.schema_evolution == "ignore",
            has_document=self.connection.document_mode,
            removed=fields.removed,
            hashed=fields.hashed,
            hashed_in_document=fields.hashed_in_document,
            hash_key=self.config.hash_key,
            path=self._path,
        )

    def _scanned(
        self, description: SourceDescription, kind: CollectionKind, interval: SyncInterval | None
    ) -> SourceDescription:
        """Return the description with the columns of the documents in `interval`, or of all."""
        risks = list(description.risks)
        nothing_seen = description.nothing_seen
        with self._connected(LOOK_SECONDS) as collection:
            column = self._timestamp_field
            if interval is not None and column is not None and not self._says_interval:
                query = parse_filter(self.connection.query, "mongodb_query", interval)
                if not self._includes_null:
                    check_timestamp_field(collection, query, column)
                is_increment = interval.origin in (StartOrigin.DESTINATION, StartOrigin.LOOKBACK)
                risks += without_timestamp(
                    collection, query, column, includes_null=self._includes_null, is_increment=is_increment
                )
            types: Mapping[str, frozenset[str]] = {}
            if self.connection.document_mode:
                schema = self._document_schema()
            else:
                inference = infer_types(
                    collection,
                    kind,
                    self._query(interval),
                    # With excluded fields, so that a misspelt name is found: only names and types are asked for.
                    self._user_projection,
                    self.connection.sample_size,
                    max_fields=None if self.config.transformation.include_fields else MAX_COLUMNS,
                )
                types = inference.types
                schema = schema_of(self._with_path(self._fields.columns(types)))
                risks += inference.risks
                if inference.sampled:
                    nothing_seen = (
                        f"{inference.sampled} were looked at, and the run reads none of them, so that nobody can tell "
                        "the columns of the table: set a larger mongodb_schema_sample_size, add an index for the "
                        "filter, or set mongodb_document_mode=true"
                    )
            risks += self._field_risks(collection, types, interval)
        return replace(description, schema=schema, risks=tuple(risks), nothing_seen=nothing_seen)

    def _id_risks(self, collection: Collection[Document], schema: Schema) -> list[str]:
        if ID not in schema or schema.field(ID).type != "STRING":
            return []
        # Whatever types this run has seen: other runs into the table read other documents.
        query = parse_filter(self.connection.query, "mongodb_query")
        return check_ids_are_distinct(collection, {ID: query[ID]} if ID in query else {})

    def _with_path(self, types: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Return the fields with Smart Sync's, where that lies deeper in the documents than they do."""
        if not types or not self._path or not self._fields.has_column(self._timestamp_head):
            return types
        return {**types, ".".join(self._path): frozenset({"date"})}

    def _document_schema(self) -> Schema:
        choice = self._fields
        fields = [Field(ID, "STRING", source_type="any")] if choice.sends_id else []
        if self._timestamp_column and self._timestamp_column != ID and choice.has_column(self._timestamp_head):
            fields.append(Field(self._timestamp_column, "TIMESTAMP", source_type="date"))
        return Schema((*fields, Field(DOCUMENT, "JSON", source_type="object")))

    def _finds(
        self, collection: Collection[Document], kind: CollectionKind, interval: SyncInterval | None, sample: Sample
    ) -> tuple[list[Find], tuple[str, ...]]:
        whole = [Find(self._query(interval), self._projection)]
        count = partition_count(sample, self.config.num_partitions)
        risks: tuple[str, ...] = ()
        column = self._timestamp_field
        if interval is not None and column is not None and not self._says_interval:
            if has_index(collection, column):
                if count == 1:
                    return whole, ()
                query = parse_filter(self.connection.query, "mongodb_query", interval)
                finds = by_timestamp(
                    query, self._projection, column, interval, sample, count, with_nulls=self._includes_null
                )
                return finds, ()
            if kind.name == "collection":
                count_text = f"{sample.documents:,} " if sample.documents else ""
                risks = (f"{column} has no index: every run looks at all {count_text}documents of the collection",)
        if count == 1 or not kind.has_id_order:
            return whole, risks
        finds, more = by_id(
            collection,
            whole[0].query,
            self._projection,
            sample,
            count,
            shows_any=self.config.num_partitions is not None,
        )
        return finds, (*risks, *more)

    @property
    def _smart_sync(self) -> SmartSyncConfig | None:
        return self.config.smart_sync

    @property
    def _timestamp_column(self) -> str | None:
        return self._smart_sync.timestamp_column if self._smart_sync else None

    @property
    def _timestamp_field(self) -> str | None:
        """Smart Sync's field, or the path to it."""
        return self.connection.timestamp_field if self._smart_sync else None

    @property
    def _timestamp_head(self) -> str:
        """The field at the top of the document that is Smart Sync's, or has it."""
        return self.connection.timestamp_field.split(".")[0]

    @property
    def _path(self) -> tuple[str, ...]:
        """The path to Smart Sync's field where that is not read as a field of the column's name is."""
        if self._timestamp_field is None or self._timestamp_field == self._timestamp_column:
            return ()
        names = tuple(self._timestamp_field.split("."))
        return names if len(names) > 1 or self.connection.document_mode else ()

    @property
    def _includes_null(self) -> bool:
        return self._smart_sync is not None and self._smart_sync.include_null_timestamps

    @property
    def _says_interval(self) -> bool:
        """Whether the query says itself where the interval's bounds go."""
        return has_placeholders(self.connection.query or "")

    def _field_risks(
        self, collection: Collection[Document], types: Mapping[str, frozenset[str]], interval: SyncInterval | None
    ) -> list[str]:
        query = parse_filter(self.connection.query, "mongodb_query", interval)
        risks = check_fields(collection, query, self.config.transformation, types)
        return [*risks, *self._fields.sent_notes(types)]

    @property
    def _user_projection(self) -> Filter:
        return parse_filter(self.connection.projection, "mongodb_projection")

    @property
    def _fields(self) -> FieldChoice:
        return choose_fields(
            self.config.transformation, self._user_projection, document_mode=self.connection.document_mode
        )

    @property
    def _projection(self) -> Filter:
        return self._fields.projection

    def _query(self, interval: SyncInterval | None) -> Filter:
        query = parse_filter(self.connection.query, "mongodb_query", interval)
        if interval is None or self._timestamp_field is None or self._says_interval:
            return query
        return both(query, interval_filter(self._timestamp_field, interval, with_nulls=self._includes_null))

    @contextmanager
    def _connected(self, more_seconds: float = 0) -> Iterator[Collection[Document]]:
        """Connect for the launch's questions, each to be answered within ANSWER_SECONDS and `more_seconds`."""
        seconds = ANSWER_SECONDS + more_seconds
        with (
            connected(self.connection, self.config.max_retries, answer_seconds=seconds) as collection,
            translated_errors(self.connection),
        ):
            yield collection


def open_source(config: SyncConfig) -> MongodbSource:
    """Return the source that a configuration of MongoDB describes. No connection is opened.

    Raises ConfigError: the connection string, the query or the projection cannot be used.
    """
    assert isinstance(config.source, MongodbConfig)
    source = config.source
    problems = check_connection_string(source.connection_string) if source.connection_string else []
    for text, parameter in ((source.query, "mongodb_query"), (source.projection, "mongodb_projection")):
        try:
            parsed = parse_filter(text, parameter)
        except ConfigError as error:
            problems += error.problems
            continue
        if parameter == "mongodb_projection" and not (found := _projection_problems(parsed)):
            try:
                choose_fields(config.transformation, parsed, document_mode=source.document_mode)
            except ConfigError as error:
                problems += error.problems
        elif parameter == "mongodb_projection":
            problems += found
    if problems:
        raise ConfigError(problems)
    return MongodbSource(config, source)


def _projection_problems(projection: Filter) -> list[str]:
    found = [
        operator
        for value in projection.values()
        if isinstance(value, Mapping)
        for operator in _FIND_ONLY
        if operator in value
    ]
    found += [key for key in projection if key.endswith(".$")]
    return [
        f"mongodb_projection uses {name}, which not all commands of MongoDB know: choose fields with 1 and 0, or with "
        "an aggregation expression"
        for name in found
    ]


def _clock(collection: Collection[Document]) -> tuple[datetime, datetime, tuple[str, ...]]:
    """Return the server's clock, how far what we can read has come, and what is to be said of it.

    A member of a replica set says when the last write was that a majority has; later ones are not seen yet. A server
    that stands alone has all that it knows.
    """
    database = collection.database.client.admin
    hello = database.command("hello", read_preference=collection.read_preference)
    now = hello["localTime"].replace(tzinfo=UTC)
    newest = now
    seen = hello.get("lastWrite", {}).get("majorityWriteDate")
    if seen is not None:
        newest = min(now, seen.replace(tzinfo=UTC))
    risks: tuple[str, ...] = ()
    if hello.get("secondary"):
        risk = (
            "a secondary is read, and another one may be further behind: what it has not copied yet is covered only by"
        )
        risks = (f"{risk} smart_sync_settle_seconds and smart_sync_lookback_seconds",)
    return now, newest, risks
