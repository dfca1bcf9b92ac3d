"""The catalog of BigQuery: the tables of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery.table import TableListItem

from sync_pipeline.bigquery_api.client import REQUEST_RETRY
from sync_pipeline.bigquery_api.own_tables import is_temporary, missing_dead_letter_columns
from sync_pipeline.bigquery_api.threads import map_with_clients
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.destination_names import TABLE_FIELD
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.schema import REPEATED, REQUIRED, TIMESTAMP_TYPES, Schema
from sync_pipeline.sources.bigquery.client import TABLES_GET, source_errors
from sync_pipeline.sources.bigquery.clock import Observation, read_clock
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.bigquery.relation import listed_tables, relation_of, table_relation
from sync_pipeline.sources.bigquery.session import BigquerySession, shown_clock
from sync_pipeline.sources.catalog import Wanted

# By `type` of https://cloud.google.com/bigquery/docs/reference/rest/v2/tables.
_KINDS = {
    "TABLE": "table",
    "VIEW": "view",
    "MATERIALIZED_VIEW": "materialized view",
    "EXTERNAL": "external table",
    "SNAPSHOT": "snapshot",
}
_LEFT_OUT = {
    "VIEW": "it is a view, which computes its rows from other tables: name it to load it",
    "EXTERNAL": "it is an external table, whose rows are outside of BigQuery: name it to load it",
    "SNAPSHOT": "it is a snapshot, an earlier state of another table: name it to load it",
}
_TEMPORARY = "it is a temporary table of a run"
_DEAD_LETTERS = "it has the dead letters of runs: name it to load it"


@dataclass(frozen=True)
class BigqueryCatalog:
    """The tables of a dataset.

    Attributes:
        client: its jobs run in `server.job_project`. Threads may share a client.
            https://github.com/googleapis/python-bigquery/blob/main/docs/index.rst
        tables: those that may be chosen, in the order of their names.
        described: BigQuery's description of the tables that it describes.
    """

    server: BigquerySourceConfig
    client: bigquery.Client
    observed: Observation
    tables: tuple[CatalogTable, ...]
    described: Mapping[TableName, bigquery.Table]

    def narrowing(self, tables: Sequence[CatalogTable]) -> dict[TableName, dict[str, str]]:
        """Return by which of their timestamps BigQuery reads a part of the tables. See `SourceCatalog`."""
        return {table.name: _narrowing(self.described.get(table.name)) for table in tables}

    def session(self, table: CatalogTable, config: SyncConfig) -> BigquerySession:
        """Return the session that plans one table. Raises SourceError or SchemaError when it cannot be described."""
        source = config.source
        assert isinstance(source, BigquerySourceConfig)
        known = self.described.get(table.name)
        relation = table_relation(self.client, source) if known is None else relation_of(source, known)
        clock = shown_clock(self.observed, config.smart_sync, relation)
        return BigquerySession(config, source, self.client, clock, None, relation, asks_for_costs=False)


def read_catalog(server: BigquerySourceConfig, client: bigquery.Client, wanted: Wanted) -> BigqueryCatalog:
    """Read the clock, list the tables, and describe those that are wanted and that a wildcard may choose.

    A listing has no columns. `INFORMATION_SCHEMA` has neither the modes nor the policy tags of nested columns, so each
    table needs a request of its own; planning then needs no other for its columns.

    Raises:
        SourceError: BigQuery rejects or cannot answer a request.
    """
    observed = read_clock(client, server.project, looks_at_jobs=True)
    listed = {
        name: item
        for item in sorted(listed_tables(client, server), key=lambda item: item.table_id)
        if wanted.may_choose(name := TableName("", item.table_id))
    }
    tables = {name: _listed_table(item, server.destinations) for name, item in listed.items()}
    names = [name for name, table in tables.items() if not table.left_out]

    def describe(own: bigquery.Client, name: TableName) -> bigquery.Table | None:
        table_id = f"{server.project}.{server.dataset}.{name.name}"
        with source_errors(f"look at the table {table_id}", TABLES_GET):
            try:
                return own.get_table(table_id, retry=REQUEST_RETRY)
            except exceptions.ClientError:
                # It was just dropped, or may not be described. If it is chosen, its session raises the error.
                return None

    answers = zip(names, map_with_clients(describe, names, server.job_project), strict=True)
    described = {name: answer for name, answer in answers if answer is not None}
    tables |= {name: _described_table(tables[name], table) for name, table in described.items()}
    return BigqueryCatalog(server, client, observed, tuple(tables.values()), described)


def _listed_table(item: TableListItem, destinations: str | None) -> CatalogTable:
    kind = item.table_type or "TABLE"
    left_out = _LEFT_OUT.get(kind, "")
    if is_temporary(item.table_id):
        left_out = _TEMPORARY
    elif destinations and _is_destination(item.table_id, destinations):
        # Otherwise each run would copy the copies of the one before.
        left_out = f"it has the name of a destination, {destinations}: name it to load it"
    return CatalogTable(TableName("", item.table_id), _KINDS.get(kind, kind.lower()), left_out=left_out)


def _is_destination(table_id: str, destinations: str) -> bool:
    parts = map(re.escape, destinations.split(TABLE_FIELD))
    return re.fullmatch(".+".join(parts), table_id, re.DOTALL) is not None


def _described_table(listed: CatalogTable, table: bigquery.Table) -> CatalogTable:
    """Return the table with its timestamps and its size.

    It has no key: BigQuery does not enforce a declared one, and a merge by a key that repeats loses rows.
    https://cloud.google.com/bigquery/docs/primary-foreign-keys
    """
    key = _declared_key(table)
    schema = Schema.from_bigquery(table.schema)
    is_partitioned = table.time_partitioning is not None or table.range_partitioning is not None
    return replace(
        listed,
        kind=f"partitioned {listed.kind}" if is_partitioned else listed.kind,
        columns=schema.names,
        why_no_key=f"BigQuery does not enforce its key {key}; to merge by it, give primary_key" if key else "",
        timestamps={
            field.name: field.mode != REQUIRED
            for field in schema
            if field.type in TIMESTAMP_TYPES and field.mode != REPEATED
        },
        rows=table.num_rows,
        size=table.num_bytes,
        left_out="" if missing_dead_letter_columns(schema) else _DEAD_LETTERS,
    )


def _declared_key(table: bigquery.Table) -> str:
    """Return the columns of the declared primary key, empty without one."""
    constraints = table.table_constraints
    key = constraints.primary_key if constraints is not None else None
    return ", ".join(key.columns) if key is not None else ""


def _narrowing(table: bigquery.Table | None) -> dict[str, str]:
    if table is None:
        return {}
    found = dict.fromkeys((table.clustering_fields or ())[:1], "cluster")
    partitions = table.time_partitioning
    if partitions is not None and partitions.field:
        found[partitions.field] = "partition"
    return found
