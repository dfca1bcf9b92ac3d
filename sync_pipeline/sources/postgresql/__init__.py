"""PostgreSQL as a source.

Launch: `source.py`; `session.py` plans one query (clock, columns, splits), `table_session.py` many tables. Workers:
`copy_read.py`.
"""

from __future__ import annotations

from sync_pipeline.parameters.declaration import SourceDeclaration, SourceTables
from sync_pipeline.parameters.parameter import Group
from sync_pipeline.smart_sync.placeholder_columns import in_sql
from sync_pipeline.sources.postgresql.checks import asks, contradictions
from sync_pipeline.sources.postgresql.config import read_config
from sync_pipeline.sources.postgresql.parameters import PARAMETERS, TABLE_SYNTAX

SOURCE = SourceDeclaration(
    label="PostgreSQL",
    parameters=PARAMETERS,
    group_after=Group.CORE,
    read_config=read_config,
    checks=contradictions,
    query="postgresql_query",
    base_query="postgresql_base_query",
    comparisons=in_sql("postgres"),
    reads_keys=True,
    tables=SourceTables(
        "postgresql_table", TABLE_SYNTAX, ("postgresql_query", "postgresql_base_query"), always_by_catalog=True
    ),
    asks=asks,
)
