"""Planning of many tables: the session of one table, which answers from the catalog, over a shared connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceUnavailableError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import NULLABLE, REQUIRED, Field, Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.postgresql.column_types import SourceColumn, quoted_identifier
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.page_ranges import plan_by_pages
from sync_pipeline.sources.postgresql.query_columns import QUERY_ALIAS
from sync_pipeline.sources.postgresql.repeated_keys import child_table_risk
from sync_pipeline.sources.postgresql.row_policies import row_policy_risk
from sync_pipeline.sources.postgresql.sequences import NumberedColumn
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.split_points import ReadStatement, SplitColumn, where
from sync_pipeline.sources.postgresql.splits import Cut, cut, of_key, read_plan, small_read, split_columns
from sync_pipeline.sources.postgresql.tables import PostgresqlTable
from sync_pipeline.sources.postgresql.timestamp_range import read_range
from sync_pipeline.sources.postgresql.unread import Timestamps
from sync_pipeline.sources.postgresql.unread_tables import UnreadTables
from sync_pipeline.sources.postgresql.wal_position import WalPosition
from sync_pipeline.sources.source import ReadPlan, SourceClock, SourceDescription


@dataclass(frozen=True)
class TableSession:
    """Plans the read of one table. Sends no request for a small one, except to count rows that no interval contains."""

    config: SyncConfig
    table: PostgresqlTable
    connection: SharedConnection
    clock: SourceClock
    position: WalPosition | None
    unread: UnreadTables
    timestamps: Timestamps | None
    keeps_snapshot: bool = False
    numbered: NumberedColumn | None = None

    def holding(self) -> TableSession:
        """Return the session for a launcher that keeps a snapshot while the rows are read."""
        return replace(self, keeps_snapshot=True)

    def last_number(self) -> int:
        """Return the last number of the sequence of Smart Sync's column. Raises SourceError."""
        assert self.numbered is not None, "the clock shows a number"
        with self.connection.transaction() as connection:
            return self.numbered.last(connection)

    def timestamp_range(self, interval: SyncInterval) -> TimestampRange | None:
        """Return the range of the table's timestamps. Raises SourceError."""
        if self.timestamps is None:
            return None
        with self.connection.transaction() as connection:
            relation = f"{self.table.reference} AS {QUERY_ALIAS}"
            return read_range(connection, relation, self.timestamps.column, interval)

    def describe(self, interval: SyncInterval | None) -> SourceDescription:  # noqa: ARG002 - alike for each
        """Return the columns with their description in the catalog. Raises SourceError or SchemaError."""
        table = self.table
        check_names(column.name for column in table.columns)
        risks = [] if self.timestamps is None else self.unread.risks(self.timestamps)
        if self.config.primary_key and table.children:
            risks = [*risks, child_table_risk(table.reference, table.children)]
        if table.hides_rows:
            risks = [*risks, row_policy_risk(table.reference)]
        return SourceDescription(
            Schema(tuple(map(self._field, table.columns))),
            primary_key=table.key,
            single_table=not table.computes_rows and not table.children,
            risks=tuple(risks),
        )

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return the statements that read the columns of `schema`, and an estimate of their rows."""
        if self.keeps_snapshot and interval is None and (by_pages := self._plan_by_pages(schema)) is not None:
            return by_pages
        statement = ReadStatement(
            self.table.query_columns.selected(schema),
            f"{self.table.reference} AS {QUERY_ALIAS}",
            _query(self.config).conditions(interval, lambda column: f"{QUERY_ALIAS}.{quoted_identifier(column)}"),
        )
        shown = f"SELECT * FROM {statement.source}{where(statement.conditions)}"
        return read_plan(shown, self._cut(statement, interval), self.position)

    def plan_keys(self, schema: Schema) -> ReadPlan:
        """Return the statements that read the key columns of `schema` of all rows."""
        statement = ReadStatement(self.table.query_columns.selected(schema), f"{self.table.reference} AS {QUERY_ALIAS}")
        return read_plan(statement.where(), self._cut_keys(statement, schema), self.position)

    def _plan_by_pages(self, schema: Schema) -> ReadPlan | None:
        assert isinstance(self.config.source, PostgresqlConfig)
        if self.config.source.partition_column is not None:
            return None
        query, columns = f"SELECT * FROM {self.table.reference}", self.table.query_columns
        with self.connection.transaction() as connection:
            try:
                return plan_by_pages(connection, query, columns, schema, self.config.num_partitions, self.position)
            except SourceUnavailableError:
                if connection.closed:
                    raise
                # The table is locked.
                return None

    def _cut_keys(self, statement: ReadStatement, schema: Schema) -> Cut:
        listed = self.table.listed
        if not self.table.computes_rows:
            small = small_read(statement, listed.rows, listed.size, self.config.num_partitions, reads_all=True)
            if small is not None:
                return small
        with self.connection.transaction() as connection:
            candidates = split_columns(connection, self.table.query_columns)
            return self._cut_by(connection, statement, of_key(candidates, schema))

    def _field(self, column: SourceColumn) -> Field:
        if self.config.auto_schema is None:
            return column.field()
        return column.field(
            mode=REQUIRED if column.name in self.table.never_null else NULLABLE,
            description=self.table.comments[column.name],
        )

    def _cut(self, statement: ReadStatement, interval: SyncInterval | None) -> Cut:
        table, listed = self.table, self.table.listed
        assert isinstance(self.config.source, PostgresqlConfig)
        asked_for = self.config.source.partition_column
        if not table.computes_rows and asked_for is None:
            reads_all = interval is None or interval.is_everything
            small = small_read(statement, listed.rows, listed.size, self.config.num_partitions, reads_all=reads_all)
            if small is not None:
                return small
        smart_sync = self.config.smart_sync
        with self.connection.transaction() as connection:
            if interval is not None and interval.is_unbounded:
                # As for keys: a value of the key never leaves a range.
                return self._cut_by(connection, statement, split_columns(connection, table.query_columns))
            candidates = split_columns(
                connection,
                table.query_columns,
                asked_for=asked_for,
                timestamp_column=smart_sync.timestamp_column if smart_sync else None,
                interval_condition=_query(self.config).condition(interval),
                interval_has_no_null=smart_sync is not None
                and bool(statement.conditions)
                and not smart_sync.include_null_timestamps,
            )
            return self._cut_by(connection, statement, candidates)

    def _cut_by(self, connection: Connection, statement: ReadStatement, candidates: Sequence[SplitColumn]) -> Cut:
        try:
            return cut(connection, statement, candidates, self.config.num_partitions)
        except SourceUnavailableError:
            if connection.closed:
                raise
            # The read waits longer for the lock.
            return Cut((statement.where(),), "because the table is locked, and the server cannot plan its read", None)


def _query(config: SyncConfig) -> IntervalQuery:
    # Without text, because a table has no placeholders, whatever its name looks like.
    return IntervalQuery("", config.smart_sync)
