"""The BigQuery source during planning: the clock, the columns, and both read methods."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config
from sync_pipeline.bigquery_api.required_filter import required_filter_column
from sync_pipeline.parameters.config import SmartSyncConfig, SyncConfig
from sync_pipeline.schema import REPEATED, REQUIRED, SYNC_TYPES, Schema
from sync_pipeline.smart_sync.interval import (
    ALL_TIMESTAMPS,
    EARLIEST,
    SyncInterval,
    bound_text,
    zone_without_effect,
)
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.smart_sync.wall_clock import ZONE_GIVEN, WallClock
from sync_pipeline.sources.bigquery.client import JOBS_CREATE, TABLES_READ, source_errors
from sync_pipeline.sources.bigquery.clock import Observation, read_clock
from sync_pipeline.sources.bigquery.config import QUERY_METHOD, STORAGE_METHOD, BigquerySourceConfig
from sync_pipeline.sources.bigquery.queries import Filter, range_sql, rows_sql
from sync_pipeline.sources.bigquery.relation import Relation, dry_run, in_brackets, query_relation, table_relation
from sync_pipeline.sources.bigquery.storage_read import (
    MAX_STREAMS,
    SERVICE_COLUMNS,
    BigqueryRead,
    session_limit,
    streams_for,
)
from sync_pipeline.sources.interval_query import IntervalQuery
from sync_pipeline.sources.source import ReadPlan, Selection, SourceClock, SourceDescription
from sync_pipeline.transforms.in_sql import all_checks, is_plain, reading_sql

# What the parameter says of the query that selects the rows (`Selection`).
_DECLINED = f"source_bigquery_read={STORAGE_METHOD}"
_REQUIRED = f"source_bigquery_read is '{QUERY_METHOD}', but {{blocker}}: use auto or {STORAGE_METHOD}"


@dataclass(frozen=True)
class BigquerySession:
    """A client for planning. Its jobs run in the client's project.

    Attributes:
        query: the user's SELECT; None for a table.
        relation: the relation to read, described when the clock was read.
        asks_for_costs: whether a dry run estimates what every read costs. Otherwise the estimate for a read of a whole
            table is its size.
    """

    config: SyncConfig
    source: BigquerySourceConfig
    client: bigquery.Client
    clock: SourceClock
    query: IntervalQuery | None
    relation: Relation
    asks_for_costs: bool = True

    def timestamp_range(self, interval: SyncInterval) -> TimestampRange | None:
        """Return the range of the timestamps, by a query that reads only this column. Raises SourceError."""
        smart_sync = self.config.smart_sync
        field = self.relation.schema.find(smart_sync.timestamp_column) if smart_sync is not None else None
        if field is None or field.type not in SYNC_TYPES or field.mode == REPEATED:
            return None
        where = replace(self._filter(None), interval=interval, timestamp_column=field.name, timestamp_type=field.type)
        sql = range_sql(self._relation_of(interval).sql, self.relation.schema, where)
        source = self.source
        config = query_config(self.client.project, source.project, source.dataset, source.maximum_bytes_billed)
        permissions = (JOBS_CREATE.format(project=self.client.project), TABLES_READ)
        with source_errors("find the first and the last timestamp", *permissions):
            ((first, last),) = self.client.query_and_wait(sql, job_config=config, retry=REQUEST_RETRY)
        return None if first is None else TimestampRange(first, last)

    def describe(self, interval: SyncInterval | None) -> SourceDescription:  # noqa: ARG002 - the same for every one
        """Return the columns of the table or query."""
        return SourceDescription(self.relation.schema)

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return both read methods for the columns of `schema`. An estimate tells what the read costs."""
        read = self._plan(schema, self._relation_of(interval), self._filter(interval))
        return replace(read, risks=self._earliest_risk(interval))

    def plan_keys(self, schema: Schema) -> ReadPlan:
        """Return both read methods for the key columns of `schema`, whatever the rows' timestamps are."""
        return self._plan(schema, self._relation_of(ALL_TIMESTAMPS), self._filter(None))

    def _plan(self, schema: Schema, relation: Relation, where: Filter) -> ReadPlan:
        sql = rows_sql(relation.sql, relation.schema, schema.names, where)
        is_whole = schema.names == relation.schema.names and where.interval is None
        estimated = self._table_bytes() if is_whole and not self.asks_for_costs else None
        estimator = "its metadata says" if estimated is not None else "BigQuery's dry run estimates"
        if estimated is None:
            estimated = self._estimated_bytes(sql)
        selection = Selection(
            sql=sql,
            schema=Schema(tuple(relation.schema.field(name) for name in schema.names)),
            location=relation.location,
            default_project=self.source.project,
            default_dataset=self.source.dataset,
            maximum_bytes_billed=self.source.maximum_bytes_billed,
            estimated_bytes=estimated,
            declined=_DECLINED if self.source.read == STORAGE_METHOD else "",
            required=_REQUIRED if self.source.read == QUERY_METHOD else "",
            is_bounded_by_interval=where.interval is not None,
        )
        read = self._read(relation, selection, schema, where)
        streams = f"at most {read.streams} streams" if read.streams else f"at least {read.preferred_streams} stream(s)"
        stored = "" if read.table else "of the query's result, "
        return ReadPlan(
            query=sql,
            splits=(read,),
            estimated_rows=self._rows(where),
            estimated_bytes=estimated,
            how=f"Storage Read API, {stored}{streams}{session_limit(estimated or 0)}",
            costs=self._costs(estimated, estimator),
            selection=selection,
            parallel_reads=read.preferred_streams,
        )

    @property
    def _fills_placeholders(self) -> bool:
        return self.query is not None and self.query.fills_placeholders

    def _relation_of(self, interval: SyncInterval | None) -> Relation:
        """Return the relation with the query's placeholders filled."""
        if self.query is None or interval is None:
            return self.relation
        start = bound_text(EARLIEST) if interval.is_everything else None
        return replace(self.relation, sql=in_brackets(self.query.of(interval, start)))

    def _filter(self, interval: SyncInterval | None) -> Filter:
        table = self.relation.table
        where = Filter(partition_column=required_filter_column(table) if table is not None else None)
        smart_sync = self.config.smart_sync
        if smart_sync is None or interval is None or interval.is_unbounded or self._fills_placeholders:
            return where
        column = smart_sync.timestamp_column
        return replace(
            where,
            interval=interval,
            timestamp_column=column,
            timestamp_type=self.relation.schema.field(column).type,
            includes_null=smart_sync.include_null_timestamps,
        )

    def _read(self, relation: Relation, selection: Selection, schema: Schema, where: Filter) -> BigqueryRead:
        """Return the read: of the table itself if it has the columns as they are read, else of a query's result."""
        checks = all_checks(selection.schema, schema, "q")
        keeps_dead_letters = self.config.dead_letter_table is not None
        table = relation.table
        is_direct = (
            table is not None
            and table.table_type == "TABLE"
            and is_plain(selection.schema, schema)
            and not (checks and keeps_dead_letters)
        )
        statement = selection.sql
        if not is_direct:
            service_columns = SERVICE_COLUMNS if checks else None
            statement = reading_sql(selection.sql, selection.schema, schema, service_columns=service_columns)
        most = min(self.config.num_partitions or 0, MAX_STREAMS)
        return BigqueryRead(
            index=1,
            count=1,
            statement=statement,
            project=self.client.project,
            table=table.path.removeprefix("/") if table is not None and is_direct else None,
            condition=where.condition(),
            streams=most,
            # Of a result, whatever is asked for, only BigQuery knows the size.
            preferred_streams=most or streams_for(selection.estimated_bytes or 0, most),
            read_id=uuid.uuid4().hex,
            selection=selection,
            max_retries=self.config.max_retries,
            checks=() if is_direct else checks,
        )

    def _rows(self, where: Filter) -> int | None:
        table = self.relation.table
        return table.num_rows if table is not None and table.table_type == "TABLE" and where.interval is None else None

    def _estimated_bytes(self, sql: str) -> int | None:
        """Return the bytes that the query would read; None if BigQuery gives no estimate.

        BigQuery gives none for tables with row-level security.
        https://cloud.google.com/bigquery/docs/best-practices-row-level-security
        """
        job = dry_run(self.client, self.source, sql, "estimate what reading the source costs")
        estimated = job.total_bytes_processed
        return None if estimated is None else int(estimated)

    def _table_bytes(self) -> int | None:
        table = self.relation.table
        return table.num_bytes if table is not None and table.table_type == "TABLE" else None

    def _costs(self, estimated: int | None, estimator: str) -> str:
        limit = self.source.maximum_bytes_billed
        limited = "no maximum_bytes_billed is set" if limit is None else f"maximum_bytes_billed is {limit:,}"
        if estimated is None:
            return f"reading the source: BigQuery gives no estimate of the bytes; {limited}"
        return f"reading the source: {estimated:,} bytes, as {estimator}; {limited}"

    def _earliest_risk(self, interval: SyncInterval | None) -> tuple[str, ...]:
        if interval is None or not interval.is_everything or not self._fills_placeholders:
            return ()
        problem = f"rows with the timestamp {bound_text(EARLIEST)} are not read: BigQuery has no earlier timestamp"
        return (f"{problem}. Omit the placeholders, or for a merge compare with >=",)


