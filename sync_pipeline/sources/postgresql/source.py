"""PostgreSQL as a source: the rows of one query, the catalog of many tables, and the readers for the workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.schema import Schema
from sync_pipeline.sources.catalog import Wanted
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql.catalog import PostgresqlCatalog
from sync_pipeline.sources.postgresql.clock import observe_clock
from sync_pipeline.sources.postgresql.column_types import quoted_identifier
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import open_connection, transaction
from sync_pipeline.sources.postgresql.copy_read import CopyReader, ReadFromPostgresql
from sync_pipeline.sources.postgresql.query_text import single_statement
from sync_pipeline.sources.postgresql.session import PostgresqlSession, begin_session
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.snapshot import held
from sync_pipeline.sources.postgresql.tables import read_tables
from sync_pipeline.sources.postgresql.time_zone import read_zones
from sync_pipeline.sources.postgresql.transport import protection, transport_risks
from sync_pipeline.sources.postgresql.unread_tables import UnreadTables
from sync_pipeline.sources.source import ReadPlan


@dataclass(frozen=True)
class PostgresqlSource:
    """The rows of one query. Opens no connection until `connect` is called.

    Attributes:
        keeps_snapshot: whether `hold` will be called for the planned read.
    """

    config: SyncConfig
    connection: PostgresqlConfig
    keeps_snapshot: bool = False
    transform: ClassVar = ReadFromPostgresql

    @contextmanager
    def connect(self) -> Iterator[PostgresqlSession]:
        """Connect for planning. Raises SourceUnavailableError, SourceQueryError or SchemaError."""
        query = _query(self.connection, self.config.smart_sync)
        with open_connection(self.connection, self.config.max_retries) as connection:
            yield begin_session(self.config, self.connection, query, connection, keeps_snapshot=self.keeps_snapshot)

    def holding(self) -> PostgresqlSource:
        """Return the source for a launcher that keeps a snapshot while the rows are read."""
        return replace(self, keeps_snapshot=True)

    def hold(self, read: ReadPlan) -> AbstractContextManager[ReadPlan]:
        """Keep the snapshot that a read needs; see `snapshot.held`."""
        return held(read, self.connection, self.config.max_retries)

    def reader(self, schema: Schema) -> CopyReader:
        """Return what reads the splits into the columns of `schema`."""
        return CopyReader(self.connection, schema, self.config.max_retries)


@contextmanager
def open_catalog(server: PostgresqlConfig, max_retries: int, wanted: Wanted) -> Iterator[PostgresqlCatalog]:
    """Connect, read the clock and the catalog, to plan many tables.

    Raises:
        SourceUnavailableError, SourceQueryError: the server cannot be reached or rejects a request.
    """
    with open_connection(server, max_retries) as connection:
        with transaction(connection):
            # Before the rows are read: a transaction that begins after this cannot give rows an earlier timestamp.
            observed = observe_clock(connection)
            zones = read_zones(connection)
            tables = read_tables(connection, wanted, is_standby=observed.is_standby)
            protects = protection(server, connection)
            dangers = transport_risks(server, connection)
        shared = SharedConnection(connection)
        yield PostgresqlCatalog(shared, observed, zones, protects, dangers, tables, UnreadTables(shared))


def grants(server: PostgresqlConfig, tables: Sequence[TableName]) -> list[str]:
    """Return the statements that give the user of a run the right to read tables."""
    user = quoted_identifier(server.username)
    schemas = dict.fromkeys(table.schema for table in tables)
    return [
        *(f"GRANT USAGE ON SCHEMA {quoted_identifier(schema)} TO {user};" for schema in schemas),
        *(
            f"GRANT SELECT ON {quoted_identifier(table.schema)}.{quoted_identifier(table.name)} TO {user};"
            for table in tables
        ),
    ]


def open_source(config: SyncConfig) -> PostgresqlSource:
    """Return the source that a configuration of PostgreSQL describes. No connection is opened."""
    assert isinstance(config.source, PostgresqlConfig)
    return PostgresqlSource(config, config.source)


def _query(config: PostgresqlConfig, smart_sync: SmartSyncConfig | None) -> IntervalQuery:
    """Return the query to read: `base_query` with Smart Sync where there is one. Raises ConfigError."""
    query, parameter = config.query, "postgresql_query"
    if smart_sync and config.base_query:
        query, parameter = config.base_query, "postgresql_base_query"
    assert query is not None, "SyncConfig requires a query"
    return IntervalQuery(single_statement(query, parameter), smart_sync)
