"""BigQuery as a source.

Launch: `source.py`, `session.py` (clock, columns, pushdown and read). Workers: `storage_read.py`.
"""

from __future__ import annotations

from sync_pipeline.parameters.declaration import SourceDeclaration, SourceTables
from sync_pipeline.smart_sync.placeholder_columns import in_sql
from sync_pipeline.sources.bigquery.checks import contradictions
from sync_pipeline.sources.bigquery.config import read_config
from sync_pipeline.sources.bigquery.parameters import PARAMETERS, TABLE_SYNTAX

SOURCE = SourceDeclaration(
    label="BigQuery",
    group="BigQuery Source",
    parameters=PARAMETERS,
    read_config=read_config,
    checks=contradictions,
    query="source_bigquery_query",
    comparisons=in_sql("bigquery"),
    reads_keys=True,
    tables=SourceTables("source_bigquery_table", TABLE_SYNTAX, ("source_bigquery_query",)),
)
