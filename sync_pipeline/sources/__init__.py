"""Sources: one package per source, which declares itself as `SOURCE`, and shared modules. Packages are independent."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.registry import SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.parameters.source_tables import TableName
    from sync_pipeline.sources.catalog import SourceCatalog, Wanted
    from sync_pipeline.sources.source import Source


def open_source(config: SyncConfig) -> Source:
    """Return the source that `data_source` names, without opening a connection.

    Raises:
        ConfigError: parameters have errors that only the source can detect.
    """
    source: Source = _module(config.data_source).open_source(config)
    return source


def open_catalog(
    data_source: str, server: Any, max_retries: int, wanted: Wanted
) -> AbstractContextManager[SourceCatalog]:
    """Return the catalog of the source that `data_source` names. See `sync_pipeline.sources.catalog.OpenCatalog`.

    Raises:
        ConfigError: the source has no catalog.
    """
    opened = getattr(_module(data_source), "open_catalog", None)
    if opened is None:
        raise ConfigError([f"data_source {data_source} cannot list its tables: a run reads one query or table of it"])
    catalog: AbstractContextManager[SourceCatalog] = opened(server, max_retries, wanted)
    return catalog


def grants(data_source: str, server: Any, tables: Sequence[TableName]) -> list[str]:
    """Return the statements that give the user of a source the right to read tables, if the source has such."""
    found = getattr(_module(data_source), "grants", None)
    return [] if found is None else list(found(server, tables))


def _module(data_source: str) -> Any:
    return importlib.import_module(f"{SOURCES[data_source]}.source")
