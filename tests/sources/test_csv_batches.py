from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.schema import ARROW_TYPES, REPEATED, REQUIRED, Field, Schema
from sync_pipeline.sources import csv_batches
from sync_pipeline.sources.postgresql.texts import POSTGRESQL_TEXTS
from sync_pipeline.sources.source import DeadLetter

parse_rows = partial(csv_batches.parse_rows, form=POSTGRESQL_TEXTS)
separate_rejected = partial(csv_batches.separate_rejected, form=POSTGRESQL_TEXTS)


def schema_of(*types: str) -> Schema:
    """Return columns a, b, c … of the types; `T[]` is an array."""
    return Schema(
        tuple(
            Field(name, type_.removesuffix("[]"), REPEATED if type_.endswith("[]") else "NULLABLE", source_type="text")
            for name, type_ in zip("abcdef", types, strict=False)
        )
    )


def valid(rows: bytes, schema: Schema) -> pa.Table:
    table = parse_rows(rows, schema)
    assert table is not None
    return table


def values(text: str, *types: str) -> list[tuple[Any, ...]]:
    table = valid(text.encode(), schema_of(*types))
    assert table.schema == schema_of(*types).arrow
    table.validate(full=True)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def reason(row: bytes, schema: Schema) -> str:
    """Return the reason for which one row is rejected."""
    assert parse_rows(row, schema) is None
    (letter,) = separate_rejected([row], schema)
    assert isinstance(letter, DeadLetter)
    return letter.reason


def problem(text: str, *types: str) -> str:
    return reason(text.encode(), schema_of(*types))


def array(*elements: str | None) -> str:
    """Return one CSV field that holds an array, as `array_to_json` of texts writes it."""
    return '"' + json.dumps(elements, ensure_ascii=False).replace('"', '""') + '"\n'


