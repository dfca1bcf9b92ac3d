"""The launch's requests to PostgreSQL: the clock, the columns of a query, and how to read its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.schema import NULLABLE, NUMBER_TYPE, REQUIRED, SYNC_TYPES, Schema
from sync_pipeline.smart_sync.interval import ALL_TIMESTAMPS, SyncInterval
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.smart_sync.wall_clock import WallClock
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql import time_zone
from sync_pipeline.sources.postgresql.clock import ObservedClock, observe_clock
from sync_pipeline.sources.postgresql.column_types import SourceColumn, quoted_identifier
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import transaction
from sync_pipeline.sources.postgresql.page_ranges import plan_by_pages
from sync_pipeline.sources.postgresql.query_columns import (
    QUERY_ALIAS,
    QueryColumns,
    TableColumn,
    as_relation,
    described_columns,
    table_columns,
    table_reference,
)
from sync_pipeline.sources.postgresql.repeated_keys import child_table_risks, reads_table_alone
from sync_pipeline.sources.postgresql.row_policies import row_policy_risks
from sync_pipeline.sources.postgresql.sequences import NumberedColumn, number_clock, numbered_column
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.split_points import ReadStatement, where
from sync_pipeline.sources.postgresql.splits import Cut, cut, of_key, read_plan, split_columns
from sync_pipeline.sources.postgresql.timestamp_range import read_range
from sync_pipeline.sources.postgresql.transport import protection, transport_risks
from sync_pipeline.sources.postgresql.unread import Timestamps, text_of_start, unread_rows
from sync_pipeline.sources.postgresql.wal_position import WalPosition
from sync_pipeline.sources.source import ReadPlan, SourceClock, SourceDescription


@dataclass(frozen=True)
class PostgresqlSession:
    """A connection for planning a run. Each step is its own transaction, so none stays open between steps.

    Attributes:
        position: what the servers of the read must have replayed; see `ObservedClock`.
        columns: the query's columns, described in the transaction that read the clock.
        keeps_snapshot: whether a snapshot can be kept while the rows are read.
    """

    config: SyncConfig
    server: PostgresqlConfig
    connection: Connection
    clock: SourceClock
    position: WalPosition | None
    query: IntervalQuery
    columns: QueryColumns
    keeps_snapshot: bool = False
    numbered: NumberedColumn | None = None

    def last_number(self) -> int:
        """Return the last number of the sequence of Smart Sync's column. Raises SourceError."""
        assert self.numbered is not None, "the clock shows a number"
        with transaction(self.connection):
            return self.numbered.last(self.connection)

    def timestamp_range(self, interval: SyncInterval) -> TimestampRange | None:
        """Return the range of the query's timestamps. Raises SourceError."""
        column = self.query.timestamp_column
        if column is None or not _has_timestamps(_timestamps(self.columns, column)):
            return None
        with transaction(self.connection):
            query, _ = self._query_to_read(interval)
            return read_range(self.connection, as_relation(query), column, interval)

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        """Return the query's columns with their description in the catalog. Raises SourceError or SchemaError."""
        query = self.query.of(interval)
        with transaction(self.connection):
            table = self._source_table()
            unread = self._unread_rows(table)
            by_origin = {(column.table_oid, column.number): column for column in table}
            catalog = [by_origin.get(origin) for origin in self.columns.origins]
            reads_alone = all(catalog) and reads_table_alone(self.connection, query, table[0].table_oid)
            repeated = self._repeated_keys(query)
            hidden = row_policy_risks(self.connection, self.columns.table_oids)
        fields = tuple(
            column.field(
                mode=REQUIRED if known and known.is_required else NULLABLE, description=known.comment if known else ""
            )
            for column, known in zip(self.columns.columns, catalog, strict=True)
        )
        return SourceDescription(
            Schema(fields),
            primary_key=_key(table, self.columns),
            single_table=reads_alone,
            risks=(*unread, *repeated, *hidden),
        )

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return the statements that read the columns of `schema`, and the planner's estimate of their rows."""
        with transaction(self.connection):
            query, start_risks = self._query_to_read(interval)
            if self.keeps_snapshot and interval is None and self.server.partition_column is None:
                by_pages = plan_by_pages(
                    self.connection, query, self.columns, schema, self.config.num_partitions, self.position
                )
                if by_pages is not None:
                    return by_pages
            statement = ReadStatement(
                self.columns.selected(schema),
                as_relation(query),
                self.query.conditions(interval, lambda column: f"{QUERY_ALIAS}.{quoted_identifier(column)}"),
            )
            result = self._cut(statement, interval)
        shown = f"SELECT * FROM {statement.source}{where(statement.conditions)}" if statement.conditions else query
        return read_plan(shown, result, self.position, start_risks)

    def plan_keys(self, schema: Schema) -> ReadPlan:
        """Return the statements that read the key columns of `schema`, whatever the rows' timestamps are."""
        with transaction(self.connection):
            query, risks = self._query_to_read(ALL_TIMESTAMPS if self.query.smart_sync else None)
            statement = ReadStatement(self.columns.selected(schema), as_relation(query))
            candidates = of_key(split_columns(self.connection, self.columns), schema)
            result = cut(self.connection, statement, candidates, self.config.num_partitions)
        return read_plan(statement.where(), result, self.position, risks)

    def _query_to_read(self, interval: SyncInterval | None) -> tuple[str, tuple[str, ...]]:
        """Return the query with the interval's bounds for its placeholders, and a warning about the start, if any."""
        if interval is None or not self.query.fills_placeholders:
            return self.query.of(interval), ()
        assert self.query.timestamp_column is not None, "Smart Sync has one"
        start, risks = text_of_start(self.connection, self.query.text, self.query.timestamp_column, interval)
        return self.query.of(interval, start), risks

    def _cut(self, statement: ReadStatement, interval: SyncInterval | None) -> Cut:
        if interval is not None and interval.is_unbounded:
            # All rows: one that moves from one range to another between two reads would seem to be deleted.
            candidates = split_columns(self.connection, self.columns)
            return cut(self.connection, statement, candidates, self.config.num_partitions)
        smart_sync = self.config.smart_sync
        candidates = split_columns(
            self.connection,
            self.columns,
            asked_for=self.server.partition_column,
            timestamp_column=self.query.timestamp_column,
            interval_condition=self.query.condition(interval),
            interval_has_no_null=bool(smart_sync and statement.conditions)
            and not (smart_sync and smart_sync.include_null_timestamps),
        )
        return cut(self.connection, statement, candidates, self.config.num_partitions)

    def _source_table(self) -> list[TableColumn]:
        table = self.config.auto_schema.source_table if self.config.auto_schema else None
        return [] if table is None else table_columns(self.connection, table, self.server.database)

    def _unread_rows(self, table: list[TableColumn]) -> list[str]:
        """Return warnings about rows that no interval contains, of the source table or, if it is unknown, the query."""
        smart_sync = self.config.smart_sync
        if smart_sync is None or not _has_timestamps(_timestamps(self.columns, smart_sync.timestamp_column)):
            return []
        name, takes_null = smart_sync.timestamp_column, smart_sync.include_null_timestamps
        column = next((column for column in table if column.name == name), None)
        if column is not None:
            assert self.config.auto_schema is not None
            assert self.config.auto_schema.source_table is not None
            relation = table_reference(self.config.auto_schema.source_table)
            may_be_null = not (column.is_required or takes_null)
            return unread_rows(self.connection, Timestamps(relation, relation, name, may_be_null))
        if self.query.fills_placeholders:
            return []
        return unread_rows(
            self.connection, Timestamps(as_relation(self.query.text), "the query", name, may_be_null=not takes_null)
        )

    def _repeated_keys(self, query: str) -> list[str]:
        """Return warnings about rows of other tables that a merge may mistake for versions of a table's rows."""
        tables = self.columns.table_oids
        return child_table_risks(self.connection, query, tables) if self.config.primary_key and tables else []


