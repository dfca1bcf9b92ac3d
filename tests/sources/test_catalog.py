from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.registry import SOURCES
from sync_pipeline.sources import open_catalog
from tests.catalogs import Names
from tests.sqlite_source import SqliteConfig


def test_a_source_without_a_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "sqlite", "tests.sqlite_source")
    with pytest.raises(ConfigError) as caught:
        open_catalog("sqlite", SqliteConfig("shop.db", ""), 0, Names())
    assert caught.value.problems == ("data_source sqlite cannot list its tables: a run reads one query or table of it",)
