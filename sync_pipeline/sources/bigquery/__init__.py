"""BigQuery as a source: `source.py` describes a table or a query and plans its read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipeline.parameters.declaration import SourceDeclaration
from sync_pipeline.smart_sync.placeholder_columns import in_sql
from sync_pipeline.sources.bigquery.checks import contradictions
from sync_pipeline.sources.bigquery.config import read_config
from sync_pipeline.sources.bigquery.parameters import PARAMETERS

if TYPE_CHECKING:
    from sync_pipeline.parameters.config import SyncConfig
    from sync_pipeline.sources.source import Source


def _open_source(config: SyncConfig) -> Source:
    from sync_pipeline.sources.bigquery.source import open_source

    return open_source(config)


SOURCE = SourceDeclaration(
    label="BigQuery",
    group="BigQuery Source",
    parameters=PARAMETERS,
    read_config=read_config,
    open_source=_open_source,
    checks=contradictions,
    query="source_bigquery_query",
    comparisons=in_sql("bigquery"),
)
