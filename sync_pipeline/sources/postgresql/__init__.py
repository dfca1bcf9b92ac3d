"""PostgreSQL as a source: `source.py` describes a query and plans its read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipeline.parameters.declaration import SourceDeclaration
from sync_pipeline.parameters.parameter import Group
from sync_pipeline.smart_sync.placeholder_columns import in_sql
from sync_pipeline.sources.postgresql.checks import contradictions
from sync_pipeline.sources.postgresql.config import read_config
from sync_pipeline.sources.postgresql.parameters import PARAMETERS

if TYPE_CHECKING:
    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.sources.source import Source


def _open_source(config: SyncConfig) -> Source:
    from sync_pipeline.sources.postgresql.source import open_source

    return open_source(config)


SOURCE = SourceDeclaration(
    label="PostgreSQL",
    parameters=PARAMETERS,
    group_after=Group.CORE,
    read_config=read_config,
    open_source=_open_source,
    checks=contradictions,
    query="postgresql_query",
    base_query="postgresql_base_query",
    comparisons=in_sql("postgres"),
)
