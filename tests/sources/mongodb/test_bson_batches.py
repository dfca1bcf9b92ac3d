"""Documents to tables: each value is in its column, or its document is a dead letter."""

from __future__ import annotations

import struct
import time
from typing import Any

import bson
import orjson
import pytest
from bson import Decimal128, Int64, ObjectId

from sync_pipeline.schema import REQUIRED, Field, Schema
from sync_pipeline.sources.mongodb import bson_scan
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_scan import Documents, MalformedBsonError
from sync_pipeline.sources.source import DeadLetter

COLUMNS = DocumentColumns(Schema((Field("_id", "INT64"), Field("a", "INT64"), Field("b", "STRING"))))

NAMES_ARE_DATA = {
    "document mode": DocumentColumns(Schema((Field("_id", "STRING"), Field("document", "JSON"))), has_document=True),
    "fields without a column": DocumentColumns(COLUMNS.schema, ignores_unknown=True),
}


def read(
    *documents: dict[str, Any], columns: DocumentColumns = COLUMNS
) -> tuple[list[tuple[Any, ...]], list[DeadLetter]]:
    return read_raw(b"".join(map(bson.encode, documents)), columns)


def read_raw(raw: bytes, columns: DocumentColumns = COLUMNS) -> tuple[list[tuple[Any, ...]], list[DeadLetter]]:
    table, letters = read_documents(Documents.of(raw), columns)
    assert table.schema == columns.schema.arrow
    return [tuple(row.values()) for row in table.to_pylist()], letters


def test_fields_in_any_order_missing_and_null() -> None:
    rows, letters = read({"_id": 1, "a": 1, "b": "x"}, {"b": "y", "_id": 2}, {"a": None, "_id": 3, "b": None}, {})
    assert rows == [(1, 1, "x"), (2, None, "y"), (3, None, None), (None, None, None)]
    assert letters == []


def test_many_shapes() -> None:
    documents = [
        {"_id": number} | {key: value for key, value in (("a", number), ("b", str(number))) if number % (len(key) + 1)}
        for number in range(500)
    ]
    documents += [dict(reversed(document.items())) for document in documents]
    rows, _ = read(*documents)
    assert rows == [(document["_id"], document.get("a"), document.get("b")) for document in documents]


def test_types_that_come_late_are_loaded_where_they_fit() -> None:
    rows, letters = read(
        {"_id": 1, "a": Int64(5), "b": 7}, {"_id": 2, "a": 5.0, "b": True}, {"_id": 3, "a": Decimal128("5")}
    )
    assert rows == [(1, 5, "7"), (2, 5, "true"), (3, 5, None)]
    assert letters == []


def test_values_that_do_not_fit() -> None:
    rows, (letter,) = read({"_id": 1, "a": 1}, {"_id": 2, "a": "secret", "b": None, "c": None})
    assert rows == [(1, 1, None)]
    assert letter.columns == ("a",)
    assert letter.row == {"_id": "2", "a": "secret", "b": None}
    assert letter.reason == (
        "column 'a' (string to INT64) has an invalid value: INT64 holds whole numbers from -2^63 to 2^63-1. "
        'Load the field as text with transformation_config={"type_overrides": {"a": "STRING"}} (rebuild an existing '
        "table with delete_existing_table=true), "
        "or exclude such documents with mongodb_query"
    )


def test_several_problems_of_one_document() -> None:
    _, (letter,) = read({"_id": "x", "a": "y", "new": ObjectId(), "b": "fine"})
    assert letter.columns == ("_id", "a", "new")
    assert [line.split("'")[1] for line in letter.reason.splitlines()] == ["_id", "a", "new"]


def test_fields_without_a_column() -> None:
    rows, (letter,) = read({"_id": 1}, {"_id": 2, "c d": 5})
    assert rows == [(1, None, None)]
    assert letter.columns == ("c_d",)
    assert letter.reason.startswith(
        "field 'c d', which would be column 'c_d' (int) has no column: no document of the schema inference had it"
    )
    assert letter.row == {"_id": "2", "c_d": "5"}


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(DocumentColumns(COLUMNS.schema, left_out=frozenset({"c_d"})), id="left out"),
        pytest.param(DocumentColumns(COLUMNS.schema, ignores_unknown=True), id="all unknown"),
    ],
)
def test_fields_that_are_not_wanted(columns: DocumentColumns) -> None:
    assert read({"_id": 2, "c d": 5}, columns=columns) == ([(2, None, None)], [])


def test_fields_that_would_be_one_column() -> None:
    columns = DocumentColumns(Schema((Field("_id", "INT64"), Field("a_b", "INT64"))))
    rows, (letter,) = read({"_id": 1, "a_b": 1}, {"_id": 2, "a b": 2}, columns=columns)
    assert rows == [(1, 1)]
    assert letter.reason == ("fields 'a_b' and 'a b' would both be column 'a_b': exclude one with mongodb_projection")


