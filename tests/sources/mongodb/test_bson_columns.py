"""Both ways to a column, at once and one by one, give the same."""

from __future__ import annotations

import math
import random
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import bson
import numpy as np
import pyarrow as pa
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from sync_pipeline.schema import ARROW_TYPES
from sync_pipeline.sources.mongodb import bson_columns
from sync_pipeline.sources.mongodb.bson_columns import Values, convert
from sync_pipeline.sources.mongodb.bson_scan import Documents, Elements, take_apart
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES
from sync_pipeline.sources.mongodb.to_json import DECODING, json_bytes

ID = ObjectId("65f0c0ffee65f0c0ffee65f0")
MOMENT = datetime(2024, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)

# Of each type, values that are easy to get wrong.
SAMPLES: dict[str, list[Any]] = {
    "double": [0.1, 1.0, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 123456789012345680.0, 1e-7, 2.0**53 + 2],
    "not finite": [math.nan, math.inf, -math.inf, 1.5],
    "string": ["", "a", 'quote " and \\', "line\nend\t\r\b\f\x00\x1f\x7f", "é漢😀", "5", "null", "{}", "\u2028"],
    "object": [{}, {"a": {}}, {"a": {"b": [1, {"c": None}]}}, {'é "x"': 1, "a.b": 2, "$c": 3}, {"a": 1, "b": "x"}],
    "array": [[], [[]], [None, 1, "a", 1.5, True], [{"a": 1}, {"a": "b"}], list(range(12)), [[1], [2, [3]]]],
    "binData": [b"", b"\x00\xff", Binary(b"ab", 5), Binary(b"x" * 16, 3)],
    "uuid": [uuid.UUID(int=5)],
    "objectId": [ID],
    "bool": [True, False],
    "date": [MOMENT, datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 1000, tzinfo=UTC)],
    "last date": [datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), DatetimeMS(253402300799999)],
    "date beyond": [DatetimeMS(253402300800000), DatetimeMS(-(2**63)), DatetimeMS(2**63 - 1)],
    "regex": [Regex("^a", "i")],
    "javascript": [Code("f()")],
    "javascriptWithScope": [Code("f()", {"x": 1})],
    "int": [0, -1, 2**31 - 1, -(2**31)],
    "timestamp": [Timestamp(5, 6)],
    "long": [Int64(2**63 - 1), Int64(-(2**63)), Int64(5), Int64(2**53), Int64(2**53 + 1)],
    "decimal": [Decimal128("1.10"), Decimal128("-0"), Decimal128("1E+5"), Decimal128("12345678901234567890.12345")],
    "extreme decimal": [
        Decimal128("9.999999999999999999999999999999999E+6144"),
        Decimal128("1E-6176"),
        Decimal128("NaN"),
    ],
    "minKey": [MinKey()],
    "maxKey": [MaxKey()],
    "reference": [{"r": DBRef("c", ID)}],
}


def elements_of(values: list[Any]) -> tuple[Documents, list[Elements]]:
    raw = b"".join(bson.encode({"v": value}, codec_options=DECODING) for value in values)
    documents = Documents.of(raw)
    return documents, take_apart(documents)


def both_ways(values: list[Any], type_name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Values], list[Values]]:
    documents, elements = elements_of(values)
    with monkeypatch.context() as patch:
        patch.setattr(bson_columns, "_AT_ONCE", 1)
        at_once = [convert(documents, part, type_name) for part in elements]
        patch.setattr(bson_columns, "_BULK", {})
        one_by_one = [convert(documents, part, type_name) for part in elements]
    return at_once, one_by_one


