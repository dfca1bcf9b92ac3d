"""MongoDB as a source: the documents of one query, for planning and for the workers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.schema import Schema
from sync_pipeline.sources.catalog import Wanted
from sync_pipeline.sources.mongodb import schema_inference, session
from sync_pipeline.sources.mongodb.catalog import MongodbCatalog, read_catalog
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import connected, connected_database, translated_errors
from sync_pipeline.sources.mongodb.connection_string import check_connection_string
from sync_pipeline.sources.mongodb.document_query import DocumentQuery
from sync_pipeline.sources.mongodb.field_choice import choose_fields
from sync_pipeline.sources.mongodb.filters import Filter, parse_filter
from sync_pipeline.sources.mongodb.raw_read import FindReader, ReadFromMongodb

# The aggregation for schema inference reads them differently or rejects them.
# https://www.mongodb.com/docs/manual/reference/operator/projection/
_FIND_ONLY = ("$elemMatch", "$meta", "$slice")

# Schema inference is the slowest request of planning.
_ANSWER_SECONDS = session.ANSWER_SECONDS + schema_inference.LOOK_SECONDS


@dataclass(frozen=True)
class MongodbSource:
    """The documents of one query. Opens no connection until `connect` is called."""

    config: SyncConfig
    connection: MongodbConfig
    transform: ClassVar = ReadFromMongodb

    @contextmanager
    def connect(self) -> Iterator[session.MongodbSession]:
        """Connect for planning. Raises SourceError, ConfigError or SchemaError."""
        with connected(self.connection, self.config.max_retries, answer_seconds=_ANSWER_SECONDS) as collection:
            yield session.begin_session(DocumentQuery(self.config, self.connection), collection)

    def reader(self, schema: Schema) -> FindReader:
        """Return what reads the splits into the columns of `schema`."""
        return FindReader(
            self.connection, DocumentQuery(self.config, self.connection).columns(schema), self.config.max_retries
        )


def open_source(config: SyncConfig) -> MongodbSource:
    """Return the source that a configuration of MongoDB describes. No connection is opened.

    Raises:
        ConfigError: the connection string, the query or the projection is invalid.
    """
    assert isinstance(config.source, MongodbConfig)
    source = config.source
    problems = _connection_problems(source)
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


def grants(server: MongodbConfig, _tables: Sequence[TableName]) -> list[str]:
    """Return the statement, for mongosh, that gives the user of a run the right to read the database."""
    if server.username is None:
        # The connection string names the user.
        return []
    user, database = json.dumps(server.username), json.dumps(server.database)
    return [f'db.getSiblingDB("admin").grantRolesToUser({user}, [{{ role: "read", db: {database} }}])']


@contextmanager
def open_catalog(server: MongodbConfig, max_retries: int, wanted: Wanted) -> Iterator[MongodbCatalog]:
    """Connect and read the clock and the collections. Raises SourceError or ConfigError."""
    problems = _connection_problems(server)
    if problems:
        raise ConfigError(problems)
    with connected_database(server, max_retries, answer_seconds=_ANSWER_SECONDS) as database:
        with translated_errors(server):
            catalog = read_catalog(server, database, wanted)
        yield catalog


def _connection_problems(source: MongodbConfig) -> list[str]:
    return check_connection_string(source.connection_string) if source.connection_string else []


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