def begin_session(
    config: SyncConfig, source: BigquerySourceConfig, query: IntervalQuery | None, client: bigquery.Client
) -> BigquerySession:
    """Read BigQuery's clock and describe the relation, which determines whether timestamps have a time zone.

    Raises:
        SourceError: BigQuery rejects or cannot answer a request.
        SchemaError: the relation has invalid columns.
    """
    # A statement that begins after this cannot write rows with an earlier timestamp.
    observed = read_clock(client, source.project, looks_at_jobs=config.smart_sync is not None)
    text = query.at(observed.now) if query is not None else None
    relation = table_relation(client, source) if text is None else query_relation(client, source, text)
    clock = shown_clock(observed, config.smart_sync, relation)
    return BigquerySession(config, source, client, clock, query, relation)


def shown_clock(observed: Observation, smart_sync: SmartSyncConfig | None, relation: Relation) -> SourceClock:
    """Return the clock as the timestamps of the relation show it, with warnings about them."""
    clock = observed.source_clock(smart_sync)
    if smart_sync is None:
        return clock
    wall_clock, zone_risks = _wall_clock(smart_sync, relation)
    risks = (*clock.risks, *_null_timestamps(smart_sync, relation), *zone_risks)
    return replace(clock.as_shown_by(wall_clock), risks=risks)


def _wall_clock(smart_sync: SmartSyncConfig, relation: Relation) -> tuple[WallClock | None, tuple[str, ...]]:
    """Return the wall clock of timestamps without a time zone, else None, and warnings about it."""
    field = relation.schema.find(smart_sync.timestamp_column)
    if field is not None and field.type in ("DATETIME", "DATE"):
        # https://cloud.google.com/bigquery/docs/reference/standard-sql/datetime_functions#current_datetime
        origin = ZONE_GIVEN if smart_sync.time_zone else "the default"
        return WallClock(smart_sync.time_zone or "UTC", origin, field.type == "DATE"), ()
    if field is not None and smart_sync.time_zone:
        return None, (zone_without_effect(field.name),)
    return None, ()


def _null_timestamps(smart_sync: SmartSyncConfig, relation: Relation) -> Iterator[str]:
    if smart_sync.include_null_timestamps or relation.table is None:
        return
    field = relation.schema.find(smart_sync.timestamp_column)
    if field is not None and field.mode != REQUIRED:
        yield (
            f"{field.name} may be NULL, and such rows are not read: set it, or use primary_key with "
            "smart_sync_null_timestamps=include"
        )
