from __future__ import annotations

import pytest

from sync_pipeline.schema import REPEATED, REQUIRED, Field
from sync_pipeline.transforms.sql_conversions import convert


@pytest.mark.parametrize(
    ("source", "read", "value", "rejected_rows"),
    [
        pytest.param(Field("v", "JSON"), Field("v", "JSON"), "x", [], id="the same"),
        pytest.param(Field("v", "INT64"), Field("v", "STRING"), "CAST(x AS STRING)", [], id="sure"),
        pytest.param(
            Field("v", "STRING"),
            Field("v", "INT64"),
            "SAFE_CAST(x AS INT64)",
            ["x IS NOT NULL AND (SAFE_CAST(x AS INT64) IS NULL)"],
            id="checked",
        ),
        pytest.param(
            Field("v", "NUMERIC"),
            Field("v", "INT64"),
            "SAFE_CAST(x AS INT64)",
            ["x IS NOT NULL AND (SAFE_CAST(x AS INT64) IS NULL OR CAST(SAFE_CAST(x AS INT64) AS NUMERIC) != x)"],
            id="never rounded",
        ),
        pytest.param(
            Field("v", "NUMERIC"),
            Field("v", "NUMERIC", parameters="10, 2"),
            "x",
            ["x IS NOT NULL AND ROUND(x, 2) != x"],
            id="never rounded to the digits of the column",
        ),
        pytest.param(
            Field("v", "NUMERIC", REPEATED, parameters="10, 2"),
            Field("v", "NUMERIC", REPEATED, parameters="10"),
            "x",
            ["EXISTS(SELECT 1 FROM UNNEST(x) AS element WHERE element IS NOT NULL AND ROUND(element, 0) != element)"],
            id="nor in an array",
        ),
        *(
            pytest.param(
                Field("v", type_name, parameters=digits),
                Field("v", "NUMERIC", parameters=room),
                value,
                [],
                id=f"{type_name}({digits}) has room in NUMERIC({room})",
            )
            for type_name, digits, room, value in (
                ("NUMERIC", "", "", "x"),
                ("NUMERIC", "10, 2", "", "x"),
                ("NUMERIC", "10, 2", "20, 2", "x"),
                ("NUMERIC", "10", "20", "x"),
                ("INT64", "", "10", "CAST(x AS NUMERIC)"),
            )
        ),
        pytest.param(Field("v", "INT64", REPEATED), Field("v", "JSON"), "TO_JSON(x)", [], id="array to JSON"),
        pytest.param(Field("v", "INT64"), Field("v", "INT64", REQUIRED), "x", ["x IS NULL"], id="NULL is refused"),
        pytest.param(Field("v", "INT64", REQUIRED), Field("v", "INT64", REQUIRED), "x", [], id="no NULL can be"),
        pytest.param(
            Field("v", "STRING"),
            Field("v", "BOOL", REQUIRED),
            "SAFE_CAST(x AS BOOL)",
            ["x IS NOT NULL AND (SAFE_CAST(x AS BOOL) IS NULL)", "x IS NULL"],
            id="both",
        ),
    ],
)
def test_convert(source: Field, read: Field, value: str, rejected_rows: list[str]) -> None:
    conversion = convert("x", source, read)
    assert (conversion.value, [check.rejected for check in conversion.checks]) == (value, rejected_rows)