@pytest.mark.parametrize(
    ("text", "types", "expected"),
    [
        pytest.param("\n", ["STRING"], [(None,)], id="one NULL column is an empty line"),
        pytest.param("\n\n\n", ["INT64"], [(None,), (None,), (None,)], id="three rows of one NULL"),
        pytest.param('""\n', ["STRING"], [("",)], id="empty string"),
        pytest.param('"",\n,""\n', ["STRING", "STRING"], [("", None), (None, "")], id="NULL and empty string"),
        pytest.param('\n""\n\n', ["BYTES"], [(None,), (b"",), (None,)], id="NULL and empty bytes"),
        pytest.param(",,\n", ["INT64", "FLOAT64", "DATE"], [(None, None, None)], id="NULLs of parsed types"),
        pytest.param('NULL\n"null"\nNaN\n\\N\n', ["STRING"], [("NULL",), ("null",), ("NaN",), ("\\N",)], id="words"),
        pytest.param('"a\nb",1\n', ["STRING", "INT64"], [("a\nb", 1)], id="newline"),
        pytest.param('"a\r\nb"\n"\r"\n', ["STRING"], [("a\r\nb",), ("\r",)], id="carriage return"),
        pytest.param('"\n\n"\n', ["STRING"], [("\n\n",)], id="nothing but newlines"),
        pytest.param('"say ""hi"""\n""""\n', ["STRING"], [('say "hi"',), ('"',)], id="quotes"),
        pytest.param('"a,b",c\n', ["STRING", "STRING"], [("a,b", "c")], id="comma"),
        pytest.param('"\\."\n', ["STRING"], [("\\.",)], id="what ends a COPY from a file"),
        pytest.param("a\\nb\\\n", ["STRING"], [("a\\nb\\",)], id="backslashes are letters"),
        pytest.param(" a \n\t\n", ["STRING"], [(" a ",), ("\t",)], id="blanks stay"),
        pytest.param("Zürich 東京 😀\n", ["STRING"], [("Zürich 東京 😀",)], id="unicode"),
        pytest.param("\ufeffa\n\ufeff\n", ["STRING"], [("\ufeffa",), ("\ufeff",)], id="byte order mark"),
        pytest.param("\ufeff\ufeff,1\n", ["STRING", "INT64"], [("\ufeff\ufeff", 1)], id="two byte order marks"),
        pytest.param("t\nf\n\n", ["BOOL"], [(True,), (False,), (None,)], id="COPY writes t and f"),
        pytest.param("true\nfalse\n", ["BOOL"], [(True,), (False,)], id="a cast writes true and false"),
        pytest.param(
            "-9223372036854775808\n9223372036854775807\n", ["INT64"], [(-(2**63),), (2**63 - 1,)], id="INT64 bounds"
        ),
        pytest.param(
            "Infinity\n-Infinity\n5e-324\n", ["FLOAT64"], [(math.inf,), (-math.inf,), (5e-324,)], id="FLOAT64"
        ),
        pytest.param(
            "0.1\n-99999999999999999999999999999.999999999\n",
            ["NUMERIC"],
            [(Decimal("0.1"),), (Decimal("-99999999999999999999999999999.999999999"),)],
            id="NUMERIC bounds",
        ),
        pytest.param("1.500000000000000000000\n", ["NUMERIC"], [(Decimal("1.5"),)], id="zeros beyond the scale"),
        pytest.param(
            f"-{'9' * 38}.{'9' * 38}\n", ["BIGNUMERIC"], [(Decimal(f"-{'9' * 38}.{'9' * 38}"),)], id="BIGNUMERIC bounds"
        ),
        pytest.param("0001-01-01\n9999-12-31\n", ["DATE"], [(date.min,), (date.max,)], id="DATE bounds"),
        pytest.param("00:00:00\n23:59:59.999999\n", ["TIME"], [(time.min,), (time.max,)], id="TIME bounds"),
        pytest.param(
            "0001-01-01 00:00:00\n9999-12-31 23:59:59.999999\n",
            ["DATETIME"],
            [(datetime.min,), (datetime.max,)],  # noqa: DTZ901 - a DATETIME has no time zone
            id="DATETIME bounds",
        ),
        pytest.param(
            "0001-01-01 00:00:00+00\n9999-12-31 23:59:59.999999+00\n",
            ["TIMESTAMP"],
            [(datetime(1, 1, 1, tzinfo=UTC),), (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),)],
            id="TIMESTAMP bounds",
        ),
        pytest.param(
            "2024-03-10 02:30:00-05:30\n",
            ["TIMESTAMP"],
            [(datetime(2024, 3, 10, 8, 0, tzinfo=UTC),)],
            id="TIMESTAMP with an offset",
        ),
        pytest.param('00ff0a\n""\n', ["BYTES"], [(b"\x00\xff\n",), (b"",)], id="BYTES"),
        pytest.param(
            '"{""a"": 1}"\nnull\n\n', ["JSON"], [('{"a": 1}',), ("null",), (None,)], id="JSON null is not NULL"
        ),
    ],
)
def test_values(text: str, types: list[str], expected: list[tuple[Any, ...]]) -> None:
    assert values(text, *types) == expected


def test_nan_and_negative_zero() -> None:
    nan, zero = values("NaN\n-0\n", "FLOAT64")
    assert math.isnan(nan[0])
    assert math.copysign(1, zero[0]) == -1


def test_a_row_longer_than_a_chunk() -> None:
    long = "x" * (5 * 1024 * 1024) + "\n"
    assert values(f'"{long}",1\n\n"{long}",2\n'.replace("\n\n", "\n,\n"), "STRING", "INT64") == [
        (long, 1),
        (None, None),
        (long, 2),
    ]


def test_bytes_between_nulls() -> None:
    assert values('\n6162\n\n""\n63\n', "BYTES") == [(None,), (b"ab",), (None,), (b"",), (b"c",)]


