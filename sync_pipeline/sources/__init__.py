"""Sources: a package for each, which declares itself as `SOURCE`, and what they share. No package knows another."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from sync_pipeline.registry import SOURCES

if TYPE_CHECKING:
    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.sources.source import Source


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names, as its module `source` opens it. No connection is opened.

    Raises ConfigError for what only the source can check.
    """
    source: Source = importlib.import_module(f"{SOURCES[config.data_source]}.source").open_source(config)
    return source
