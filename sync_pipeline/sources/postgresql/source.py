"""PostgreSQL as a source: `PostgresqlSource` describes a query at launch and says how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import apache_beam as beam
from psycopg2.extensions import Column
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import NULLABLE, REQUIRED, Schema
from sync_pipeline.smart_sync.interval import BEGINNING, EARLIEST, StartOrigin, SyncInterval, timestamp_text
from sync_pipeline.smart_sync.placeholders import fill_placeholders, has_placeholders
from sync_pipeline.smart_sync.wall_clock import WallClock
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.postgresql.clock import ServerClock, read_clock
from sync_pipeline.sources.postgresql.column_types import SourceColumn, quoted_identifier
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.connection import connected, translated_errors
from sync_pipeline.sources.postgresql.copy_read import ReadFromPostgresql
from sync_pipeline.sources.postgresql.not_null import never_null_columns
from sync_pipeline.sources.postgresql.query_text import single_statement
from sync_pipeline.sources.postgresql.repeated_keys import child_table_risks, reads_table_alone
from sync_pipeline.sources.postgresql.row_policies import row_policy_risks
from sync_pipeline.sources.postgresql.split_points import ReadStatement, where
from sync_pipeline.sources.postgresql.splits import cut, split_columns
from sync_pipeline.sources.postgresql.time_zone import wall_clock
from sync_pipeline.sources.postgresql.transport import protection, transport_risks
from sync_pipeline.sources.postgresql.unread import Timestamps, text_of_start, unread_rows
from sync_pipeline.sources.source import ReadPlan, ReadSplit, SourceDescription

# The largest that can be declared; the driver answers a larger one where none is.
_MAX_PRECISION = 1000

_QUERY_ALIAS = "q"
_DESCRIBE_PREFIX = "SELECT * FROM (\n"
_SUFFIX = f"\n) AS {_QUERY_ALIAS}"

_TYPES_SQL = """
    WITH RECURSIVE described AS (
        SELECT t.oid AS described_oid, t.oid, t.typbasetype, t.typtype, t.typname, false AS is_array
        FROM pg_type t WHERE t.oid = ANY(%(oids)s)
      UNION ALL
        SELECT d.described_oid, t.oid, t.typbasetype, t.typtype, t.typname, d.is_array OR t.typarray = d.oid
        FROM described d JOIN pg_type t ON t.oid = d.typbasetype OR t.typarray = d.oid
    )
    -- An enum or a row type may be called like a base type of ours.
    SELECT described_oid, CASE typtype WHEN 'b' THEN typname ELSE '' END, typtype IN ('c', 'p'), is_array,
           format_type(described_oid, NULL)
    FROM described d
    WHERE NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = d.typbasetype OR t.typarray = d.oid)
"""

_SOURCE_TABLE_SQL = """
    SELECT c.oid, a.attnum, a.attname, col_description(c.oid, a.attnum),
           coalesce(a.attnum = ANY(k.conkey), false)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE c.oid = to_regclass(%(name)s)
    ORDER BY array_position(k.conkey, a.attnum), a.attnum
