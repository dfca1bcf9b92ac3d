"""The worst documents that MongoDB keeps: equal on both sides, or by the policy that the documents state for them."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from tests.integration.mongodb_syncing import MongodbSyncing

OBJECT_ID = ObjectId("65f0c0ffee65f0c0ffee65f0")
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


@dataclass(frozen=True)
class Raw:
    """A value that the driver does not write: its type byte, and its bytes."""

    code: int
    value: bytes


@dataclass(frozen=True)
class Case:
    """A value, the type of a column that has nothing else, what it holds there, and the JSON it is anywhere else."""

    value: Any
    type_name: str
    stored: Any
    json: Any


def _as_it_is(type_name: str, value: Any) -> Case:
    return Case(value, type_name, value, value)


def _only_json(value: Any, expected: Any) -> Case:
    return Case(value, "JSON", expected, expected)


def _moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    "double": _as_it_is("FLOAT", 0.1),
    "double_whole": _as_it_is("FLOAT", 3.0),
    "double_minus_zero": _as_it_is("FLOAT", -0.0),
    "double_least": _as_it_is("FLOAT", 5e-324),
    "double_most": _as_it_is("FLOAT", 1.7976931348623157e308),
    "double_nan": Case(math.nan, "FLOAT", math.nan, "NaN"),
    "double_infinity": Case(math.inf, "FLOAT", math.inf, "Infinity"),
    "double_minus_infinity": Case(-math.inf, "FLOAT", -math.inf, "-Infinity"),
    "int_least": _as_it_is("INTEGER", -(2**31)),
    "int_most": _as_it_is("INTEGER", 2**31 - 1),
    "long_least": _as_it_is("INTEGER", Int64(-(2**63))),
    "long_most": _as_it_is("INTEGER", Int64(2**63 - 1)),
    "long_no_double": _as_it_is("INTEGER", Int64(2**53 + 1)),
    "bool_true": _as_it_is("BOOLEAN", True),
    "bool_false": _as_it_is("BOOLEAN", False),
    "string": _as_it_is("STRING", 'é 日本 \U0001f600 "quoted" \\ \n\r\t\x00\x01\x7f\u2028'),
    "string_empty": _as_it_is("STRING", ""),
    "string_like_json": _as_it_is("STRING", '{"a": null}'),
    "string_null": _as_it_is("STRING", "null"),
    "date": Case(_moment(2025, 7, 22, 13, 0, 0, 123_000), "TIMESTAMP", None, "2025-07-22T13:00:00.123000Z"),
    "date_whole_second": Case(_moment(2025, 7, 22, 13), "TIMESTAMP", None, "2025-07-22T13:00:00Z"),
    "date_before_1970": Case(
        _moment(1969, 12, 31, 23, 59, 59, 999_000), "TIMESTAMP", None, "1969-12-31T23:59:59.999000Z"
    ),
    "date_first": Case(_moment(1, 1, 1), "TIMESTAMP", None, "0001-01-01T00:00:00Z"),
    "date_last": Case(_moment(9999, 12, 31, 23, 59, 59, 999_000), "TIMESTAMP", None, "9999-12-31T23:59:59.999000Z"),
    "decimal": Case(Decimal128("-0.10"), "BIGNUMERIC", Decimal("-0.1"), "-0.10"),
    "decimal_zero": Case(Decimal128("0E+3"), "BIGNUMERIC", Decimal(0), "0E+3"),
    "decimal_digits": Case(
        # Of 34; as many as the emulator's BIGNUMERIC has on both sides of the point.
        Decimal128("9876543210987654.321098765432109876"),
        "BIGNUMERIC",
        Decimal("9876543210987654.321098765432109876"),
        "9876543210987654.321098765432109876",
    ),
    "object_id": Case(OBJECT_ID, "STRING", str(OBJECT_ID), str(OBJECT_ID)),
    "binary": Case(b"\x00\xff", "BYTES", b"\x00\xff", "AP8="),
    "binary_empty": Case(b"", "BYTES", b"", ""),
    "binary_old": Case(Binary(b"\x01\x02", 2), "BYTES", b"\x01\x02", "AQI="),
    "binary_old_uuid": Case(Binary(bytes(16), 3), "BYTES", bytes(16), "AAAAAAAAAAAAAAAAAAAAAA=="),
    "binary_own": Case(Binary(b"\xfe", 128), "BYTES", b"\xfe", "/g=="),
    "uuid": Case(Binary.from_uuid(UUID), "STRING", str(UUID), str(UUID)),
    "javascript": Case(Code("f()"), "STRING", "f()", "f()"),
    "symbol": Case(Raw(0x0E, b"\x04\0\0\0sym\0"), "STRING", "sym", "sym"),
    "null": Case(None, "STRING", None, None),
    "undefined": Case(Raw(0x06, b""), "STRING", None, None),
    "javascript_with_scope": _only_json(
        Code("f(x)", {"x": 1}), {"$code": "f(x)", "$scope": {"x": {"$numberInt": "1"}}}
    ),
    "regex": _only_json(Regex("^a.b$", "im"), {"$regularExpression": {"pattern": "^a.b$", "options": "im"}}),
    "timestamp": _only_json(Timestamp(2**32 - 1, 1), {"$timestamp": {"t": 2**32 - 1, "i": 1}}),
    "min_key": _only_json(MinKey(), {"$minKey": 1}),
    "max_key": _only_json(MaxKey(), {"$maxKey": 1}),
    "db_pointer": _only_json(Raw(0x0C, b"\x02\0\0\0c\0" + OBJECT_ID.binary), {"$ref": "c", "$id": str(OBJECT_ID)}),
    "db_ref": _only_json(DBRef("c", OBJECT_ID, "d"), {"$ref": "c", "$id": str(OBJECT_ID), "$db": "d"}),
    "object_empty": _only_json({}, {}),
    "array_empty": _only_json([], []),
    "array_of_all": _only_json(
        [1, None, math.nan, [], {}, "x", [[None]], Decimal128("NaN"), Int64(2**62)],
        [1, None, "NaN", [], {}, "x", [[None]], "NaN", 2**62],
    ),
    "names": _only_json(
        {"": 1, "a.b": 2, "$c": 3, "d e": 4, "É日": 5, "A": 6, "a": 7, '"': 8, "\n": 9, "x" * 1000: 10, "0": 11},
        {"": 1, "a.b": 2, "$c": 3, "d e": 4, "É日": 5, "A": 6, "a": 7, '"': 8, "\n": 9, "x" * 1000: 10, "0": 11},
    ),
}

# What a column of their own type cannot hold; beside other types they are JSON.
REJECTED: dict[str, tuple[Any, Any]] = {
    "date_after_9999": (DatetimeMS(253_402_300_800_000), {"$date": {"$numberLong": "253402300800000"}}),
    "date_first_of_all": (DatetimeMS(-(2**63)), {"$date": {"$numberLong": "-9223372036854775808"}}),
    "date_last_of_all": (DatetimeMS(2**63 - 1), {"$date": {"$numberLong": "9223372036854775807"}}),
    "date_before_year_1": (DatetimeMS(-62_135_596_800_001), {"$date": {"$numberLong": "-62135596800001"}}),
    "decimal_nan": (Decimal128("NaN"), "NaN"),
    "decimal_infinity": (Decimal128("Infinity"), "Infinity"),
    "decimal_minus_infinity": (Decimal128("-Infinity"), "-Infinity"),
    "decimal_most": (
        Decimal128("9.999999999999999999999999999999999E+6144"),
        "9.999999999999999999999999999999999E+6144",
    ),
    "decimal_least": (Decimal128("1E-6176"), "1E-6176"),
}


def _document(fields: Iterable[tuple[str, Any]]) -> RawBSONDocument:
    """Return a document that may hold values and names that the driver does not write."""
    parts = b""
    for name, value in fields:
        if isinstance(value, Raw):
            parts += bytes([value.code]) + name.encode() + b"\0" + value.value
        else:
            parts += bson.encode({name: value})[4:-1]
    return RawBSONDocument((len(parts) + 5).to_bytes(4, "little") + parts + b"\0")


def _strict(value: Any) -> str:
    """Return JSON in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


