"""BigQuery as a source: the rows of one table or query."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Schema
from sync_pipeline.sources.bigquery.client import open_source_client
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.bigquery.query_text import single_statement
from sync_pipeline.sources.bigquery.session import BigquerySession, begin_session
from sync_pipeline.sources.bigquery.storage_read import ReadFromBigquery, StreamReader
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
        # The project of the source's jobs and sessions: the job's account may have only read access to the table.
        project = self.connection.project if query else self.config.destination.project
        yield begin_session(self.config, self.connection, query, open_source_client(project))

    def reader(self, schema: Schema) -> StreamReader:
        """Return the reader of the splits into the columns of `schema`."""
        return StreamReader(schema)


def open_source(config: SyncConfig) -> BigquerySource:
    """Return the BigQuery source of a configuration, without opening a connection."""
    assert isinstance(config.source, BigquerySourceConfig)
    return BigquerySource(config, config.source)
