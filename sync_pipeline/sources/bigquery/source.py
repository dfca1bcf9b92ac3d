"""BigQuery as a source: the rows of one table or query, as planning and the workers reach them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import apache_beam as beam

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import Schema
from sync_pipeline.sources.bigquery.client import open_source_client
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.bigquery.query_text import single_statement
from sync_pipeline.sources.bigquery.session import BigquerySession, begin_session
from sync_pipeline.sources.bigquery.storage_read import ReadFromBigquery, StreamReader


@dataclass(frozen=True)
class BigquerySource:
    """The rows of one table or query. Nothing is connected until `connect` is called."""

    config: SyncConfig
    connection: BigquerySourceConfig

    @contextmanager
    def connect(self) -> Iterator[BigquerySession]:
        """Open a client for planning. Raises SourceError or SchemaError."""
        text = self.connection.query
        query = single_statement(text, "source_bigquery_query") if text else None
        # Where jobs and sessions of the source run: a table may be in a project that lets others only read.
        project = self.connection.project if query else self.config.destination.project
        yield begin_session(self.config, self.connection, query, open_source_client(project))

    def read(self, schema: Schema, run_id: str = "") -> beam.PTransform:
        """Return the transform from partitions to batches of `schema`, dead letters and failures."""
        return ReadFromBigquery(
            StreamReader(schema),
            batch_size=self.config.batch_size,
            keeps_dead_letters=self.config.dead_letter_table is not None,
            run_id=run_id,
        )


def open_source(config: SyncConfig) -> BigquerySource:
    """Return the source that a configuration of BigQuery describes. No connection is opened."""
    assert isinstance(config.source, BigquerySourceConfig)
    return BigquerySource(config, config.source)