@pytest.mark.parametrize("type_name", sorted(ARROW_TYPES))
@pytest.mark.parametrize("values", [pytest.param(values, id=name) for name, values in SAMPLES.items()])
def test_both_ways_give_the_same(values: list[Any], type_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, exact in zip(*both_ways(values * 3, type_name, monkeypatch), strict=True):
        assert fast.array.type == exact.array.type == ARROW_TYPES[type_name]
        # NaN equals nothing, so the texts are compared.
        assert list(map(repr, fast.array.to_pylist())) == list(map(repr, exact.array.to_pylist()))
        assert (fast.rows.tolist(), fast.rejected_rows) == (exact.rows.tolist(), exact.rejected_rows)


def test_every_type_has_a_sample() -> None:
    codes = {part.code for values in SAMPLES.values() for part in elements_of(values)[1]}
    # The driver does not write these any more.
    old = {BSON_TYPES[name].code for name in ("undefined", "dbPointer", "symbol")}
    assert codes | old | {BSON_TYPES["null"].code} == {kind.code for kind in BSON_TYPES.values()}


def random_value(chance: random.Random, depth: int) -> Any:
    kinds = [*SAMPLES, "null"] if depth else ["int", "string", "double", "null", "date"]
    kind = chance.choice(kinds)
    if kind in ("object", "array") and depth:
        members = [random_value(chance, depth - 1) for _ in range(chance.randrange(4))]
        if kind == "array":
            return members
        return {chance.choice(["a", "b", "c d", 'q"']): member for member in members}
    return None if kind == "null" else chance.choice(SAMPLES[kind])


@pytest.mark.parametrize("seed", range(20))
def test_random_nested_documents(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    values = [{"x": random_value(chance, 3), "y": random_value(chance, 2)} for _ in range(60)]
    (fast,), (exact,) = both_ways(values, "JSON", monkeypatch)
    assert fast.array.to_pylist() == exact.array.to_pylist()


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        pytest.param("INT64", 5.0, 5, id="whole double as INT64"),
        pytest.param("INT64", Decimal128("0E+6111"), 0, id="zero of a great exponent as INT64"),
        pytest.param("BIGNUMERIC", Decimal128("0E+6111"), Decimal(0), id="zero of a great exponent as BIGNUMERIC"),
        pytest.param("NUMERIC", Decimal128("-0E-6176"), Decimal(0), id="zero of a small exponent as NUMERIC"),
        pytest.param("STRING", Binary(b"\1", 4), "AQ==", id="UUID of a wrong length as STRING"),
        pytest.param("BYTES", Binary(b"\1", 4), b"\1", id="UUID of a wrong length as BYTES"),
        pytest.param("INT64", 5.5, None, id="fraction as INT64"),
        pytest.param("INT64", "5", None, id="string as INT64"),
        pytest.param("INT64", True, None, id="bool as INT64"),
        pytest.param("INT64", Decimal128("7.0"), 7, id="whole decimal as INT64"),
        pytest.param("FLOAT64", Int64(2**53 + 1), None, id="long that is no double"),
        pytest.param("FLOAT64", Int64(2**60), 2.0**60, id="long that is a double"),
        pytest.param("FLOAT64", Decimal128("0.1"), None, id="decimal that is no double"),
        pytest.param("FLOAT64", Decimal128("0.5"), 0.5, id="decimal that is a double"),
        pytest.param("NUMERIC", Decimal128("1E-10"), None, id="too many digits for NUMERIC"),
        pytest.param("NUMERIC", Decimal128("1.1000000000000"), Decimal("1.1"), id="zeros behind do not count"),
        pytest.param("BIGNUMERIC", Decimal128("NaN"), None, id="NaN as BIGNUMERIC"),
        pytest.param("BIGNUMERIC", Decimal128("1E+38"), None, id="too large for BIGNUMERIC"),
        pytest.param("BIGNUMERIC", Decimal128("1E+37"), Decimal("1E+37"), id="largest power of BIGNUMERIC"),
        pytest.param("TIMESTAMP", DatetimeMS(253402300800000), None, id="year 10000"),
        pytest.param("TIMESTAMP", "2024-01-01T00:00:00Z", None, id="string as TIMESTAMP"),
        pytest.param("STRING", 5, "5", id="int as text"),
        pytest.param("STRING", True, "true", id="bool as text"),
        pytest.param("STRING", 0.1, "0.1", id="double as text"),
        pytest.param("STRING", math.nan, "NaN", id="NaN as text"),
        pytest.param("STRING", Decimal128("1.10"), "1.10", id="decimal as text"),
        pytest.param("STRING", MOMENT, "2024-02-03T04:05:06.789000Z", id="date as text"),
        pytest.param("STRING", ["a", 1], '["a",1]', id="array as text"),
        pytest.param("BYTES", uuid.UUID(int=1), bytes(15) + b"\x01", id="uuid as BYTES"),
        pytest.param("BYTES", "a", None, id="string as BYTES"),
        pytest.param("JSON", "a", '"a"', id="string as JSON"),
        pytest.param("JSON", Int64(2**63 - 1), "9223372036854775807", id="long as JSON"),
        pytest.param("JSON", b"\x00\xff", '"AP8="', id="binData as JSON"),
        pytest.param(
            "JSON", DatetimeMS(253402300800000), '{"$date":{"$numberLong":"253402300800000"}}', id="year 10000 as JSON"
        ),
        pytest.param(
            "JSON", Code("f()", {"x": 1}), '{"$code":"f()","$scope":{"x":{"$numberInt":"1"}}}', id="scope as JSON"
        ),
        pytest.param("JSON", {"a": math.inf}, '{"a":"Infinity"}', id="infinity in JSON"),
    ],
)
def test_values(type_name: str, value: Any, expected: Any) -> None:
    documents, (elements,) = elements_of([value])
    values = convert(documents, elements, type_name)
    assert (values.array.to_pylist(), values.rejected_rows) == ([expected], () if expected is not None else (0,))


