"""Sources: the registry that `data_source` chooses from. Nothing outside this package asks which source it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sync_pipeline.config import SyncConfig
from sync_pipeline.errors import ConfigError
from sync_pipeline.source import Source
from sync_pipeline.sources import bigquery, mongodb, postgresql

SOURCES: Mapping[str, Callable[[SyncConfig], Source]] = {
    "mongodb": mongodb.open_source,
    "postgresql": postgresql.open_source,
    "bigquery": bigquery.open_source,
}


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names. Raises ConfigError for one that this version cannot read."""
    if config.data_source not in SOURCES:
        problem = f"data_source: {config.data_source} cannot be read by this version"
        raise ConfigError([f"{problem}: use one of {', '.join(sorted(SOURCES))}"])
    return SOURCES[config.data_source](config)
