"""The type table, and names of columns."""

from __future__ import annotations

import pytest

from sync_pipeline.schema import ARROW_TYPES, KEY_TYPES
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES, column, id_type, joined_type


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