# One array of each type, as `array_to_json` writes its elements.
ARRAYS: dict[str, tuple[tuple[str, ...], list[Any]]] = {
    "BOOL": (("true", "false"), [True, False]),
    "INT64": (("-9223372036854775808", "0", "9223372036854775807"), [-(2**63), 0, 2**63 - 1]),
    "FLOAT64": (("0.1", "Infinity", "-Infinity", "5e-324"), [0.1, math.inf, -math.inf, 5e-324]),
    "NUMERIC": (("1.5", "-0.000000001"), [Decimal("1.5"), Decimal("-1e-9")]),
    "BIGNUMERIC": (("1.5", f"{'9' * 38}.{'9' * 38}"), [Decimal("1.5"), Decimal(f"{'9' * 38}.{'9' * 38}")]),
    "STRING": (("", "null", 'a"b', "a\nb,\\", "😀"), ["", "null", 'a"b', "a\nb,\\", "😀"]),
    "BYTES": (("\\x", "\\x00ff", "\\x61"), [b"", b"\x00\xff", b"a"]),
    "DATE": (("0001-01-01", "9999-12-31"), [date.min, date.max]),
    "TIME": (("00:00:00", "23:59:59.999999", "12:00:00.5"), [time.min, time.max, time(12, 0, 0, 500000)]),
    "DATETIME": (("2024-02-29T12:00:00.000001",), [datetime(2024, 2, 29, 12, 0, 0, 1)]),  # noqa: DTZ001
    "TIMESTAMP": (("2024-02-29T12:00:00+00:00",), [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
}


@pytest.mark.parametrize("type_", ARRAYS)
def test_arrays(type_: str) -> None:
    texts, elements = ARRAYS[type_]
    text = array(*texts) + "\n" + array() + array(texts[0]) + "\n"
    assert values(text, f"{type_}[]") == [(elements,), (None,), ([],), (elements[:1],), (None,)]


def test_every_type_that_can_be_an_element_is_tested() -> None:
    assert set(ARRAYS) == set(ARROW_TYPES) - {"JSON", "GEOGRAPHY"}


def test_nothing_but_null_arrays() -> None:
    assert values("\n\n", "INT64[]") == [(None,), (None,)]
    assert values("[]\n[]\n", "BYTES[]") == [([],), ([],)]


def test_an_array_longer_than_a_chunk() -> None:
    elements = ["x" * 1024] * 5000
    assert values(array(*elements), "STRING[]") == [(elements,)]


@pytest.mark.parametrize(
    ("text", "type_", "limit"),
    [
        pytest.param("maybe", "BOOL", "BOOL holds true and false", id="BOOL"),
        pytest.param("9223372036854775808", "INT64", "whole numbers from -2^63 to 2^63-1", id="2^63"),
        pytest.param("12345.5", "INT64", "whole numbers from -2^63 to 2^63-1", id="a fraction"),
        pytest.param('""', "INT64", "whole numbers from -2^63 to 2^63-1", id="an empty text is no number"),
        pytest.param("secret", "FLOAT64", "FLOAT64 holds numbers", id="FLOAT64"),
        pytest.param("100000000000000000000000000000", "NUMERIC", "29 digits before the point", id="30 digits"),
        pytest.param("1.1234567891", "NUMERIC", "9 after it", id="10 digits after the point"),
        pytest.param("NaN", "NUMERIC", "no NaN", id="NaN"),
        pytest.param("Infinity", "NUMERIC", "no infinity", id="infinity"),
        pytest.param("1" + "0" * 38, "BIGNUMERIC", "38 digits before the point", id="39 digits"),
        pytest.param("0." + "0" * 38 + "1", "BIGNUMERIC", "38 after it", id="39 digits after the point"),
        pytest.param("NaN", "BIGNUMERIC", "no NaN", id="BIGNUMERIC NaN"),
        pytest.param("infinity", "DATE", "years 1 to 9999", id="DATE infinity"),
        pytest.param("10000-01-01", "DATE", "years 1 to 9999", id="DATE year 10000"),
        pytest.param("0044-03-15 BC", "DATE", "years 1 to 9999", id="DATE BC"),
        pytest.param("0000-01-01", "DATE", "years 1 to 9999", id="DATE year 0"),
        pytest.param("24:00:00", "TIME", "TIME holds 00:00:00 to 23:59:59.999999", id="24:00:00"),
        pytest.param("10000-01-01 00:00:00", "DATETIME", "years 1 to 9999", id="DATETIME year 10000"),
        pytest.param("0044-03-15 12:00:00 BC", "DATETIME", "years 1 to 9999", id="DATETIME BC"),
        pytest.param("0000-12-31 23:59:59", "DATETIME", "years 1 to 9999", id="DATETIME year 0"),
        pytest.param("-infinity", "DATETIME", "no infinity", id="DATETIME infinity"),
        pytest.param("2024-01-01 00:00:00+02", "DATETIME", "no offset", id="DATETIME with an offset"),
        pytest.param("10000-01-01 00:00:00+00", "TIMESTAMP", "years 1 to 9999", id="TIMESTAMP year 10000"),
        pytest.param("infinity", "TIMESTAMP", "no infinity", id="TIMESTAMP infinity"),
        pytest.param("2024-01-01 00:00:00", "TIMESTAMP", "needs an offset", id="TIMESTAMP without an offset"),
        pytest.param("0001-01-01 00:00:00+14", "TIMESTAMP", "years 1 to 9999", id="an offset into year 0"),
        pytest.param("9999-12-31 23:59:59-14", "TIMESTAMP", "years 1 to 9999", id="an offset into year 10000"),
    ],
)
def test_rejected_value(text: str, type_: str, limit: str) -> None:
    message = problem(f"{text}\n", type_)
    assert message.startswith(f"column 'a' (text to {type_}) has an invalid value: {type_} holds")
    assert limit in message
    assert 'transformation_config={"type_overrides": {"a": "STRING"}}' in message
    # The message itself has these words.
    if text.strip("-").lower() not in {"nan", "infinity", '""'}:
        assert text not in message


@pytest.mark.parametrize(
    ("text", "type_", "limit"),
    [
        pytest.param('"[""1"",null]"\n', "INT64", ", and INT64 holds", id="NULL element"),
        pytest.param('"[[""1"",""2""],[""3"",""4""]]"\n', "INT64", ", and INT64 holds", id="two dimensions"),
        pytest.param(array("1", "4711.5"), "INT64", ", and INT64 holds", id="INT64"),
        pytest.param(array("NaN"), "NUMERIC", ", and NUMERIC holds", id="NaN"),
        pytest.param(array("0.1234567891"), "NUMERIC", ", and NUMERIC holds", id="one digit too many"),
        pytest.param(array("infinity"), "DATE", ", and DATE holds", id="infinity"),
        pytest.param(array("10000-01-01"), "DATE", ", and DATE holds", id="year 10000"),
        pytest.param(array("0044-03-15 BC"), "DATE", ", and DATE holds", id="BC"),
        pytest.param(array("24:00:00"), "TIME", ", and TIME holds", id="24:00:00"),
        pytest.param(array("10000-01-01T00:00:00"), "DATETIME", ", and DATETIME holds", id="DATETIME"),
        pytest.param(array("infinity"), "TIMESTAMP", ", and TIMESTAMP holds", id="TIMESTAMP"),
        pytest.param('"[null]"\n', "STRING", "", id="NULL text"),
        pytest.param('"[null]"\n', "BYTES", "", id="NULL bytes"),
    ],
)
def test_rejected_array(text: str, type_: str, limit: str) -> None:
    message = problem(text, f"{type_}[]")
    assert message.startswith(
        f"column 'a' (text to ARRAY<{type_}>) has an invalid value: an ARRAY has one dimension and no NULL "
        f"elements{limit}"
    )
    assert message.endswith(
        'Load the column as JSON with transformation_config={"type_overrides": {"a": "JSON"}}, '
        "or exclude such rows with a query"
    )


def test_every_rejected_column_is_named_and_no_other() -> None:
    message = problem('secret-1,7,secret-2,"[null]",fine\n', "INT64", "INT64", "DATE", "STRING[]", "STRING")
    assert [part.split("'")[1] for part in message.splitlines()] == ["a", "c", "d"]
    assert "secret" not in message


def test_null_in_a_required_column() -> None:
    schema = Schema(
        (Field("a", "INT64", REQUIRED), Field("b", "DATE", source_type="date"), Field("c", "STRING", REQUIRED))
    )
    null = (
        "column '{0}' has NULL, which is not allowed: it is in primary_key, NOT NULL in source_table_for_schema, or "
        "REQUIRED "
        "in the destination. Correct the rows or the query (an outer join produces such rows), omit "
        "source_table_for_schema, or in an existing table run ALTER TABLE … ALTER COLUMN `{0}` DROP NOT NULL"
    )
    assert reason(b",soon,\n", schema).splitlines() == [
        null.format("a"),
        (
            "column 'b' (date to DATE) has an invalid value: DATE holds the years 1 to 9999 and no infinity. "
            'Load the column as text with transformation_config={"type_overrides": {"b": "STRING"}}, '
            "or exclude such rows with a query"
        ),
        null.format("c"),
    ]


def test_an_empty_text_is_not_null_in_a_required_column() -> None:
    schema = Schema((Field("a", "STRING", REQUIRED), Field("b", "BYTES", REQUIRED)))
    assert valid(b'"",""\n', schema).to_pylist() == [{"a": "", "b": b""}]


@pytest.mark.parametrize("source_type", ["json", "jsonb", "json[]", "text"])
def test_json_that_bigquery_refuses(source_type: str) -> None:
    schema = Schema((Field("id", "INT64"), Field("doc", "JSON", source_type=source_type)))
    deep = "[" * 501 + "]" * 501
    rows = ["1,{}\n", f"2,{'1' * 400}\n", "3,7\n", f"4,{deep}\n", "5,\n"]
    assert parse_rows("".join(rows).encode(), schema) is None
    parts = list(separate_rejected([row.encode() for row in rows], schema))
    letters = [part for part in parts if isinstance(part, DeadLetter)]
    assert [letter.row["id"] for letter in letters] == ["2", "4"]
    for letter in letters:
        assert re.match(r"column 'doc' .* to JSON. .* not JSON that BigQuery accepts", letter.reason)
        assert "111" not in letter.reason
    assert sum(part.num_rows for part in parts if not isinstance(part, DeadLetter)) == 3


@pytest.mark.parametrize("type_", ["STRING", "JSON"])
def test_text_that_is_not_utf_8(type_: str) -> None:
    limit = {"STRING": "STRING holds text in UTF-8[.]", "JSON": "the text is not JSON that BigQuery accepts.*[.]"}
    assert re.match(rf"column 'a' .* has an invalid value: {limit[type_]}", reason(b"caf\xe9\n", schema_of(type_)))


@pytest.mark.parametrize(
    ("text", "type_", "expected"),
    [
        pytest.param("1e5", "NUMERIC", "100000", id="exponent"),
        pytest.param("-1.50E-3", "NUMERIC", "-0.0015", id="negative exponent"),
        pytest.param("+5", "NUMERIC", "5", id="plus sign"),
        pytest.param(" 12 ", "BIGNUMERIC", "12", id="blanks around"),
        pytest.param("12.", "NUMERIC", "12", id="no digits after the point"),
        pytest.param(".5", "NUMERIC", "0.5", id="no digits before the point"),
        pytest.param("0e999999999", "NUMERIC", "0", id="zero whatever its exponent"),
        pytest.param("0" * 50 + "12", "NUMERIC", "12", id="zeros in front"),
        pytest.param("1." + "0" * 16383, "NUMERIC", "1", id="zeros behind"),
        pytest.param("0." + "0" * 100 + "1e101", "NUMERIC", "1", id="both cancel out"),
        pytest.param("123456789e20", "NUMERIC", "12345678900000000000000000000", id="29 digits by exponent"),
        pytest.param("123456789e21", "NUMERIC", None, id="30 digits by exponent"),
        pytest.param("10e-10", "NUMERIC", "1e-9", id="9 digits after the point by exponent"),
        pytest.param("11e-10", "NUMERIC", None, id="10 digits after the point by exponent"),
        pytest.param("1e999999999", "BIGNUMERIC", None, id="huge exponent"),
        pytest.param("1e-999999999", "BIGNUMERIC", None, id="tiny exponent"),
        pytest.param("1" + "0" * 1000, "BIGNUMERIC", None, id="1001 digits"),
        pytest.param(str(2**256), "BIGNUMERIC", None, id="what 256 bits take for 0"),
        pytest.param(str(2**128), "NUMERIC", None, id="what 128 bits take for 0"),
        pytest.param(
            "506707348445830354201110322182046015", "NUMERIC", None, id="what 128 bits take for another number"
        ),
        pytest.param("1_000", "NUMERIC", None, id="underscore"),
        pytest.param("١٢", "NUMERIC", None, id="digits of other scripts"),
        pytest.param(".", "NUMERIC", None, id="no digits"),
        pytest.param("1e", "NUMERIC", None, id="no exponent"),
        pytest.param('""', "NUMERIC", None, id="empty"),
    ],
)
def test_decimal_texts(text: str, type_: str, expected: str | None) -> None:
    for row, column in ((text, type_), ("" if text == '""' else array(text).strip(), f"{type_}[]")):
        if not row:
            continue
        if expected is None:
            assert problem(f"1\n{row}\n" if column == type_ else f"{row}\n", column).startswith("column 'a' ")
        else:
            number = Decimal(expected)
            assert values(f"{row}\n", column) == [(number if column == type_ else [number],)]


DECIMAL_TEXTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 10**90).map(str) | st.integers(0, 10**40).map(str),
    st.just("") | st.integers(0, 10**50).map(".{}".format),
    st.just("") | st.integers(-60, 90).map("e{}".format),
)


