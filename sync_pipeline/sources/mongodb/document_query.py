"""The filter and fields of a query for documents, and the columns for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.placeholders import has_placeholders
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns
from sync_pipeline.sources.mongodb.bson_types import DOCUMENT, ID
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.field_choice import FieldChoice, choose_fields
from sync_pipeline.sources.mongodb.filters import Filter, both, interval_filter, parse_filter


@dataclass(frozen=True)
class DocumentQuery:
    """The documents that the parameters select. Raises ConfigError when a parameter is invalid."""

    config: SyncConfig
    source: MongodbConfig

    def of(self, interval: SyncInterval | None) -> Filter:
        """Return the filter for the documents in `interval`, or for all documents."""
        query = self.without_interval(interval)
        field = self.interval_field
        if interval is None or interval.is_unbounded or field is None:
            return query
        return both(query, interval_filter(field, interval, with_nulls=self.includes_null))

    def without_interval(self, interval: SyncInterval | None = None) -> Filter:
        """Return the user's filter, with the bounds of `interval` only for its placeholders."""
        return parse_filter(self.source.query, "mongodb_query", interval)

    @cached_property
    def user_projection(self) -> Filter:
        return parse_filter(self.source.projection, "mongodb_projection")

    @cached_property
    def fields(self) -> FieldChoice:
        return choose_fields(self.config.transformation, self.user_projection, document_mode=self.source.document_mode)

    @property
    def projection(self) -> Filter:
        return self.fields.projection

    def key_projection(self, key: tuple[str, ...]) -> Filter:
        """Return the projection of a read of the columns of `key`.

        The index on `_id` alone has `_id`. The field of another column is not known, as several names may become it: so
        documents are read as they are for their rows.
        """
        computed = any(
            (field == ID and value != 1) or field.startswith(f"{ID}.") for field, value in self.projection.items()
        )
        return {ID: 1} if key == (ID,) and not computed else self.projection

    @property
    def includes_null(self) -> bool:
        """Whether documents without a timestamp are read too."""
        return self.config.smart_sync is not None and self.config.smart_sync.include_null_timestamps

    @property
    def timestamp_field(self) -> str | None:
        """Smart Sync's field, or the path to it."""
        return self.source.timestamp_field if self.config.smart_sync else None

    @property
    def interval_field(self) -> str | None:
        """The field to compare with the interval's bounds; None if the query has placeholders for them."""
        return None if has_placeholders(self.source.query or "") else self.timestamp_field

    def columns(self, schema: Schema) -> DocumentColumns:
        """Return the columns for the documents; fields that are excluded on purpose do not count as lost."""
        fields = self.fields
        return DocumentColumns(
            schema,
            parsed=frozenset(fields.transformation.type_overrides),
            left_out=frozenset(fields.transformation.exclude_fields),
            ignores_unknown=bool(fields.transformation.include_fields) or self.config.schema_evolution == "ignore",
            has_document=self.source.document_mode,
            removed=fields.removed,
            hashed=fields.hashed,
            hashed_in_document=fields.hashed_in_document,
            hash_key=self.config.hash_key,
            path=self._path,
        )

    def with_path(self, types: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Return the types of the fields, with Smart Sync's field added if it is read by a path."""
        if not types or not self._path or not self.fields.has_column(self._timestamp_head):
            return types
        return {**types, ".".join(self._path): frozenset({"date"})}

    def document_schema(self) -> Schema:
        """Return the columns of `mongodb_document_mode`."""
        choice = self.fields
        fields = [Field(ID, "STRING", source_type="any")] if choice.sends_id else []
        column = self._timestamp_column
        if column and column != ID and choice.has_column(self._timestamp_head):
            fields.append(Field(column, "TIMESTAMP", source_type="date"))
        return Schema((*fields, Field(DOCUMENT, "JSON", source_type="object")))

    @property
    def _timestamp_column(self) -> str | None:
        return self.config.smart_sync.timestamp_column if self.config.smart_sync else None

    @property
    def _timestamp_head(self) -> str:
        """The top-level field that is, or contains, Smart Sync's field."""
        return self.source.timestamp_field.split(".")[0]

    @property
    def _path(self) -> tuple[str, ...]:
        """The path from which Smart Sync's column is read; empty if it is read like any other field."""
        if self.timestamp_field is None or self.timestamp_field == self._timestamp_column:
            return ()
        names = tuple(self.timestamp_field.split("."))
        return names if len(names) > 1 or self.source.document_mode else ()