def _nested(value: Any) -> Any:
    return _document([("v", value)]) if isinstance(value, Raw) else {"v": value}


def test_every_type_alone_nested_and_mixed(syncing: MongodbSyncing) -> None:
    alone = {name: case.value for name, case in CASES.items()}
    values = {**alone, **{name: value for name, (value, _) in REJECTED.items()}}
    expected = {**{name: case.json for name, case in CASES.items()}, **{n: e for n, (_, e) in REJECTED.items()}}
    fields: list[tuple[str, Any]] = [("_id", 1), *alone.items()]
    fields += [(f"nested_{name}", _nested(value)) for name, value in values.items()]
    fields += [(f"mixed_{name}", value) for name, value in values.items()]
    other = [("_id", 2), *((f"mixed_{name}", []) for name in values)]
    syncing.collection.insert_many([_document(fields), _document(other), _document([("_id", 3)])])
    run = syncing.run().succeeded()
    assert (run.rows_read, run.rows_loaded, run.report["dead_letters"]) == (3, 3, "0")

    types = {field.name: field.field_type for field in syncing.table().schema}
    assert {name: types[name] for name in CASES} == {name: case.type_name for name, case in CASES.items()}
    assert {types[name] for name in types if name.startswith(("nested_", "mixed_"))} == {"JSON"}
    row, mixed, empty = (
        dict(zip(types, values, strict=True)) for values in syncing.rows(", ".join(f"`{n}`" for n in types))
    )
    for name, case in CASES.items():
        stored = case.value if case.type_name == "TIMESTAMP" else case.stored
        if case.type_name == "JSON":
            assert _strict(row[name]) == _strict(stored), name
        elif case.type_name == "FLOAT":
            assert repr(row[name]) == repr(stored), name
        else:
            assert row[name] == stored, name
    assert {name: _strict(row[f"nested_{name}"]) for name in values} == {
        name: _strict({"v": value}) for name, value in expected.items()
    }
    assert {name: _strict(row[f"mixed_{name}"]) for name in values} == {
        name: _strict(value) for name, value in expected.items()
    }
    assert {name: value for name, value in mixed.items() if value is not None} == {
        "_id": 2,
        **{f"mixed_{name}": [] for name in values},
    }
    assert {name for name, value in empty.items() if value is not None} == {"_id"}


