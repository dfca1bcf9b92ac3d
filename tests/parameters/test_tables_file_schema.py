from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline.parameters.documents import ROOT, SCHEMA
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import PARAMETERS
from sync_pipeline.parameters.tables_file_schema import tables_file_schema
from tests.json_schemas import is_valid
from tests.parameter_sets import POSTGRESQL

DOCUMENT = tables_file_schema()
EXAMPLE = ROOT / "examples" / "tables" / "shop.yaml"


def test_the_example_is_valid_and_read() -> None:
    assert is_valid(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), DOCUMENT)
    config = RunConfig.from_parameters(
        POSTGRESQL
        | {"postgresql_query": "", "destination_bigquery_table": "", "tables_file": str(EXAMPLE)}
        | {"hash_key": "projects/p/secrets/s/versions/1"}
    )
    assert config.warnings == ()


def test_the_example_names_the_schema() -> None:
    header = re.match(r"# yaml-language-server: \$schema=(.*)\n", EXAMPLE.read_text(encoding="utf-8"))
    assert header is not None
    assert (EXAMPLE.parent / Path(header[1])).resolve() == ROOT / SCHEMA


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"tables": [{"postgresql_table": ["a", "b"], "primary_key": "id"}]}, True, id="lists"),
        pytest.param({"tables": [{"mongodb_collection": "a", "mongodb_query": {"a": 1}}]}, True, id="JSON"),
        pytest.param({"tables": [{"primary_key": "id"}]}, False, id="no table"),
        pytest.param({"tables": [{"postgresql_table": "a", "primary_keys": "id"}]}, False, id="unknown"),
        pytest.param({"tables": [{"postgresql_table": "a", "postgresql_host": "h"}]}, False, id="not by table"),
        pytest.param({"defaults": {"postgresql_table": "a"}}, False, id="table as a default"),
        pytest.param({"defaults": {"batch_size": 0}}, False, id="too small"),
        pytest.param({"defaults": {"enable_smart_sync": "yes"}}, False, id="text for a truth value"),
        pytest.param({"defaults": {"transformation_config": {"exclude": []}}}, False, id="transformation"),
    ],
)
def test_what_the_schema_allows(content: dict[str, Any], expected: bool) -> None:
    assert is_valid(content, DOCUMENT) is expected


def test_no_secret_differs_by_table() -> None:
    assert not [row.name for row in PARAMETERS if row.secret and row.by_table]
