from __future__ import annotations

import json

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.column_names import with_allowed_names
from tests.parameter_sets import POSTGRESQL

COLUMNS = ("id", "Order Id", "größe")


def config(**transformation: object) -> SyncConfig:
    return SyncConfig.from_parameters({**POSTGRESQL, "transformation_config": json.dumps(transformation)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, {"Order Id": "Order_Id", "größe": "grosse"}, id="similar"),
        pytest.param(
            {"field_mappings": {"id": "number", "größe": "size"}},
            {"Order Id": "Order_Id", "id": "number", "größe": "size"},
            id="what the user names",
        ),
        pytest.param({"exclude_fields": ["größe"]}, {"Order Id": "Order_Id"}, id="excluded"),
        pytest.param({"include_fields": ["id", "größe"]}, {"größe": "grosse"}, id="not included"),
    ],
)
def test_columns_are_renamed(given: dict[str, object], expected: dict[str, str]) -> None:
    changed, (note,) = with_allowed_names(config(**given), COLUMNS)
    assert changed.transformation.field_mappings == expected
    for name, new_name in expected.items():
        assert (f"{name} to {new_name}" in note) == (name not in given.get("field_mappings", {}))  # type: ignore[operator]


def test_allowed_names_stay() -> None:
    asked_for = config(include_fields=["id"])
    assert with_allowed_names(asked_for, COLUMNS) == (asked_for, ())
