from __future__ import annotations

import pytest

from sync_pipeline.bigquery_api.own_tables import DEAD_LETTER_SCHEMA, is_temporary, missing_dead_letter_columns
from sync_pipeline.schema import Field, Schema


@pytest.mark.parametrize(
    ("table_id", "expected"),
    [
        ("_staging_20250722T150000_0a1b2c3d", True),
        ("_staging_20250722T150000_0a1b2c3d_12", True),
        ("_replacement_20250722T150000_0a1b2c3d", True),
        ("_replaced_20250722T150000_0a1b2c3d_1", True),
        ("_staging_orders", False),
        ("_staging", False),
        ("staging_20250722T150000_0a1b2c3d", False),
        ("_staging_20250722T150000_0a1b2c3d_copy", False),
    ],
)
def test_names_of_temporary_tables(table_id: str, expected: bool) -> None:
    assert is_temporary(table_id) is expected


def test_columns_of_dead_letters() -> None:
    assert missing_dead_letter_columns(DEAD_LETTER_SCHEMA) == []
    assert missing_dead_letter_columns(Schema((*DEAD_LETTER_SCHEMA, Field("note", "STRING")))) == []
    others = Schema((*DEAD_LETTER_SCHEMA.fields[:4], Field("reason", "INT64")))
    assert missing_dead_letter_columns(others) == ["reason STRING", "source_row STRING"]