"""


@dataclass(frozen=True)
class _TableColumn:
    """What the catalog says of one column of `source_table_for_schema`."""

    table_oid: int
    number: int
    name: str
    is_required: bool
    comment: str
    is_key: bool


@dataclass(frozen=True)
class PostgresqlSource:
    """The rows of one query. Nothing is connected until `describe` or `plan_read` is called."""

    config: SyncConfig
    connection: PostgresqlConfig

    def describe(self) -> SourceDescription:
        """Return the query's columns and the server's clock.

        Raises SourceUnavailableError, SourceQueryError, or SchemaError when two columns have one name.
        """
        beginning = SyncInterval(BEGINNING, BEGINNING, StartOrigin.EVERYTHING)
        query = self._query(beginning if self.config.smart_sync else None)
        with connected(self.connection, self.config.max_retries) as connection:
            # Well before the rows are read: who opens a transaction after this cannot stamp rows with an earlier time.
            clock = self._clock(connection)
            columns, origins = _described_columns(connection, query)
            table = self._source_table(connection)
            wall_clock, zone_risks = self._wall_clock(connection, columns)
            unread = self._unread_rows(connection, columns, table)
            by_origin = {(column.table_oid, column.number): column for column in table}
            catalog = [by_origin.get(origin) for origin in origins]
            reads_alone = all(catalog) and reads_table_alone(connection, query, table[0].table_oid)
            repeated = self._repeated_keys(connection, query, origins)
            hidden = row_policy_risks(connection, {oid for oid, _ in origins if oid})
            protects = protection(self.connection, connection)
            dangers = transport_risks(self.connection, connection)
        fields = tuple(
            column.field(
                mode=REQUIRED if known and known.is_required else NULLABLE, description=known.comment if known else ""
            )
            for column, known in zip(columns, catalog, strict=True)
        )
        schema = Schema(fields)
        names = {known.number: column.name for column, known in zip(columns, catalog, strict=True) if known}
        key = [column.number for column in table if column.is_key]
        return SourceDescription(
            schema,
            clock.now if wall_clock is None else wall_clock.reading(clock.now),
            clock.safe.end if wall_clock is None else wall_clock.passed(clock.safe.end),
            tuple(names[number] for number in key) if all(number in names for number in key) else (),
            single_table=reads_alone,
            transport=protects,
            risks=(
                *dangers,
                *(clock.safe.warnings if self.config.smart_sync else ()),
                *zone_risks,
                *unread,
                *repeated,
                *hidden,
            ),
            wall_clock=wall_clock,
        )

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return the statements that read the columns of `schema`, and the planner's estimate of their rows."""
        query = self._query(interval)
        fills_placeholders = has_placeholders(self._query_template)
        start_risks: tuple[str, ...] = ()
        condition = "" if interval is None else self._interval_condition(interval)
        with connected(self.connection, self.config.max_retries) as connection:
            if interval is not None and fills_placeholders:
                start, start_risks = text_of_start(connection, self._query(None), self._timestamp_column, interval)
                query = fill_placeholders(self._query(None), interval, start)
            columns, origins = _described_columns(connection, query)
            by_name = {column.name: column for column in columns}
            statement = ReadStatement(
                ",\n       ".join(by_name[field.name].expression(field, _QUERY_ALIAS) for field in schema),
                f"(\n{query}{_SUFFIX}",
                () if interval is None or fills_placeholders else (condition.format(column=self._timestamp_reference),),
            )
            smart_sync = self.config.smart_sync
            candidates = split_columns(
                connection,
                columns,
                origins,
                asked_for=self.connection.partition_column,
                timestamp_column=smart_sync.timestamp_column if smart_sync else None,
                interval_condition=condition,
                interval_has_no_null=bool(smart_sync and statement.conditions)
                and not (smart_sync and smart_sync.include_null_timestamps),
            )
            result = cut(connection, statement, candidates, self.config.num_partitions)
        count = len(result.statements)
        return ReadPlan(
            query=f"SELECT * FROM {statement.source}{where(statement.conditions)}" if statement.conditions else query,
            splits=tuple(ReadSplit(index, count, part) for index, part in enumerate(result.statements, 1)),
            estimated_rows=result.estimated_rows,
            splitting=result.reason,
            risks=(*start_risks, *result.risks),
        )

    def read(self, schema: Schema, run_id: str = "") -> beam.PTransform:
        """Return the transform from partitions to batches of `schema`, dead letters and failures."""
        return ReadFromPostgresql(
            self.connection,
            schema,
            batch_size=self.config.batch_size,
            max_retries=self.config.max_retries,
            keeps_dead_letters=self.config.dead_letter_table is not None,
            run_id=run_id,
        )

    @property
    def _query_template(self) -> str:
        query = self.connection.query
        if self.config.smart_sync:
            query = self.connection.base_query or query
        assert query is not None, "SyncConfig requires a query"
        return query

    def _query(self, interval: SyncInterval | None) -> str:
        """Return the one statement of the user's query, without what follows it."""
        query = self._query_template
        parameter = "postgresql_base_query" if query == self.connection.base_query else "postgresql_query"
        query = single_statement(query, parameter)
        return fill_placeholders(query, interval) if interval else query

    @property
    def _timestamp_column(self) -> str:
        assert self.config.smart_sync is not None
        return self.config.smart_sync.timestamp_column

    @property
    def _timestamp_reference(self) -> str:
        return f"{_QUERY_ALIAS}.{quoted_identifier(self._timestamp_column)}"

    def _interval_condition(self, interval: SyncInterval) -> str:
        """Return what the timestamps of the interval's rows fulfil, with `{column}` for the column."""
        assert self.config.smart_sync is not None
        start, end = timestamp_text(interval.after or EARLIEST), timestamp_text(interval.end)
        after = ">" if interval.after else ">="
        condition = f"{{column}} {after} '{start}' AND {{column}} <= '{end}'"
        if self.config.smart_sync.include_null_timestamps:
            condition = f"{condition} OR {{column}} IS NULL"
        return condition

    def _clock(self, connection: Connection) -> ServerClock:
        smart_sync = self.config.smart_sync
        if smart_sync is None:
            return read_clock(connection, timedelta(), timedelta())
        return read_clock(connection, smart_sync.settle, smart_sync.max_hold)

    def _wall_clock(
        self, connection: Connection, columns: list[SourceColumn]
    ) -> tuple[WallClock | None, tuple[str, ...]]:
        """Return the clock of the timestamps where they have no time zone, and what is to be said of it."""
        smart_sync = self.config.smart_sync
        column = next((column for column in columns if smart_sync and column.name == smart_sync.timestamp_column), None)
        if smart_sync is None or column is None or column.is_array:
            return None, ()
        return wall_clock(connection, column, smart_sync.time_zone)

    def _unread_rows(self, connection: Connection, columns: list[SourceColumn], table: list[_TableColumn]) -> list[str]:
        """Return sentences on rows that no interval contains: of the source table, where it is known, or the query."""
        smart_sync = self.config.smart_sync
        if smart_sync is None or not self._has_timestamps(columns):
            return []
        name, takes_null = smart_sync.timestamp_column, smart_sync.include_null_timestamps
        column = next((column for column in table if column.name == name), None)
        if column is not None:
            may_be_null = not (column.is_required or takes_null)
            return unread_rows(
                connection, Timestamps(self._source_table_name, self._source_table_name, name, may_be_null)
            )
        if has_placeholders(self._query_template):
            return []
        query = f"(\n{self._query(None)}{_SUFFIX}"
        return unread_rows(connection, Timestamps(query, "the query", name, not takes_null))

    def _repeated_keys(self, connection: Connection, query: str, origins: list[tuple[int, int]]) -> list[str]:
        """Return sentences on rows of other tables that a merge may take for versions of a table's rows."""
        tables = {oid for oid, _ in origins if oid}
        return child_table_risks(connection, query, tables) if self.config.primary_key and tables else []

    def _has_timestamps(self, columns: list[SourceColumn]) -> bool:
        smart_sync = self.config.smart_sync
        column = next((column for column in columns if smart_sync and column.name == smart_sync.timestamp_column), None)
        return column is not None and not column.is_array and column.type.bigquery in ("DATETIME", "TIMESTAMP")

    @property
    def _source_table_name(self) -> str:
        table = self.config.auto_schema.source_table if self.config.auto_schema else None
        assert table is not None, "only asked for where there is one"
        return ".".join(quoted_identifier(part) for part in (table.schema, table.name) if part)

    def _source_table(self, connection: Connection) -> list[_TableColumn]:
        auto_schema = self.config.auto_schema
        if auto_schema is None or auto_schema.source_table is None:
            return []
        with translated_errors(), connection.cursor() as cursor:
            cursor.execute(_SOURCE_TABLE_SQL, {"name": self._source_table_name})
            rows = cursor.fetchall()
            never_null = never_null_columns(cursor, rows[0][0]) if rows else frozenset()
        if not rows:
            raise SchemaError(
                f"source_table_for_schema: {self._source_table_name} is not a table the user can see in database "
                f"{self.connection.database}: give it as schema.table, and quote names with capitals"
            )
        return [
            _TableColumn(oid, number, column, number in never_null, comment or "", is_key)
            for oid, number, column, comment, is_key in rows
        ]


