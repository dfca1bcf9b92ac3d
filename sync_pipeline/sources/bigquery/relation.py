"""The relation that a BigQuery source reads: a table or a query, with its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery.table import TableListItem

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, query_config
from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.googlesql import quoted
from sync_pipeline.schema import ARROW_TYPES, INTERVAL, RANGE, STRUCT, Field, Schema
from sync_pipeline.sources.access import check_names
from sync_pipeline.sources.bigquery.client import JOBS_CREATE, TABLES_GET, TABLES_LIST, TABLES_READ, source_errors
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.suggestions import did_you_mean

# The tables of a page of a listing; the service's own choice is smaller.
_PAGE = 1000

_KNOWN_TYPES = frozenset({*ARROW_TYPES, INTERVAL, RANGE, STRUCT})


@dataclass(frozen=True)
class Relation:
    """The relation to read.

    Attributes:
        sql: the relation for FROM: a quoted table, or a subquery.
        location: None for a query that reads no table.
        table: None for a query.
    """

    sql: str
    schema: Schema
    location: str | None
    table: bigquery.Table | None = None


def table_relation(client: bigquery.Client, source: BigquerySourceConfig) -> Relation:
    """Return the source's table. Raises SourceError when it does not exist, SchemaError when it has invalid columns."""
    table_id = f"{source.project}.{source.dataset}.{source.table}"
    with source_errors(f"look at the table {table_id}", TABLES_GET):
        try:
            table = client.get_table(table_id, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            raise SourceQueryError(_missing(client, source)) from None
    return relation_of(source, table)


def relation_of(source: BigquerySourceConfig, table: bigquery.Table) -> Relation:
    """Return the source's table by BigQuery's description. Raises SchemaError when it has invalid columns."""
    table_id = f"{source.project}.{source.dataset}.{source.table}"
    return Relation(quoted(table_id), _described(table.schema), table.location, table)


def query_relation(client: bigquery.Client, source: BigquerySourceConfig, query: str) -> Relation:
    """Return the relation of a query. Raises SourceError when it is not a SELECT, SchemaError for invalid columns."""
    job = dry_run(client, source, query, "understand source_bigquery_query")
    if job.statement_type not in (None, "SELECT"):
        raise SourceQueryError(f"source_bigquery_query is a statement of type {job.statement_type}: give one SELECT")
    location = job.location if job.referenced_tables else None
    return Relation(in_brackets(query), _described(job.schema or []), location)


def in_brackets(query: str) -> str:
    """Return the query as a subquery for FROM."""
    return f"(\n{query}\n)"


def dry_run(client: bigquery.Client, source: BigquerySourceConfig, sql: str, action: str) -> bigquery.QueryJob:
    """Return the dry-run job of a query. Raises SourceError: cannot `action`."""
    # Without maximum_bytes_billed: a dry run is free, and its estimate is most useful if it exceeds the limit.
    config = query_config(client.project, source.project, source.dataset, maximum_bytes_billed=None)
    config.dry_run = True
    permissions = (JOBS_CREATE.format(project=client.project), TABLES_READ)
    with source_errors(action, *permissions):
        return client.query(sql, job_config=config, retry=REQUEST_RETRY, job_retry=None)


def listed_tables(client: bigquery.Client, source: BigquerySourceConfig) -> list[TableListItem]:
    """Return the tables of the source's dataset. Raises SourceError when it does not exist."""
    dataset_id = f"{source.project}.{source.dataset}"
    with source_errors(f"list the tables of {dataset_id}", TABLES_LIST):
        try:
            return list(client.list_tables(dataset_id, retry=REQUEST_RETRY, page_size=_PAGE))
        except exceptions.NotFound:
            raise SourceQueryError(_missing_dataset(client, source)) from None


def _missing(client: bigquery.Client, source: BigquerySourceConfig) -> str:
    dataset_id = f"{source.project}.{source.dataset}"
    try:
        names = [table.table_id for table in client.list_tables(dataset_id, retry=REQUEST_RETRY, max_results=10_000)]
    except exceptions.NotFound:
        return _missing_dataset(client, source)
    except exceptions.GoogleAPICallError:
        names = []
    hint = did_you_mean(source.table or "", names)
    return f"source_bigquery_table: the table {dataset_id}.{source.table} does not exist{hint}"


def _missing_dataset(client: bigquery.Client, source: BigquerySourceConfig) -> str:
    try:
        datasets = [dataset.dataset_id for dataset in client.list_datasets(source.project, retry=REQUEST_RETRY)]
    except exceptions.GoogleAPICallError:
        datasets = []
    hint = did_you_mean(source.dataset or "", datasets)
    return f"source_bigquery_dataset: the dataset {source.project}.{source.dataset} does not exist{hint}"


def _described(fields: Sequence[bigquery.SchemaField]) -> Schema:
    """Return the columns with BigQuery's names of their types. Raises SchemaError when a column cannot be read."""
    schema = Schema(tuple(_with_source_type(field) for field in Schema.from_bigquery(fields)))
    _check_columns(schema)
    return schema


def _with_source_type(field: Field) -> Field:
    parameters = f"({field.parameters})" if field.parameters and field.type != RANGE else ""
    return replace(field, source_type=f"{field.type_name}{parameters}")


def _check_columns(schema: Schema) -> None:
    # BigQuery ignores case in names of columns.
    check_names(field.name.lower() for field in schema)
    unknown = [f"{field.name} ({field.source_type})" for field in schema if not _is_known(field)]
    if unknown:
        raise SchemaError(
            f"the source has columns of unsupported types: {', '.join(unknown)}: exclude them in "
            "source_bigquery_query, or CAST them there"
        )


def _is_known(field: Field) -> bool:
    # A timestamp with picoseconds would silently lose digits.
    is_exact = field.type != "TIMESTAMP" or not field.parameters
    return is_exact and field.type in _KNOWN_TYPES and all(map(_is_known, field.fields))
