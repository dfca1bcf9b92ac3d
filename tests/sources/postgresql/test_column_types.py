from __future__ import annotations

import pytest

from sync_pipeline.schema import ARROW_TYPES, EXPLICIT_CASTS, LOSSLESS_CASTS, REPEATED, REQUIRED, Field
from sync_pipeline.sources.postgresql.column_types import (
    ANY_OTHER_TYPE,
    CAST_EXPRESSIONS,
    POSTGRESQL_TYPES,
    SourceColumn,
    quoted_identifier,
)

NUMERIC = SourceColumn("c", "numeric", "numeric")


@pytest.mark.parametrize(
    ("type_name", "bigquery"),
    [
        pytest.param("bool", "BOOL", id="bool"),
        pytest.param("int2", "INT64", id="int2"),
        pytest.param("int4", "INT64", id="int4"),
        pytest.param("int8", "INT64", id="int8"),
        pytest.param("oid", "INT64", id="oid"),
        pytest.param("float4", "FLOAT64", id="float4"),
        pytest.param("float8", "FLOAT64", id="float8"),
        pytest.param("numeric", "BIGNUMERIC", id="numeric"),
        pytest.param("money", "NUMERIC", id="money"),
        pytest.param("bytea", "BYTES", id="bytea"),
        pytest.param("date", "DATE", id="date"),
        pytest.param("time", "TIME", id="time"),
        pytest.param("timestamp", "DATETIME", id="timestamp"),
        pytest.param("timestamptz", "TIMESTAMP", id="timestamptz"),
        pytest.param("json", "JSON", id="json"),
        pytest.param("jsonb", "JSON", id="jsonb"),
        pytest.param("hstore", "JSON", id="hstore"),
        pytest.param("timetz", "STRING", id="timetz"),
        pytest.param("interval", "STRING", id="interval"),
        pytest.param("", "STRING", id="not-a-base-type"),
    ],
)
def test_field_and_array_field(type_name: str, bigquery: str) -> None:
    column = SourceColumn("c", type_name, "declared")
    array = SourceColumn("c", type_name, "declared[]", is_array=True)
    assert column.field(mode=REQUIRED, description="d") == Field("c", bigquery, REQUIRED, "d", "declared")
    mode = "NULLABLE" if bigquery == "JSON" else REPEATED
    assert array.field(mode=REQUIRED, description="d") == Field("c", bigquery, mode, "d", "declared[]")


def test_every_type_has_an_arrow_type() -> None:
    assert {known.bigquery for known in POSTGRESQL_TYPES.values()} < set(ARROW_TYPES)


@pytest.mark.parametrize(
    ("precision", "scale", "bigquery"),
    [
        pytest.param(38, 9, "NUMERIC", id="widest NUMERIC"),
        pytest.param(39, 10, "BIGNUMERIC", id="one digit more after the point"),
        pytest.param(39, 9, "BIGNUMERIC", id="one digit more before the point"),
        pytest.param(76, 38, "BIGNUMERIC", id="widest BIGNUMERIC"),
        pytest.param(77, 38, "STRING", id="39 digits before the point"),
        pytest.param(40, 39, "STRING", id="39 digits after the point"),
        pytest.param(3, -2, "NUMERIC", id="negative scale"),
        pytest.param(30, -9, "STRING", id="negative scale, 39 digits before the point"),
        pytest.param(3, 5, "NUMERIC", id="scale above precision"),
        pytest.param(1000, 1000, "STRING", id="largest"),
        pytest.param(None, None, "BIGNUMERIC", id="none declared"),
    ],
)
def test_numeric(precision: int | None, scale: int | None, bigquery: str) -> None:
    column = SourceColumn("c", "numeric", "numeric", precision=precision, scale=scale)
    assert column.field().type == bigquery


def test_a_composite_is_json_and_so_is_an_array_of_them() -> None:
    assert SourceColumn("c", "", "point3d", is_composite=True).field().type_name == "JSON"
    assert SourceColumn("c", "", "point3d[]", is_array=True, is_composite=True).field().type_name == "JSON"