def open_source(config: SyncConfig) -> PostgresqlSource:
    """Return the source that a configuration of PostgreSQL describes. No connection is opened."""
    assert isinstance(config.source, PostgresqlConfig)
    return PostgresqlSource(config, config.source)


def _described_columns(connection: Connection, query: str) -> tuple[list[SourceColumn], list[tuple[int, int]]]:
    """Return the query's columns, and for each the table and column number it comes from unchanged."""
    with translated_errors(len(_DESCRIBE_PREFIX), query), connection.cursor() as cursor:
        cursor.execute(f"{_DESCRIBE_PREFIX}{query}{_SUFFIX} LIMIT 0")
        described = cursor.description or ()
        cursor.execute(_TYPES_SQL, {"oids": [column.type_code for column in described]})
        types = {oid: rest for oid, *rest in cursor.fetchall()}
    check_names(column.name for column in described)
    columns = []
    for column in described:
        type_name, is_composite, is_array, declared_type = types[column.type_code]
        precision, scale = _precision_and_scale(column)
        if precision is not None:
            declared_type = f"numeric({precision},{scale})"
        columns.append(SourceColumn(column.name, type_name, declared_type, is_array, is_composite, precision, scale))
    return columns, [(column.table_oid or 0, column.table_column or 0) for column in described]


def _precision_and_scale(column: Column) -> tuple[int | None, int | None]:
    """Return p and s of numeric(p,s), or two None."""
    if column.precision is None or column.scale is None or column.precision > _MAX_PRECISION:
        return None, None
    # The driver reads 16 bits, of which PostgreSQL uses 11 with a sign: numeric(3,-2) is allowed.
    return column.precision, ((column.scale & 0x7FF) ^ 0x400) - 0x400
