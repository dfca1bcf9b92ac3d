"""BigQuery as a source: the rows of one table or query."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from sync_pipeline.bigquery_api.rights import dataset_right, job_right
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.schema import Schema
from sync_pipeline.sources.bigquery.catalog import BigqueryCatalog, read_catalog
from sync_pipeline.sources.bigquery.client import open_source_client
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.bigquery.query_text import single_statement
from sync_pipeline.sources.bigquery.session import BigquerySession, begin_session
from sync_pipeline.sources.bigquery.storage_read import ReadFromBigquery, StreamReader
from sync_pipeline.sources.catalog import Wanted
from sync_pipeline.sources.interval_query import IntervalQuery


@dataclass(frozen=True)
class BigquerySource:
    """The rows of one table or query. Connects only in `connect`."""

    config: SyncConfig
    connection: BigquerySourceConfig
    transform: ClassVar = ReadFromBigquery

    @contextmanager
    def connect(self) -> Iterator[BigquerySession]:
        """Open a client for planning. Raises SourceError or SchemaError."""
        text = self.connection.query
        query = None
        if text:
            query = IntervalQuery(single_statement(text, "source_bigquery_query"), self.config.smart_sync)
        yield begin_session(self.config, self.connection, query, open_source_client(self.connection.job_project))

    def reader(self, schema: Schema) -> StreamReader:
        """Return the reader of the splits into the columns of `schema`."""
        return StreamReader(schema)


def open_source(config: SyncConfig) -> BigquerySource:
    """Return the BigQuery source of a configuration, without opening a connection."""
    assert isinstance(config.source, BigquerySourceConfig)
    return BigquerySource(config, config.source)


def grants(server: BigquerySourceConfig, _tables: Sequence[TableName]) -> list[str]:
    """Return the commands that give whoever runs this process the right to read the dataset."""
    commands = [job_right(server.job_project)]
    if server.dataset:
        dataset_id = f"{server.project}.{server.dataset}"
        commands.append(dataset_right(server.project, dataset_id, "roles/bigquery.dataViewer"))
    return commands


@contextmanager
def open_catalog(
    server: BigquerySourceConfig,
    max_retries: int,  # noqa: ARG001 - a client retries each request
    wanted: Wanted,
) -> Iterator[BigqueryCatalog]:
    """Read the clock, and describe the tables of the dataset. Raises SourceError."""
    with contextlib.closing(open_source_client(server.job_project)) as client:
        yield read_catalog(server, client, wanted)
