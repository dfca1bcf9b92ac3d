"""BigQuery as a source: `BigquerySource` describes a table or a query at launch and says how its rows can go."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

import apache_beam as beam
from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config
from sync_pipeline.bigquery_api.required_filter import required_filter_column
from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.googlesql import quoted
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import ARROW_TYPES, INTERVAL, RANGE, REQUIRED, STRUCT, Field, Schema
from sync_pipeline.smart_sync.interval import (
    BEGINNING,
    EARLIEST,
    StartOrigin,
    SyncInterval,
    timestamp_text,
    zone_without_effect,
)
from sync_pipeline.smart_sync.placeholders import fill_placeholders, has_placeholders
from sync_pipeline.smart_sync.wall_clock import ZONE_GIVEN, WallClock
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.bigquery.client import (
    JOBS_CREATE,
    TABLES_GET,
    TABLES_READ,
    open_source_client,
    source_errors,
)
from sync_pipeline.sources.bigquery.clock import read_clock
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.bigquery.queries import Filter, rows_sql
from sync_pipeline.sources.bigquery.query_text import single_statement
from sync_pipeline.sources.bigquery.storage_read import (
    MAX_STREAMS,
    SERVICE_COLUMNS,
    BigqueryRead,
    ReadFromBigquery,
    session_limit,
)
from sync_pipeline.sources.source import ReadPlan, Selection, SourceDescription
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.transforms.in_sql import all_checks, is_plain, reading_sql

_KNOWN_TYPES = frozenset({*ARROW_TYPES, INTERVAL, RANGE, STRUCT})


@dataclass(frozen=True)
class _Relation:
    """What is read.

    Attributes:
        sql: what follows FROM: a quoted table, or a query in brackets.
        location: None for a query that reads no table.
        table: None for a query.
    """

    sql: str
    schema: Schema
    location: str | None
    table: bigquery.Table | None = None


@dataclass(frozen=True)
class BigquerySource:
    """The rows of one table or query. Nothing is connected until `describe` or `plan_read` is called."""

    config: SyncConfig
    connection: BigquerySourceConfig

    def describe(self) -> SourceDescription:
        """Return the columns and BigQuery's clock. Raises SourceError or SchemaError."""
        client = open_source_client(self._job_project)
        smart_sync = self.config.smart_sync
        # Well before the rows are read: a statement that begins after this cannot stamp rows with an earlier time.
        clock = read_clock(
            client,
            self.connection.project,
            settle=smart_sync.settle if smart_sync else timedelta(),
            max_hold=smart_sync.max_hold if smart_sync else timedelta(),
            looks_at_jobs=smart_sync is not None,
        )
        beginning = SyncInterval(BEGINNING, BEGINNING, StartOrigin.EVERYTHING)
        relation = self._relation(client, beginning if smart_sync else None)
        risks = [*clock.safe.warnings, *self._null_timestamps(relation)] if smart_sync else []
        wall_clock = None
        field = relation.schema.find(smart_sync.timestamp_column) if smart_sync else None
        if smart_sync and field and field.type == "DATETIME":
            # https://cloud.google.com/bigquery/docs/reference/standard-sql/datetime_functions#current_datetime
            wall_clock = WallClock(smart_sync.time_zone or "UTC", ZONE_GIVEN if smart_sync.time_zone else "the default")
        elif smart_sync and field and smart_sync.time_zone:
            risks.append(zone_without_effect(field.name))
        return SourceDescription(
            relation.schema,
            clock.now if wall_clock is None else wall_clock.reading(clock.now),
            clock.safe.end if wall_clock is None else wall_clock.passed(clock.safe.end),
            risks=tuple(risks),
            wall_clock=wall_clock,
        )

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return both ways in which the columns of `schema` can go; a dry run tells what reading them costs."""
        client = open_source_client(self._job_project)
        relation = self._relation(client, interval)
        where = self._filter(relation, interval)
        sql = rows_sql(relation.sql, relation.schema, schema.names, where)
        estimated = self._estimated_bytes(client, sql)
        selection = Selection(
            sql=sql,
            schema=Schema(tuple(relation.schema.field(name) for name in schema.names)),
            location=relation.location,
            default_project=self.connection.project,
            default_dataset=self.connection.dataset,
            maximum_bytes_billed=self.connection.maximum_bytes_billed,
            estimated_bytes=estimated,
            demand=self.connection.read,
            is_sure=where.interval is not None,
        )
        read = self._read(relation, selection, schema, where)
        count = self.config.num_partitions
        streams = f"at most {min(count, MAX_STREAMS)} streams" if count else "as many streams as BigQuery gives"
        stored = "" if read.table else "of the query's result, "
        return ReadPlan(
            query=sql,
            splits=(read,),
            estimated_rows=self._rows(relation, where),
            how=f"Storage Read API, {stored}{streams}{session_limit(estimated or 0)}",
            costs=self._costs(estimated),
            selection=selection,
            risks=self._earliest_risk(interval),
        )

    def read(self, schema: Schema, run_id: str = "") -> beam.PTransform:
        """Return the transform from partitions to batches of `schema`, dead letters and failures."""
        return ReadFromBigquery(
            schema,
            batch_size=self.config.batch_size,
            keeps_dead_letters=self.config.dead_letter_table is not None,
            run_id=run_id,
        )

    @property
    def _job_project(self) -> str:
        """Where jobs and sessions of the source run: a table may be in a project that lets others only read."""
        return self.connection.project if self.connection.query else self.config.destination.project

    @property
    def _query(self) -> str | None:
        return single_statement(self.connection.query, "source_bigquery_query") if self.connection.query else None

    def _relation(self, client: bigquery.Client, interval: SyncInterval | None) -> _Relation:
        if self._query is None:
            relation = self._table(client)
        else:
            relation = self._described_query(client, _filled(self._query, interval) if interval else self._query)
        _check_columns(relation.schema)
        return relation

    def _table(self, client: bigquery.Client) -> _Relation:
        source = self.connection
        table_id = f"{source.project}.{source.dataset}.{source.table}"
        with source_errors(f"look at the table {table_id}", TABLES_GET):
            try:
                table = client.get_table(table_id, retry=REQUEST_RETRY)
            except exceptions.NotFound:
                raise SourceQueryError(self._missing(client)) from None
        schema = Schema(tuple(_described(field) for field in Schema.from_bigquery(table.schema)))
        return _Relation(quoted(table_id), schema, table.location, table)

    def _missing(self, client: bigquery.Client) -> str:
        source = self.connection
        dataset_id = f"{source.project}.{source.dataset}"
        try:
            names = [
                table.table_id for table in client.list_tables(dataset_id, retry=REQUEST_RETRY, max_results=10_000)
            ]
        except exceptions.NotFound:
            try:
                datasets = [dataset.dataset_id for dataset in client.list_datasets(source.project, retry=REQUEST_RETRY)]
            except exceptions.GoogleAPICallError:
                datasets = []
            hint = did_you_mean(source.dataset or "", datasets)
            return f"source_bigquery_dataset: the dataset {dataset_id} does not exist{hint}"
        except exceptions.GoogleAPICallError:
            names = []
        hint = did_you_mean(source.table or "", names)
        return f"source_bigquery_table: the table {dataset_id}.{source.table} does not exist{hint}"

    def _described_query(self, client: bigquery.Client, query: str) -> _Relation:
        job = self._dry_run(client, query, "understand source_bigquery_query")
        if job.statement_type not in (None, "SELECT"):
            raise SourceQueryError(
                f"source_bigquery_query is a statement of the kind {job.statement_type}: give one SELECT"
            )
        schema = Schema(tuple(_described(field) for field in Schema.from_bigquery(job.schema or [])))
        location = job.location if job.referenced_tables else None
        return _Relation(f"(\n{query}\n)", schema, location)

    def _dry_run(self, client: bigquery.Client, sql: str, doing: str) -> bigquery.QueryJob:
        source = self.connection
        # Without the limit: an estimate costs nothing, and it is wanted above all where it exceeds it.
        config = query_config(self._job_project, source.project, source.dataset, maximum_bytes_billed=None)
        config.dry_run = True
        permissions = (JOBS_CREATE.format(project=self._job_project), TABLES_READ)
        with source_errors(doing, *permissions):
            return client.query(sql, job_config=config, retry=REQUEST_RETRY, job_retry=None)

    def _filter(self, relation: _Relation, interval: SyncInterval | None) -> Filter:
        where = Filter(partition_column=required_filter_column(relation.table) if relation.table is not None else None)
        smart_sync = self.config.smart_sync
        if smart_sync is None or interval is None or has_placeholders(self._query or ""):
            return where
        column = smart_sync.timestamp_column
        return replace(
            where,
            interval=interval,
            timestamp_column=column,
            timestamp_type=relation.schema.field(column).type,
            includes_null=smart_sync.include_null_timestamps,
        )

    def _read(self, relation: _Relation, selection: Selection, schema: Schema, where: Filter) -> BigqueryRead:
        """Return the partition: the table itself where it holds what is read, else what a query makes of it."""
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
        return BigqueryRead(
            index=1,
            count=1,
            statement=statement,
            project=self._job_project,
            table=table.path.removeprefix("/") if table is not None and is_direct else None,
            condition=where.condition(),
            streams=min(self.config.num_partitions or 0, MAX_STREAMS),
            read_id=uuid.uuid4().hex,
            selection=selection,
            max_retries=self.config.max_retries,
            checks=() if is_direct else checks,
        )

    def _rows(self, relation: _Relation, where: Filter) -> int | None:
        table = relation.table
        return table.num_rows if table is not None and table.table_type == "TABLE" and where.interval is None else None

    def _estimated_bytes(self, client: bigquery.Client, sql: str) -> int | None:
        """Return what the query would read; None where BigQuery does not tell.

        It keeps silent about tables with row-level security.
        https://cloud.google.com/bigquery/docs/best-practices-row-level-security
        """
        estimated = self._dry_run(client, sql, "estimate what reading the source costs").total_bytes_processed
        return None if estimated is None else int(estimated)

    def _costs(self, estimated: int | None) -> str:
        limit = self.connection.maximum_bytes_billed
        limited = "no maximum_bytes_billed is set" if limit is None else f"maximum_bytes_billed is {limit:,}"
        if estimated is None:
            return f"reading the source: BigQuery does not say how many bytes; {limited}"
        return f"reading the source: {estimated:,} bytes, as BigQuery's dry run estimates; {limited}"

    def _earliest_risk(self, interval: SyncInterval | None) -> tuple[str, ...]:
        if interval is None or not interval.is_everything or not has_placeholders(self._query or ""):
            return ()
        problem = f"rows stamped {timestamp_text(EARLIEST)} are not read: no text is earlier that BigQuery would take"
        return (f"{problem}. Leave the placeholders out, or compare with >= where rows are merged",)

    def _null_timestamps(self, relation: _Relation) -> Iterable[str]:
        smart_sync = self.config.smart_sync
        if smart_sync is None or smart_sync.include_null_timestamps or relation.table is None:
            return
        field = relation.schema.find(smart_sync.timestamp_column)
        if field is not None and field.mode != REQUIRED:
            yield (
                f"{field.name} may be NULL, and such rows are not read: fill it in, or use primary_key with "
                "smart_sync_null_timestamps=include"
            )


def _filled(query: str, interval: SyncInterval) -> str:
    return fill_placeholders(query, interval, timestamp_text(EARLIEST) if interval.is_everything else None)


def open_source(config: SyncConfig) -> BigquerySource:
    """Return the source that a configuration of BigQuery describes. No connection is opened."""
    assert isinstance(config.source, BigquerySourceConfig)
    return BigquerySource(config, config.source)


def _described(field: Field) -> Field:
    parameters = f"({field.parameters})" if field.parameters and field.type != RANGE else ""
    return replace(field, source_type=f"{field.type_name}{parameters}")


def _check_columns(schema: Schema) -> None:
    # BigQuery does not tell names apart that differ in upper and lower case.
    check_names(field.name.lower() for field in schema)
    unknown = [f"{field.name} ({field.source_type})" for field in schema if not _is_known(field)]
    if unknown:
        raise SchemaError(
            f"the source has columns of types that cannot be read: {', '.join(unknown)}: leave them out of "
            "source_bigquery_query, or CAST them there"
        )


def _is_known(field: Field) -> bool:
    # A timestamp of picoseconds would lose digits in silence.
    is_exact = field.type != "TIMESTAMP" or not field.parameters
    return is_exact and field.type in _KNOWN_TYPES and all(map(_is_known, field.fields))
