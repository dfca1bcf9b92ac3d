"""Rows that may have columns nobody has seen: which columns are read."""

from __future__ import annotations

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.schemaless import schemaless_schema
from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.sources.source import SourceDescription
from tests.parameter_sets import MONGODB

SEEN = Schema((Field("_id", "STRING"), Field("n", "JSON")))
EXISTING = Schema(
    (
        Field("_id", "STRING"),
        Field("n", "INT64"),
        Field("later", "DATE"),
        Field("list", "INT64", REPEATED),
        Field("inner", "STRUCT"),
        Field("new_name", "STRING"),
    )
)


def config(transformation: str = "{}", **parameters: str) -> SyncConfig:
    return SyncConfig.from_parameters(MONGODB | {"transformation_config": transformation} | parameters)


def description(schema: Schema) -> SourceDescription:
    return SourceDescription(schema, default_primary_key=("_id",), has_dynamic_schema=True)


@pytest.mark.parametrize(
    ("seen", "transformation", "columns"),
    [
        pytest.param(SEEN, "{}", "_id STRING, n JSON, later DATE, new_name STRING", id="columns of the destination"),
        pytest.param(
            SEEN,
            '{"field_mappings": {"old": "new_name"}}',
            "_id STRING, n JSON, later DATE, old STRING",
            id="by their source names",
        ),
        pytest.param(
            SEEN, '{"exclude_fields": ["later", "new_name"]}', "_id STRING, n JSON", id="none that was excluded"
        ),
        pytest.param(
            SEEN, '{"include_fields": ["_id", "later"]}', "_id STRING, n JSON, later DATE", id="none not included"
        ),
        pytest.param(
            SEEN, '{"constant_fields": {"later": "x", "new_name": "y"}}', "_id STRING, n JSON", id="no constant"
        ),
        pytest.param(
            SEEN,
            '{"type_overrides": {"n": "NUMERIC"}}',
            "_id STRING, n NUMERIC, later DATE, new_name STRING",
            id="as the user wants them",
        ),
        pytest.param(
            Schema((Field("n", "INT64"),)), "{}", "n INT64, later DATE, new_name STRING", id="a key that was left out"
        ),
        pytest.param(
            Schema(()), "{}", "_id STRING, n INT64, later DATE, new_name STRING", id="all, where there are no rows"
        ),
    ],
)
def test_columns(seen: Schema, transformation: str, columns: str) -> None:
    schema = schemaless_schema(description(seen), EXISTING, config(transformation).transformation)
    assert ", ".join(f"{field.name} {field.type}" for field in schema) == columns