@pytest.mark.parametrize(
    ("type_name", "text", "expected"),
    [
        pytest.param("BOOL", "True", True, id="BOOL"),
        pytest.param("INT64", "-5", -5, id="INT64"),
        pytest.param("INT64", "9223372036854775808", None, id="INT64 overflow"),
        pytest.param("FLOAT64", "1.5e3", 1500.0, id="FLOAT64"),
        pytest.param("FLOAT64", "1e999", None, id="FLOAT64 overflow"),
        pytest.param("NUMERIC", "1.50", Decimal("1.5"), id="NUMERIC"),
        pytest.param("NUMERIC", " 1e-9 ", Decimal("1e-9"), id="NUMERIC between spaces"),
        pytest.param("NUMERIC", "one", None, id="no number"),
        pytest.param("NUMERIC", "1_000", None, id="a number of Python"),
        pytest.param("NUMERIC", "٥", None, id="a digit of another script"),
        pytest.param("BIGNUMERIC", "1e-99999999", None, id="least number that would be zero"),
        pytest.param("BIGNUMERIC", f"0.1{'0' * 10_000}1", None, id="digits that would be rounded"),
        pytest.param("BIGNUMERIC", f"0.1{'0' * 20_000}", Decimal("0.1"), id="zeros behind do not count"),
        pytest.param("DATE", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC).date(), id="DATE"),
        pytest.param("TIMESTAMP", "2024-01-01T01:00:00+01:00", datetime(2024, 1, 1, tzinfo=UTC), id="TIMESTAMP"),
        pytest.param("TIMESTAMP", "2024-01-01T01:00:00", None, id="TIMESTAMP without an offset"),
        pytest.param("DATETIME", "2024-01-01T01:00:00+01:00", None, id="DATETIME with an offset"),
        pytest.param("TIMESTAMP", "2024-01-01T00:00:00.123456789Z", None, id="TIMESTAMP with nanoseconds"),
        pytest.param("DATETIME", "2024-01-01T00:00:00,1234567", None, id="DATETIME below a microsecond"),
        pytest.param("TIME", "12:00:00.0000001", None, id="TIME below a microsecond"),
        pytest.param(
            "TIMESTAMP",
            "2024-01-01T00:00:00.123456000Z",
            datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
            id="TIMESTAMP with zeros behind",
        ),
    ],
)
def test_strings_are_parsed_where_the_user_asks(type_name: str, text: str, expected: Any) -> None:
    documents, (elements,) = elements_of([text])
    values = convert(documents, elements, type_name, parses=True)
    assert (values.array.to_pylist(), values.rejected_rows) == ([expected], () if expected is not None else (0,))


def test_text_that_is_not_utf8_is_rejected() -> None:
    raw = bson.encode({"v": "good"}) + bson.encode({"v": "b_d!"}).replace(b"_", b"\xff")
    documents = Documents.of(raw)
    for type_name in ("STRING", "JSON"):
        (elements,) = take_apart(documents)
        values = convert(documents, elements, type_name)
        assert values.rejected_rows == (1,)
        assert values.array.to_pylist()[1] is None


def test_names_of_array_elements_do_not_count() -> None:
    # As some drivers wrote them: all with one name.
    array = b"".join((b"\x10", b"0\0", struct.pack("<i", 1), b"\x10", b"0\0", struct.pack("<i", 2)))
    array = struct.pack("<i", len(array) + 5) + array + b"\0"
    body = b"\x04v\0" + array
    documents = Documents.of((struct.pack("<i", len(body) + 5) + body + b"\0") * 100)
    (elements,) = take_apart(documents)
    assert set(convert(documents, elements, "JSON").array.to_pylist()) == {"[1,2]"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value, id="alike"),
        pytest.param(lambda value: dict(reversed(value.items())), id="another order"),
        pytest.param(lambda value: {"a": value["a"]}, id="a member less"),
        pytest.param(lambda value: value | {"z": 1}, id="a member more"),
        pytest.param(lambda value: value | {"a": "x"}, id="another type"),
        pytest.param(lambda _: {}, id="empty"),
    ],
)
def test_objects_with_the_same_members_become_json_as_one_alone_does(
    change: Callable[[dict[str, Any]], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"a": number, 'n"\né': f'"{number}', "c": {"d": [number], "e": None}} for number in range(60)]
    values[30] = change(values[30])
    monkeypatch.setattr(bson_columns, "json_bytes", None)
    documents, (elements,) = elements_of(values)
    written = convert(documents, elements, "JSON").array.to_pylist()
    assert written == [json_bytes(value).decode() for value in values]


def test_milliseconds_are_exact() -> None:
    moments = [MOMENT + timedelta(milliseconds=number) for number in range(1000)]
    documents, (elements,) = elements_of(moments)
    assert convert(documents, elements, "TIMESTAMP").array == pa.array(moments, ARROW_TYPES["TIMESTAMP"])
    assert np.array_equal(elements.rows, np.arange(1000))