def test_values_that_fit_no_column_are_dead_letters_or_end_the_run(syncing: MongodbSyncing) -> None:
    fitting = {"d": _moment(2025, 1, 1), "n": Decimal128("1")}
    documents = [{"_id": 0, **fitting}]
    for name, (value, _) in REJECTED.items():
        documents.append({"_id": len(documents), **fitting, "d" if name.startswith("date") else "n": value})
    syncing.insert(*documents)
    message = syncing.run().refused("column 'd' (date to TIMESTAMP)", "column 'n' (decimal to BIGNUMERIC)")
    assert "(in 4 of 10 documents)" in message
    assert "(in 5 of 10 documents)" in message
    assert not any(digits in message for digits in ("253402300800000", "62135596800001", "999999999", "6176"))
    assert syncing.left_over() == []
    assert syncing.tables() == []

    letters = f"{syncing.endpoints.project}.{syncing.dataset}.letters"
    run = syncing.run(dead_letter_table=letters).succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (1, "9")
    assert syncing.query("SELECT _id, d, n FROM items") == [(0, fitting["d"], Decimal(1))]
    kept = [json.loads(text) for text in syncing.column("SELECT source_row FROM letters")]
    texts = {letter["_id"]: letter for letter in kept}
    for place, (name, (_, expected)) in enumerate(REJECTED.items(), 1):
        text = texts[str(place)]["d" if name.startswith("date") else "n"]
        assert (text if isinstance(expected, str) else json.loads(text)) == expected, name


def test_levels_of_nesting(syncing: MongodbSyncing) -> None:
    objects: Any = Int64(2**62)
    arrays: Any = "deepest"
    both: Any = None
    # The document itself is the first of the hundred that MongoDB promises.
    for level in range(99):
        objects, arrays, both = {"a": objects}, [arrays], [level, both] if level % 2 else {"n": level, "b": both}
    syncing.insert({"_id": 1, "objects": objects, "arrays": arrays, "both": both}, {"_id": 2})
    syncing.run().succeeded()
    assert syncing.rows("objects, arrays, `both`") == [(objects, arrays, both), (None, None, None)]


def test_missing_null_and_mixed_in_one_field(syncing: MongodbSyncing) -> None:
    values = [
        1,
        None,
        "x",
        2.5,
        True,
        [],
        {"a": None},
        Int64(2**60),
        Decimal128("1.50"),
        OBJECT_ID,
        _moment(2025, 1, 1),
    ]
    syncing.insert({"_id": 0}, *({"_id": place, "f": value} for place, value in enumerate(values, 1)))
    syncing.run().succeeded()
    expected = [None, 1, None, "x", 2.5, True, [], {"a": None}, 2**60, "1.50", str(OBJECT_ID), "2025-01-01T00:00:00Z"]
    assert [_strict(value) for value in syncing.column("SELECT f FROM items ORDER BY _id")] == list(
        map(_strict, expected)
    )