@settings(derandomize=True, database=None, deadline=None, max_examples=500)
@given(text=DECIMAL_TEXTS, type_=st.sampled_from(["NUMERIC", "BIGNUMERIC"]), is_array=st.booleans())
def test_a_decimal_is_equal_or_refused(text: str, type_: str, is_array: bool) -> None:
    number = Decimal(text)
    with localcontext(prec=400):
        integer_digits, fraction_digits = (29, 9) if type_ == "NUMERIC" else (38, 38)
        scaled = number.scaleb(fraction_digits)
        fits = abs(number) < Decimal(10) ** integer_digits and scaled == scaled.to_integral_value()
    row = (array(text) if is_array else f"{text}\n").encode()
    table = parse_rows(row, schema_of(f"{type_}[]" if is_array else type_))
    assert (table is not None) == fits
    if table is not None:
        value = table.column(0)[0].as_py()
        assert (value[0] if is_array else value) == number


def test_the_override_s_name_is_json() -> None:
    text = reason(b"x\n", Schema((Field('Grö"ße', "INT64"),)))
    assert 'transformation_config={"type_overrides": {"Grö\\"ße": "STRING"}}, or' in text


def separated(schema: Schema, *rows: str) -> list[Any]:
    """Return what `separate_rejected` yields, tables as lists of their rows."""
    parts = []
    for part in separate_rejected([row.encode() for row in rows], schema):
        if not isinstance(part, DeadLetter):
            assert part.schema == schema.arrow
        parts.append(part if isinstance(part, DeadLetter) else list(zip(*part.to_pydict().values(), strict=True)))
    return parts


