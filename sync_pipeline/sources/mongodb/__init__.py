"""MongoDB as a source.

Launch: `source.py`, `session.py` (clock, inferred columns, splits). Workers: `raw_read.py`.
"""

from __future__ import annotations

from sync_pipeline.parameters.declaration import SourceDeclaration, SourceTables
from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.sources.mongodb.checks import asks, comparisons, contradictions, warnings
from sync_pipeline.sources.mongodb.config import read_config
from sync_pipeline.sources.mongodb.parameters import COLLECTION_SYNTAX, PARAMETERS

SOURCE = SourceDeclaration(
    label="MongoDB",
    parameters=PARAMETERS,
    read_config=read_config,
    checks=contradictions,
    warnings=warnings,
    query="mongodb_query",
    comparisons=comparisons,
    timestamp_column=column_name,
    has_own_key=True,
    reads_keys=True,
    too_many_columns="load whole documents into one column with mongodb_document_mode=true",
    tables=SourceTables("mongodb_collection", COLLECTION_SYNTAX),
    asks=asks,
)
