from __future__ import annotations

from sync_pipeline.schema import ARROW_TYPES, Field
from sync_pipeline.transforms.rejected_values import LIMITS, invalid_value, null_value


def test_invalid_value() -> None:
    field = Field("n", "INT64", source_type="int8")
    assert invalid_value(field, "long", "Do this", LIMITS["INT64"]) == (
        "column 'n' (long to INT64) has an invalid value: INT64 holds whole numbers from -2^63 to 2^63-1. Do this"
    )
    assert invalid_value(field, "long", "Do this") == "column 'n' (long to INT64) has an invalid value. Do this"


def test_null_value() -> None:
    assert null_value(Field("n", "INT64")) == (
        "column 'n' has NULL, which is not allowed: it is in primary_key, or REQUIRED in the destination. Correct the "
        "rows or the query, or in an existing table run ALTER TABLE … ALTER COLUMN `n` DROP NOT NULL"
    )


def test_limits_are_of_types() -> None:
    assert LIMITS.keys() < ARROW_TYPES.keys()
    assert all(limit.startswith(name) for name, limit in LIMITS.items())