NAMES = {
    "with.dot": "with_dot",
    "$dollar": "dollar",
    "with space": "with_space",
    "größe": "grosse",
    "日本": "field_e697a5e69cac",
    "": "field_",
    "1st": "c_1st",
    "a" * 300: "a" * 300,
    "b" * 301: "b" * 290,
    "_TABLE_x": "TABLE_x",
    "select": "select",
    "\U0001f600": "field_f09f9880",
}


def test_names_of_fields(syncing: MongodbSyncing) -> None:
    syncing.insert({"_id": 0, **{name: place for place, name in enumerate(NAMES, 1)}})
    syncing.run().succeeded()
    columns = [field.name for field in syncing.table().schema]
    assert dict(zip(columns, syncing.rows()[0], strict=True)) == {
        "_id": 0,
        **{column: place for place, column in enumerate(NAMES.values(), 1)},
    }


def test_all_names_in_one_document(syncing: MongodbSyncing) -> None:
    document = {"_id": 0, **dict.fromkeys(NAMES, 1), "A": 1, "a": 2, "With space": 3, "with_space": 4}
    syncing.insert(document)
    syncing.run().refused("'with space' and 'with_space' would both be column 'with_space'")
    syncing.run(mongodb_document_mode="true").succeeded()
    assert syncing.column("SELECT document FROM items") == [document]


def test_a_name_twice_in_one_document(syncing: MongodbSyncing) -> None:
    nested = _document([("v", 1), ("v", 2)])
    syncing.collection.insert_many(
        [_document([("_id", 1), ("a", 1), ("a", 2)]), _document([("_id", 2), ("a", 3), ("n", nested)])]
    )
    syncing.run().refused("the document has two fields 'a' (in 1 of 2 documents)")
    run = syncing.run(dead_letter_table=f"{syncing.endpoints.project}.{syncing.dataset}.letters").succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (1, "1")
    # Below the top the last one counts, as for MongoDB's drivers.
    assert syncing.query("SELECT a, n FROM items") == [(3, {"v": 2})]


@pytest.mark.parametrize("nested", [False, True], ids=["field", "nested"])
def test_a_text_that_is_no_unicode(syncing: MongodbSyncing, nested: bool) -> None:
    value: Any = Raw(0x02, b"\x03\0\0\0\xff\xfe\0")
    if nested:
        value = _document([("v", value)])
    good = {"v": "x"} if nested else "x"
    syncing.collection.insert_many([_document([("_id", 1), ("a", value)]), _document([("_id", 2), ("a", good)])])
    syncing.run().refused("column 'a' (", "has an invalid value", "UTF-8", "(in 1 of 2 documents)")
    run = syncing.run(dead_letter_table=f"{syncing.endpoints.project}.{syncing.dataset}.letters").succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (1, "1")


@pytest.mark.parametrize("mode", ["false", "true"], ids=["columns", "document"])
def test_documents_of_16_megabytes(syncing: MongodbSyncing, mode: str) -> None:
    # What is left of the server's 16 MiB goes to names, lengths and types.
    text = "é" * (8 * 2**20 - 60)
    tree = [{"k": number, "text": "x" * 1000} for number in range(15_000)]
    syncing.insert({"_id": 1, "text": text}, {"_id": 2, "tree": tree}, {"_id": 3, "text": "small"})
    run = syncing.run(mongodb_document_mode=mode).succeeded()
    assert run.rows_loaded == 3
    if mode == "false":
        assert syncing.query("SELECT _id, LENGTH(text) FROM items ORDER BY _id") == [(1, len(text)), (2, None), (3, 5)]
        found = syncing.column("SELECT tree FROM items WHERE _id = 2")
    else:
        lengths = syncing.query("SELECT _id, LENGTH(JSON_VALUE(document, '$.text')) FROM items ORDER BY _id")
        assert lengths == [("1", len(text)), ("2", None), ("3", 5)]
        found = syncing.column("SELECT JSON_QUERY(document, '$.tree') FROM items WHERE _id = '2'")
    assert found == [tree]
