"""Sources: a package for each, which declares itself as `SOURCE`, and what they share. No package knows another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipeline.parameters.declaration import declared

if TYPE_CHECKING:
    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.sources.source import Source


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names. Raises ConfigError for what only the source can check."""
    source: Source = declared(config.data_source).open_source(config)
    return source