def lost(parts: list[Any]) -> list[dict[str, str | None]]:
    return [dict(part.row) for part in parts if isinstance(part, DeadLetter)]


def kept(parts: list[Any]) -> list[tuple[Any, ...]]:
    return [row for part in parts if not isinstance(part, DeadLetter) for row in part]


def test_rows_that_fit_stay_together() -> None:
    assert separated(schema_of("INT64"), "1\n", "\n", "3\n") == [[(1,), (None,), (3,)]]


@pytest.mark.parametrize("wrong", range(7))
def test_one_row_that_does_not_fit(wrong: int) -> None:
    rows = [f"{number},a\n" for number in range(7)]
    rows[wrong] = "x,a\n"
    parts = separated(schema_of("INT64", "STRING"), *rows)
    assert lost(parts) == [{"a": "x", "b": "a"}]
    assert kept(parts) == [(number, "a") for number in range(7) if number != wrong]


def test_a_dead_letter() -> None:
    (letter,) = separated(schema_of("INT64", "DATE", "STRING", "INT64[]"), 'x,soon,"",\n')
    assert letter.columns == ("a", "b")
    assert letter.row == {"a": "x", "b": "soon", "c": "", "d": None}
    assert [line.split(":")[0] for line in letter.reason.splitlines()] == [
        "column 'a' (text to INT64) has an invalid value",
        "column 'b' (text to DATE) has an invalid value",
    ]
    assert "soon" not in letter.reason


