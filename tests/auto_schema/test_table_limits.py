from __future__ import annotations

import re

import pytest

from sync_pipeline.auto_schema.table_limits import check_columns
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.schema import MAX_COLUMNS, STRUCT, Field, Schema


def columns(count: int) -> tuple[Field, ...]:
    return tuple(Field(f"c{number}", "INT64") for number in range(count))


def test_as_many_columns_as_bigquery_takes() -> None:
    check_columns(Schema(columns(MAX_COLUMNS)))


@pytest.mark.parametrize(
    ("schema", "source", "remedy"),
    [
        pytest.param(columns(12_000), "postgresql", "leave some out with exclude_fields", id="a table"),
        pytest.param(columns(12_000), "mongodb", "load whole documents into one column", id="documents"),
        pytest.param((Field("s", STRUCT, fields=columns(11_999)),), "postgresql", "leave some out", id="nested"),
    ],
)
def test_more_columns_are_refused(schema: tuple[Field, ...], source: str, remedy: str) -> None:
    message = f"the table would have 12,000 columns, but BigQuery allows 10,000: {remedy}"
    with pytest.raises(SchemaError, match=re.escape(message)):
        check_columns(Schema(schema), declared(source).too_many_columns)
