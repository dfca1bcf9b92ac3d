from __future__ import annotations

import pytest

from sync_pipeline.parameters.identifiers import check_column, column_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param("name", "name", id="allowed"),
        pytest.param("_id", "_id", id="_id"),
        pytest.param("a.b", "a_b", id="dot"),
        pytest.param("$a", "a", id="dollar"),
        pytest.param("a b", "a_b", id="space"),
        pytest.param("größe", "grosse", id="umlaut"),
        pytest.param("1st", "c_1st", id="digit"),
        pytest.param("", "field_", id="empty"),
        pytest.param("日本", "field_e697a5e69cac", id="other script"),
        pytest.param("_TABLE_x", "TABLE_x", id="kept by BigQuery"),
        pytest.param("x" * 400, "x" * 290, id="too long"),
    ],
)
def test_column_names(key: str, name: str) -> None:
    assert column_name(key) == name
    assert check_column(column_name(key)) is None
