"""The catalog of PostgreSQL: all tables of a server for planning, described over one connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.schema import NUMBER_TYPE, SYNC_TYPES
from sync_pipeline.smart_sync.wall_clock import WallClock
from sync_pipeline.sources.postgresql import time_zone
from sync_pipeline.sources.postgresql.clock import ObservedClock
from sync_pipeline.sources.postgresql.column_types import SourceColumn
from sync_pipeline.sources.postgresql.relations import GRANT
from sync_pipeline.sources.postgresql.sequences import number_clock, numbered_column
from sync_pipeline.sources.postgresql.session import clock_of
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.table_session import TableSession
from sync_pipeline.sources.postgresql.tables import PostgresqlTable
from sync_pipeline.sources.postgresql.unread import Timestamps
from sync_pipeline.sources.postgresql.unread_tables import UnreadTables


@dataclass(frozen=True)
class PostgresqlCatalog:
    """A connected server and its tables.

    Attributes:
        transport, risks: those of the connection, for each table's clock.
    """

    connection: SharedConnection
    observed: ObservedClock
    zones: time_zone.ServerZones
    transport: str
    risks: Sequence[str]
    described: Sequence[PostgresqlTable]
    unread: UnreadTables

    @property
    def tables(self) -> Sequence[CatalogTable]:
        return [table.listed for table in self.described]

    def narrowing(self, tables: Sequence[CatalogTable]) -> dict[TableName, dict[str, str]]:
        """Return the columns by which an index of the tables sorts. See `SourceCatalog`."""
        return {table.name: dict.fromkeys(self._by_name[table.name].indexed, "index") for table in tables}

    def session(self, table: CatalogTable, config: SyncConfig) -> TableSession:
        """Return the session that plans one table.

        Sessions that are made before the first of them describes its table share the statements that count rows which
        no interval contains.

        Raises:
            SourceQueryError: the user may not read the table.
            SchemaError: the time zone of its timestamps is unknown, or its numbers cannot be relied on.
            SourceBusyError: a transaction that has taken a number does not end.
        """
        found = self._by_name[table.name]
        if not found.may_select:
            raise SourceQueryError(f"the user has no right to SELECT from {found.reference}: {GRANT}")
        smart_sync = config.smart_sync
        column = _timestamp_column(found, smart_sync)
        wall_clock: WallClock | None = None
        zone_risks: tuple[str, ...] = ()
        timestamps = None
        if smart_sync is not None and column is not None:
            wall_clock, zone_risks = time_zone.wall_clock(lambda: self.zones, column, smart_sync.time_zone)
        if smart_sync is not None and column is not None and column.type.bigquery in SYNC_TYPES:
            may_be_null = column.name not in found.never_null and not smart_sync.include_null_timestamps
            timestamps = Timestamps(found.reference, found.reference, column.name, may_be_null)
            self.unread.add(found, timestamps)
        numbered = None
        if smart_sync is not None and column is not None and column.type.bigquery == NUMBER_TYPE:
            origin = (
                found.oid,
                dict(zip((each.name for each in found.columns), found.numbers, strict=True))[column.name],
            )
            with self.connection.transaction() as connection:
                numbered = numbered_column(connection, column.name, origin, self.observed)
            (clock, position), zone_risks = number_clock(self.connection, numbered, smart_sync.max_hold), ()
        else:
            clock, position = clock_of(self.observed, smart_sync).as_shown_by(wall_clock), self.observed.position
        shown = replace(clock, transport=self.transport, risks=(*self.risks, *clock.risks, *zone_risks))
        return TableSession(config, found, self.connection, shown, position, self.unread, timestamps, numbered=numbered)

    @cached_property
    def _by_name(self) -> dict[object, PostgresqlTable]:
        return {table.listed.name: table for table in self.described}


def _timestamp_column(table: PostgresqlTable, smart_sync: SmartSyncConfig | None) -> SourceColumn | None:
    name = smart_sync.timestamp_column if smart_sync else None
    return next((column for column in table.columns if column.name == name and not column.is_array), None)