def begin_session(
    config: SyncConfig,
    server: PostgresqlConfig,
    query: IntervalQuery,
    connection: Connection,
    *,
    keeps_snapshot: bool = False,
) -> PostgresqlSession:
    """Describe the query and read the clock, in local time if the query's timestamps have no time zone.

    Raises:
        SourceError: the server cannot be reached or rejects the query.
        SchemaError: two columns have the same name, or the numbers of Smart Sync's column cannot be relied on.
    """
    smart_sync = config.smart_sync
    with transaction(connection):
        # Before the rows are read: a transaction that begins after this cannot give rows an earlier timestamp.
        observed = observe_clock(connection)
        columns = _described(connection, query, observed)
        wall_clock, zone_risks = _wall_clock(connection, columns, smart_sync)
        numbered = _numbered(connection, query, columns, observed)
        protects = protection(server, connection)
        dangers = transport_risks(server, connection)
    if numbered is not None and smart_sync is not None:
        (clock, position), zone_risks = number_clock(SharedConnection(connection), numbered, smart_sync.max_hold), ()
    else:
        clock, position = clock_of(observed, smart_sync).as_shown_by(wall_clock), observed.position
    shown = replace(clock, transport=protects, risks=(*dangers, *clock.risks, *zone_risks))
    return PostgresqlSession(config, server, connection, shown, position, query, columns, keeps_snapshot, numbered)