def test_a_dead_letter_of_a_null() -> None:
    (letter,) = separated(Schema((Field("a", "INT64", REQUIRED), Field("b", "INT64"))), ",7\n")
    assert (letter.columns, letter.row) == (("a",), {"a": None, "b": "7"})
    assert letter.reason.startswith("column 'a' has NULL, which is not allowed: ")


def test_a_dead_letter_keeps_what_csv_quotes() -> None:
    (letter,) = separated(schema_of("INT64", "STRING"), 'x,"a ""b""\n, \r\n c"\n')
    assert letter.row == {"a": "x", "b": 'a "b"\n, \r\n c'}


def test_a_dead_letter_of_a_byte_order_mark() -> None:
    (letter,) = separated(schema_of("STRING", "INT64"), "\ufeff,x\n")
    assert letter.row == {"a": "\ufeff", "b": "x"}


def test_a_dead_letter_of_text_that_is_not_utf_8() -> None:
    (letter,) = separate_rejected([b"1,caf\xe9\n"], schema_of("INT64", "STRING"))
    assert isinstance(letter, DeadLetter)
    assert letter.columns == ("b",)
    assert letter.row == {"a": "1", "b": "caf\ufffd"}


def test_nothing_but_dead_letters() -> None:
    parts = separated(schema_of("INT64"), "x\n", "y\n", "z\n")
    assert (lost(parts), kept(parts)) == ([{"a": "x"}, {"a": "y"}, {"a": "z"}], [])


def test_the_order_of_rows_and_dead_letters() -> None:
    parts = separated(schema_of("INT64"), "1\n", "x\n", "3\n", "4\n", "y\n")
    flat = [row for part in parts for row in ([part.row["a"]] if isinstance(part, DeadLetter) else part)]
    assert flat == [(1,), "x", (3,), (4,), "y"]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        pytest.param('"[""1.10"",""12345678.1""]"', True, id="all"),
        pytest.param('"[""1.10"",""1.129""]"', False, id="one would be rounded"),
        pytest.param('"[""123456789""]"', False, id="one is too large"),
        pytest.param("", True, id="NULL"),
    ],
)
def test_numbers_of_arrays_keep_to_the_digits_of_the_column(text: str, fits: bool) -> None:
    schema = Schema((Field("a", "NUMERIC", REPEATED, parameters="10, 2"),))
    if fits:
        assert valid(f"{text}\n".encode(), schema).num_rows == 1
        return
    assert "holds 8 digits before the point and 2 after it" in reason(f"{text}\n".encode(), schema)