@pytest.mark.parametrize(
    ("type_name", "expression"),
    [
        pytest.param("int8", 'q."c"', id="as it is"),
        pytest.param("float4", 'q."c"::float8', id="widened"),
        pytest.param("money", 'q."c"::numeric', id="without its locale"),
        pytest.param("oid", 'q."c"::int8', id="oid"),
        pytest.param("bytea", 'q."c"', id="bytea"),
        pytest.param("hstore", 'q."c"::json', id="hstore"),
        pytest.param("tsvector", 'q."c"', id="any other"),
    ],
)
def test_expression(type_name: str, expression: str) -> None:
    column = SourceColumn("c", type_name, "declared")
    assert column.expression(column.field(), "q") == expression


@pytest.mark.parametrize(
    ("type_name", "expression"),
    [
        pytest.param("int8", 'q."c"::int8[]', id="numbers"),
        pytest.param("float4", 'q."c"::float8[]', id="widened"),
        pytest.param("money", 'q."c"::numeric[]', id="without its locale"),
        pytest.param("bpchar", 'q."c"::bpchar[]', id="with its blanks"),
        pytest.param("interval", 'array_to_json(q."c")', id="any other as texts"),
        pytest.param("jsonb", 'array_to_json(q."c")', id="jsonb"),
    ],
)
def test_array_expression(type_name: str, expression: str) -> None:
    column = SourceColumn("c", type_name, "declared[]", is_array=True)
    assert column.expression(column.field(), "q") == expression
    assert column.expression(column.field().as_type("JSON"), "q") == 'array_to_json(q."c")'


@pytest.mark.parametrize(
    ("type_name", "wanted", "expression"),
    [
        pytest.param("int8", "FLOAT64", 'q."c"::float8', id="INT64-FLOAT64"),
        pytest.param("oid", "FLOAT64", 'q."c"::int8::float8', id="oid-FLOAT64"),
        pytest.param("numeric", "INT64", 'trim_scale(q."c")', id="BIGNUMERIC-INT64"),
        pytest.param("money", "INT64", 'trim_scale(q."c"::numeric)', id="money-INT64"),
        pytest.param("money", "STRING", 'q."c"::numeric::text', id="money-STRING"),
        pytest.param("float4", "STRING", 'q."c"::text', id="float4-STRING"),
        pytest.param("float4", "NUMERIC", 'q."c"::text', id="float4-NUMERIC"),
        pytest.param("timestamp", "TIMESTAMP", "q.\"c\" AT TIME ZONE 'UTC'", id="DATETIME-TIMESTAMP"),
        pytest.param("timestamptz", "DATETIME", "q.\"c\" AT TIME ZONE 'UTC'", id="TIMESTAMP-DATETIME"),
        pytest.param("uuid", "FLOAT64", 'q."c"::text::float8', id="STRING-FLOAT64"),
        pytest.param("jsonb", "STRING", 'q."c"::text', id="JSON-STRING"),
        pytest.param("hstore", "STRING", 'q."c"::json::text', id="hstore-STRING"),
        pytest.param("date", "STRING", 'q."c"::text', id="DATE-STRING"),
    ],
)
def test_expression_of_another_type(type_name: str, wanted: str, expression: str) -> None:
    column = SourceColumn("c", type_name, "declared")
    assert column.expression(column.field().as_type(wanted), "q") == expression


def test_only_casts_that_can_be_asked_for_have_an_expression() -> None:
    allowed = {(own, other) for casts in (LOSSLESS_CASTS, EXPLICIT_CASTS) for own in casts for other in casts[own]}
    assert set(CAST_EXPRESSIONS) <= allowed
    assert ANY_OTHER_TYPE.bigquery == "STRING"


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        pytest.param("id", '"id"', id="plain"),
        pytest.param("Order Id", '"Order Id"', id="capitals and a space"),
        pytest.param('a"b', '"a""b"', id="a quote"),
        pytest.param("%s{}", '"%s{}"', id="what others would format"),
    ],
)
def test_quoted_identifier(name: str, quoted: str) -> None:
    assert quoted_identifier(name) == quoted


def test_a_column_s_name_is_never_formatted() -> None:
    column = SourceColumn('{column}"{0}', "float4", "real")
    assert column.expression(column.field(), "q") == 'q."{column}""{0}"::float8'
    assert column.expression(column.field().as_type("STRING"), "q") == 'q."{column}""{0}"::text'
    double = SourceColumn("{column}", "money", "money")
    assert double.expression(double.field().as_type("INT64"), "q") == 'trim_scale(q."{column}"::numeric)'
