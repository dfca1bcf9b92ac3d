"""Sources: one package per source, which declares itself as `SOURCE`, and shared modules. Packages are independent."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from sync_pipeline.registry import SOURCES

if TYPE_CHECKING:
    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.sources.source import Source


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names, without opening a connection.

    Raises:
        ConfigError: parameters have errors that only the source can detect.
    """
    source: Source = importlib.import_module(f"{SOURCES[config.data_source]}.source").open_source(config)
    return source
