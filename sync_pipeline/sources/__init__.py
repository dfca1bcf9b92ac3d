"""Sources: the registry that `data_source` chooses from. Nothing outside this package asks which source it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.registry import BIGQUERY, MONGODB, POSTGRESQL
from sync_pipeline.sources.bigquery import source as bigquery
from sync_pipeline.sources.mongodb import source as mongodb
from sync_pipeline.sources.postgresql import source as postgresql
from sync_pipeline.sources.source import Source

SOURCES: Mapping[str, Callable[[SyncConfig], Source]] = {
    POSTGRESQL: postgresql.open_source,
    MONGODB: mongodb.open_source,
    BIGQUERY: bigquery.open_source,
}


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names. Raises ConfigError for what only the source can check."""
    return SOURCES[config.data_source](config)