@pytest.mark.parametrize(
    "second",
    [pytest.param(b"\x10a\0" + struct.pack("<i", 2), id="of one type"), pytest.param(b"\x08a\0\1", id="of two")],
)
def test_a_name_that_is_twice_in_a_document(second: bytes) -> None:
    body = b"\x10_id\0" + struct.pack("<i", 1) + b"\x10a\0" + struct.pack("<i", 1) + second
    raw = struct.pack("<i", len(body) + 5) + body + b"\0"
    rows, (letter,) = read_raw(bson.encode({"_id": 5, "a": 5}) + raw)
    assert rows == [(5, 5, None)]
    assert letter.columns == ("a",)


def test_required_columns() -> None:
    columns = DocumentColumns(Schema((Field("_id", "INT64", REQUIRED), Field("a", "INT64", REQUIRED))))
    rows, letters = read({"_id": 1, "a": 1}, {"_id": 2}, {"_id": 3, "a": None}, {"a": 4}, columns=columns)
    assert rows == [(1, 1)]
    assert [letter.columns for letter in letters] == [("a",), ("a",), ("_id",)]
    assert letters[0].reason.startswith("column 'a' is null or missing, which is not allowed")


def test_ids_as_text() -> None:
    columns = DocumentColumns(Schema((Field("_id", "STRING", REQUIRED),)))
    ids: list[Any] = ["x", 5, Int64(5), 5.0, Decimal128("5.0"), None, 2.5, 1e-7, Decimal128("2.50"), float("nan")]
    ids += [ObjectId("65f0c0ffee65f0c0ffee65f0"), {"a": 1}]
    rows, letters = read(*({"_id": value} for value in ids), columns=columns)
    assert letters == []
    assert [text for (text,) in rows] == [
        "x",
        "5",
        "5",
        "5",
        "5",
        "null",
        "2.5",
        "1e-07",
        '{"$numberDecimal": "2.50"}',
        '{"$numberDouble": "NaN"}',
        "65f0c0ffee65f0c0ffee65f0",
        '{"a": {"$numberInt": "1"}}',
    ]


def test_one_document_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of many names costs by its names, not by what a step over many documents costs."""
    steps = []
    step = bson_scan._Walk.step
    monkeypatch.setattr(bson_scan._Walk, "step", lambda walk, header: (steps.append(header), step(walk, header)))
    _, letters = read(*({"_id": number, **{f"{number}_{name}": 1 for name in range(300)}} for number in range(3)))
    assert [len(letter.columns) for letter in letters] == [300, 300, 300]
    # Of the documents together, until one is left; none of each alone, when it becomes a dead letter.
    assert len(steps) < 1000


def test_whole_documents() -> None:
    columns = DocumentColumns(Schema((Field("_id", "STRING"), Field("document", "JSON"))), has_document=True)
    rows, letters = read({"_id": 1, "document": 1, "a b": [], "a_b": None}, columns=columns)
    assert (rows, letters) == ([("1", '{"_id":1,"document":1,"a b":[],"a_b":null}')], [])


@pytest.mark.parametrize("columns", NAMES_ARE_DATA.values(), ids=NAMES_ARE_DATA)
def test_documents_with_hardly_a_name_in_common(columns: DocumentColumns) -> None:
    """Each name is looked for in few documents: with thousands of names it would take hours, not seconds."""
    documents: list[dict[str, Any]] = [
        {"_id": number, f"of {number}": {f"k{number}": number}, "a": number, f"b{number % 7}": "x" * (number % 5)}
        for number in range(5000)
    ]
    began = time.process_time()
    rows, letters = read(*documents, columns=columns)
    assert time.process_time() - began < 10
    assert letters == []
    if columns.has_document:
        assert [(key, orjson.loads(text)) for key, text in rows] == [(str(each["_id"]), each) for each in documents]
    else:
        assert rows == [(number, number, None) for number in range(5000)]


def test_bytes_and_undecodable_text_in_a_dead_letter() -> None:
    raw = bson.encode({"_id": 1, "b": "b_d!", "a": b"\x01"}).replace(b"_d!", b"\xff\xff!")
    rows, (letter,) = read_raw(raw)
    assert rows == []
    assert letter.columns == ("b", "a")
    assert letter.row == {"_id": "1", "b": "0500000062ffff2100", "a": "01"}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x05\0\0", id="cut"),
        pytest.param(b"\x09\0\0\0\x10a\0\1\0", id="value beyond the end"),
        pytest.param(b"\x0d\0\0\0\x42a\0\1\0\0\0\0", id="unknown type"),
        pytest.param(b"\x02\0\0\0\0", id="too short"),
    ],
)
def test_bytes_that_are_no_bson(raw: bytes) -> None:
    with pytest.raises(MalformedBsonError):
        read_documents(Documents.of(raw), COLUMNS)


@pytest.mark.parametrize("size", [1, 40, 1000, 10**9])
def test_parts_have_each_document_once(size: int) -> None:
    documents = Documents.of(b"".join(bson.encode({"_id": number, "b": "x" * (number % 7)}) for number in range(100)))
    parts = list(documents.parts(size))
    assert [part.document(row) for part in parts for row in range(len(part))] == [
        documents.document(row) for row in range(100)
    ]
    ids = [row["_id"] for part in parts for row in read_documents(part, COLUMNS)[0].to_pylist()]
    assert ids == list(range(100))
    assert len(parts) == {1: 100, 40: 50, 1000: 3, 10**9: 1}[size]
