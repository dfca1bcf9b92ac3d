from __future__ import annotations

import json
from decimal import Decimal

import pyarrow as pa
import pytest

from sync_pipeline.schema import RANGE, REPEATED, REQUIRED, STRUCT, Field, Schema
from sync_pipeline.sources.bigquery.storage_read import SERVICE_COLUMNS, as_arrow_type, checked_parts, session_limit
from sync_pipeline.sources.source import DeadLetter
from sync_pipeline.transforms.sql_conversions import Check

CHECKS = (Check("id", "…", "id is NULL"), Check("n", "…", "n does not fit"))
SCHEMA = Schema((Field("id", "INT64"), Field("n", "NUMERIC")))


def batch(*rows: tuple[int | None, str | None, str | None]) -> pa.RecordBatch:
    ids, numbers, texts = (list(column) for column in zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(ids, pa.int64()),
            pa.array([None] * len(rows), pa.decimal128(10, 2)),
            pa.array(numbers, pa.string()),
            pa.array(texts, pa.string()),
        ],
        names=["id", "n", *SERVICE_COLUMNS],
    )


def test_rows_that_do_not_fit_become_dead_letters() -> None:
    rejected = json.dumps({"id": None, "n": "x"})
    parts = list(checked_parts(batch((1, None, None), (None, "0,1,", rejected), (3, None, None)), SCHEMA, CHECKS))
    assert parts[0] == DeadLetter(("id", "n"), "id is NULL\nn does not fit", {"id": None, "n": "x"})
    assert parts[1].schema == SCHEMA.arrow
    assert parts[1].column("id").to_pylist() == [1, 3]


def test_a_batch_of_rejected_rows_leaves_no_empty_batch() -> None:
    parts = list(checked_parts(batch((1, "1,", "{}")), SCHEMA, CHECKS))
    assert [type(part) for part in parts] == [DeadLetter]


def test_null_in_a_required_column_does_not_fit() -> None:
    schema = Schema((Field("id", "INT64", REQUIRED), Field("b", "BYTES")))
    rows = pa.RecordBatch.from_arrays([pa.array([1, None, 3]), pa.array([b"a", b"b", None])], names=["id", "b"])
    letter, table = checked_parts(rows, schema, ())
    assert isinstance(letter, DeadLetter)
    assert letter.reason.startswith("column 'id' has NULL, which is not allowed")
    assert (letter.columns, letter.row) == (("id",), {"id": None, "b": "62"})
    assert table.to_pylist() == [{"id": 1, "b": b"a"}, {"id": 3, "b": None}]


@pytest.mark.parametrize(
    ("sent", "field", "values"),
    [
        pytest.param(
            pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            Field("v", "NUMERIC"),
            [Decimal("1.500000000"), None],
            id="NUMERIC(10, 2)",
        ),
        pytest.param(
            pa.array([{"a": 1, "b": 2}, None], pa.struct([("a", pa.date32()), ("b", pa.date32())])),
            Field("v", RANGE, parameters="DATE"),
            None,
            id="RANGE by position",
        ),
        pytest.param(
            pa.array([[{"n": Decimal(1)}, None], [], None], pa.list_(pa.struct([("n", pa.decimal128(5, 0))]))),
            Field("v", STRUCT, REPEATED, fields=(Field("n", "NUMERIC"),)),
            [[{"n": Decimal("1.000000000")}, None], [], None],
            id="array of STRUCT",
        ),
        pytest.param(
            pa.array([{"n": None}, None], pa.struct([pa.field("n", pa.int64(), nullable=True)])),
            Field("v", STRUCT, fields=(Field("n", "INT64", REQUIRED),)),
            [{"n": None}, None],
            id="STRUCT that is NULL",
        ),
    ],
)
def test_as_arrow_type(sent: pa.Array, field: Field, values: list[object] | None) -> None:
    converted = as_arrow_type(sent, field.arrow_type)
    converted.validate(full=True)
    assert converted.type == field.arrow_type
    if values is not None:
        assert converted.to_pylist() == values
    else:
        assert [value and list(value) for value in converted.to_pylist()] == [["start", "end"], None]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(0, "", id="nothing"),
        pytest.param(540 * 10**9, "", id="one worker's six hours"),
        pytest.param(
            10 * 10**12,
            "; BigQuery ends the session after six hours, so 10.0 TB need at least 19 workers "
            "(at 25 MB per second each)",
            id="ten terabytes",
        ),
    ],
)
def test_a_session_that_ends_too_early_is_foreseen(size: int, expected: str) -> None:
    assert session_limit(size) == expected