def _described(connection: Connection, query: IntervalQuery, observed: ObservedClock) -> QueryColumns:
    try:
        return described_columns(connection, query.at(observed.now))
    except SourceQueryError as error:
        if query.fills_placeholders and _NOT_COMPARABLE in str(error):
            raise SourceQueryError(
                f"{error}. The placeholders are filled with timestamps: for numbers, {_NO_PLACEHOLDERS}"
            ) from None
        raise


def _numbered(
    connection: Connection, query: IntervalQuery, columns: QueryColumns, observed: ObservedClock
) -> NumberedColumn | None:
    """Return how Smart Sync's column is numbered; None if it has no integers. Raises SchemaError."""
    column = _timestamps(columns, query.timestamp_column)
    if column is None or column.type.bigquery != NUMBER_TYPE:
        return None
    if query.fills_placeholders:
        raise SchemaError(
            f"smart_sync_timestamp_column: {column.name} has numbers, and placeholders are filled with timestamps: "
            f"{_NO_PLACEHOLDERS}"
        )
    origin = dict(zip((each.name for each in columns.columns), columns.origins, strict=True))[column.name]
    numbered = numbered_column(connection, column.name, origin, observed)
    if not reads_table_alone(connection, query.text, origin[0]):
        raise SchemaError(
            f"smart_sync_timestamp_column: {column.name} has numbers of a sequence, and the query reads more than its "
            "table: a row of another table that is committed later would be lost. Select from the table alone"
        )
    return numbered


# The state of an error when a query compares a placeholder with another type than a timestamp.
_NOT_COMPARABLE = "22P02"

_NO_PLACEHOLDERS = "give postgresql_query without placeholders, and the run adds the condition"


def clock_of(observed: ObservedClock, smart_sync: SmartSyncConfig | None) -> SourceClock:
    """Return the clock for a table; without Smart Sync no interval has an end to warn about."""
    if smart_sync is None:
        return replace(observed.clock(timedelta(), timedelta()), risks=())
    return observed.clock(smart_sync.settle, smart_sync.max_hold)


def _wall_clock(
    connection: Connection, columns: QueryColumns, smart_sync: SmartSyncConfig | None
) -> tuple[WallClock | None, tuple[str, ...]]:
    """Return the clock of timestamps without time zone, if they are such, and warnings about it."""
    if smart_sync is None or (column := _timestamps(columns, smart_sync.timestamp_column)) is None:
        return None, ()
    return time_zone.wall_clock(partial(time_zone.read_zones, connection), column, smart_sync.time_zone)


def _timestamps(columns: QueryColumns, name: str | None) -> SourceColumn | None:
    """Return Smart Sync's column, or None if it is absent or an array."""
    column = columns.by_name.get(name or "")
    return None if column is None or column.is_array else column


def _has_timestamps(column: SourceColumn | None) -> bool:
    return column is not None and column.type.bigquery in SYNC_TYPES


def _key(table: Sequence[TableColumn], columns: QueryColumns) -> tuple[str, ...]:
    """Return the table's key with the column names of the query; empty if the query lacks a key column."""
    names = {origin: column.name for column, origin in zip(columns.columns, columns.origins, strict=True)}
    key = [(column.table_oid, column.number) for column in table if column.is_key]
    return tuple(names[origin] for origin in key) if all(origin in names for origin in key) else ()
