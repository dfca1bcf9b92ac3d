"""The type table, and names of columns."""

from __future__ import annotations

import pytest

from sync_pipeline.parameters.identifiers import check_column
from sync_pipeline.schema import ARROW_TYPES, KEY_TYPES
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES, column, id_type, joined_type
from sync_pipeline.sources.mongodb.column_names import column_name


@pytest.mark.parametrize(
    ("types", "bigquery"),
    [
        pytest.param("int", "INT64", id="int"),
        pytest.param("int long", "INT64", id="int and long"),
        pytest.param("double", "FLOAT64", id="double"),
        pytest.param("double int", "FLOAT64", id="double and int"),
        pytest.param("double long", "JSON", id="double and long"),
        pytest.param("decimal", "BIGNUMERIC", id="decimal"),
        pytest.param("decimal int long", "BIGNUMERIC", id="decimal and whole numbers"),
        pytest.param("decimal double", "JSON", id="decimal and double"),
        pytest.param("string objectId", "STRING", id="string and objectId"),
        pytest.param("uuid string", "STRING", id="uuid and string"),
        pytest.param("uuid binData", "JSON", id="uuid and binData"),
        pytest.param("binData", "BYTES", id="binData"),
        pytest.param("date", "TIMESTAMP", id="date"),
        pytest.param("timestamp", "JSON", id="timestamp"),
        pytest.param("bool", "BOOL", id="bool"),
        pytest.param("bool int", "JSON", id="bool and int"),
        pytest.param("object", "JSON", id="object"),
        pytest.param("array object", "JSON", id="array and object"),
        pytest.param("null", "STRING", id="only null"),
        pytest.param("null undefined int", "INT64", id="null does not count"),
    ],
)
def test_joins(types: str, bigquery: str) -> None:
    assert joined_type(types.split()) == bigquery


@pytest.mark.parametrize(
    ("types", "bigquery"),
    [
        pytest.param("int", "INT64", id="int"),
        pytest.param("int null", "STRING", id="null is a value of _id"),
        pytest.param("double", "STRING", id="double is no key"),
        pytest.param("object", "STRING", id="object is no key"),
        pytest.param("int string", "STRING", id="mixed"),
        pytest.param("date", "TIMESTAMP", id="date"),
    ],
)
def test_ids(types: str, bigquery: str) -> None:
    assert id_type(types.split()) == bigquery
    assert bigquery in KEY_TYPES


def test_every_type_has_a_column_type() -> None:
    assert {kind.bigquery for kind in BSON_TYPES.values()} <= set(ARROW_TYPES)
    # https://www.mongodb.com/docs/manual/reference/bson-types/, and uuid.
    assert len(BSON_TYPES) == 22


def test_column() -> None:
    field = column("a b", {"string", "int"})
    assert (field.name, field.type, field.source_type) == ("a_b", "JSON", "int or string")


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
