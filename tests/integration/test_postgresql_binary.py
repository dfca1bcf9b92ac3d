"""What comes in binary is what the server's own text says: for any values, COPY in binary and COPY as CSV agree.

The rows that a column rejects agree as well: in the columns that are named, the reasons, and the texts of the values.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.schema import REPEATED, REQUIRED, Field, Schema
from sync_pipeline.sources.csv_batches import separate_rejected
from sync_pipeline.sources.postgresql import copy_read
from sync_pipeline.sources.postgresql.column_types import SourceColumn
from sync_pipeline.sources.postgresql.connection import begin, connected
from sync_pipeline.sources.postgresql.query_columns import QUERY_ALIAS
from sync_pipeline.sources.postgresql.texts import POSTGRESQL_TEXTS
from sync_pipeline.sources.source import DeadLetter
from tests.integration.postgresql_reading import Reader, connect, execute, fresh_database

# For each type, of lists of values.
EXAMPLES = 5


@dataclass(frozen=True)
class Type:
    """A type and its values.

    Attributes:
        values: the values, as texts.
        text, array_text: SQL of the text of a value, and of an array, from which `csv_batches` makes the same column.
    """

    declared: str
    values: st.SearchStrategy[str]
    text: str = "{v}"
    array_text: str = "array_to_json({v}::text[])"


_TYPE_SQL = """
    CREATE TYPE {name};
    CREATE FUNCTION {name}_in(cstring) RETURNS {name} LANGUAGE internal IMMUTABLE STRICT AS 'inet_in';
    CREATE FUNCTION {name}_out({name}) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'inet_out';
    CREATE TYPE {name} (INPUT = {name}_in, OUTPUT = {name}_out, LIKE = inet);
"""


def any_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


LETTERS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NASTY_LETTERS = st.text(st.sampled_from(list("\"',\\\n\r\t\b\f\x01\x7f{}[]() \ufeffaN0é😀")), max_size=12)
WORDS = LETTERS | NASTY_LETTERS | any_of("", "NULL", "null", "\\N", "\\.")
DOUBLES = st.floats().map(repr)
NUMBERS = (
    st.builds("{}{}e{}".format, any_of("", "-"), st.integers(0, 10**45), st.integers(-50, 5))
    | st.builds("{}.{}".format, st.integers(-(10**12), 10**12), st.integers(0, 10**12))
    | any_of("NaN", "Infinity", "-Infinity", "0.000", "1e200", "-1e-200", "10000", "0.0001", "9999.9999", "1e40")
    | any_of("9" * 29, "9" * 30, f"-{'9' * 29}.{'9' * 9}", f"{'9' * 38}.{'9' * 38}", "1" + "0" * 38, "1e-38", "1e-39")
)
EDGES = any_of("infinity", "-infinity", "0001-01-01", "9999-12-31", "10000-01-01", "0001-12-31 BC", "4713-01-01 BC")
FAR_DATES = st.builds(
    "{:04}-{:02}-{:02}{}".format, st.integers(1, 4713), st.integers(1, 12), st.integers(1, 28), any_of(" BC", "")
)
DATES = st.dates().map(str) | EDGES | FAR_DATES | any_of("5874897-12-31", "0004-02-29", "0005-02-29 BC")
CLOCKS = st.times().map(str) | any_of("24:00:00", "23:59:59.999999", "00:00:00")
MOMENTS = (
    st.builds("{} {}".format, st.dates(), st.times())
    | st.builds(
        "{0} {1}{2}".format, FAR_DATES.map(lambda text: text.removesuffix(" BC")), st.times(), any_of("", " BC")
    )
    | EDGES
    | any_of("294276-12-31 23:59:59.999999")
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(WORDS, values, max_size=3),
    max_leaves=5,
).map(json.dumps) | any_of("1e400", '"\\ud800"', "[" * 501 + "]" * 501)

TYPES = [
    Type("bool", any_of("t", "f")),
    Type("int2", st.integers(-(2**15), 2**15 - 1).map(str)),
    Type("int4", st.integers(-(2**31), 2**31 - 1).map(str)),
    Type("int8", st.integers(-(2**63), 2**63 - 1).map(str)),
    Type("oid", st.integers(0, 2**32 - 1).map(str)),
    Type("float4", st.floats(width=32).map(repr), "{v}::float8", "array_to_json({v}::float8[]::text[])"),
    Type("float8", DOUBLES | st.integers(-400, 308).map("1e{}".format).filter(float)),
    Type("numeric", NUMBERS),
    Type("numeric(12,2)", st.integers(-(10**12) + 1, 10**12 - 1).map("{}e-2".format) | any_of("NaN")),
    Type("numeric(38,9)", st.integers(-(10**38) + 1, 10**38 - 1).map("{}e-9".format)),
    Type(
        "money",
        st.decimals(-(2**53), 2**53, places=2).map(str),
        "{v}::numeric",
        "array_to_json({v}::numeric[]::text[])",
    ),
    Type("text", WORDS, array_text="array_to_json({v})"),
    Type("varchar", WORDS, array_text="array_to_json({v})"),
    Type("bpchar(9)", NASTY_LETTERS.map(lambda text: text[:9]), array_text="array_to_json({v})"),
    Type("name", LETTERS, array_text="array_to_json({v})"),
    Type("uuid", st.uuids().map(str), array_text="array_to_json({v})"),
    Type(
        "bytea",
        st.binary(max_size=20).map(lambda value: f"\\x{value.hex()}"),
        "encode({v}, 'hex')",
        "array_to_json({v})",
    ),
    Type("date", DATES, array_text="array_to_json({v})"),
    Type("time", CLOCKS, array_text="array_to_json({v})"),
    Type("timestamp", MOMENTS, array_text="array_to_json({v})"),
    Type("timestamptz", MOMENTS, array_text="array_to_json({v})"),
    Type("interval", st.timedeltas().map(str), array_text="array_to_json({v})"),
    Type("inet", st.ip_addresses().map(str) | any_of("10.0.0.1", "10.0.0.0/8"), array_text="array_to_json({v})"),
    Type("mood", any_of("sad", "it's", "😀"), array_text="array_to_json({v})"),
    Type('"char"', any_of("a", "", "\x01", "\\377"), array_text="array_to_json({v})"),
    Type("refcursor", WORDS, array_text="array_to_json({v})"),
    Type("int4range", any_of("empty", "[1,5)", "(,3)"), array_text="array_to_json({v})"),
    Type("varbit", st.text("01"), array_text="array_to_json({v})"),
    Type("json", JSON_VALUES),
    Type("jsonb", JSON_VALUES.filter(lambda text: "\\u0000" not in text and "ud800" not in text)),
]
JSON = ("json", "jsonb")


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    """A database, and a connection in a transaction as a read has it."""
    with fresh_database(endpoints) as (reader, administrator):
        execute(administrator, "CREATE TYPE mood AS ENUM ('sad', 'it''s', '😀')")
        with connected(reader.source("SELECT 1").connection, 0) as connection:
            yield reader, connection


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def split_rows(text: bytes) -> list[bytes]:
    """Return the rows of CSV separately. A line break within quotes does not end a row."""
    rows, row = [], b""
    for line in io.BytesIO(text):
        row += line
        if row.count(b'"') % 2 == 0:
            rows.append(row)
            row = b""
    return rows


def rows_as_csv(connection: Connection, relation: str, type_: Type, schema: Schema) -> list[Any]:
    """Return rows and dead letters as the text of the values has them."""
    is_array = schema.fields[1].mode == REPEATED
    text = (type_.array_text if is_array else type_.text).format(v="v")
    stream = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT n, {text} FROM {relation}) TO STDOUT (FORMAT csv)", stream)
    return flat(separate_rejected(split_rows(stream.getvalue()), schema, POSTGRESQL_TEXTS))


def rows_in_binary(connection: Connection, relation: str, column: SourceColumn, schema: Schema) -> list[Any]:
    selected = column.expression(schema.fields[1], QUERY_ALIAS)
    statement = f"SELECT n, {selected} FROM {relation} AS {QUERY_ALIAS}"
    return flat(copy_read.copied_parts(connection, statement, schema))


def flat(parts: Iterator[pa.Table | DeadLetter]) -> list[Any]:
    """Return rows, by the bits of their numbers, and dead letters."""
    rows: list[Any] = []
    for part in parts:
        if isinstance(part, DeadLetter):
            rows.append((part.columns, part.reason, part.row))
            continue
        part.validate(full=True)
        rows += [tuple(map(repr, row.values())) for row in part.to_pylist()]
    return rows


def check(connection: Connection, type_: Type, values: Sequence[str], *, is_array: bool = False) -> None:
    # The one before may have ended by an error.
    connection.rollback()
    begin(connection)
    # Each value twice: in a row that is valid but for it, and in one that is rejected in any case.
    listed = ", ".join(f"({number}, {value}), (NULL, {value})" for number, value in enumerate(values))
    suffix = "[]" if is_array else ""
    relation = f"(SELECT n, v::{type_.declared}{suffix} AS v FROM (VALUES {listed}) AS t(n, v))"
    name = "" if type_.declared == "mood" else type_.declared.partition("(")[0]
    column = SourceColumn("v", name, type_.declared + suffix, is_array=is_array)
    schema = Schema((Field("n", "INT64", REQUIRED), column.field()))
    expected = rows_as_csv(connection, f"{relation} AS q", type_, schema)
    assert len(expected) == 2 * len(values)
    assert rows_in_binary(connection, relation, column, schema) == expected


@pytest.mark.parametrize("type_", [pytest.param(type_, id=type_.declared) for type_ in TYPES])
def test_values(server: tuple[Reader, Connection], type_: Type) -> None:
    @settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES)
    @given(values=st.lists(st.none() | type_.values, min_size=1, max_size=20))
    def agree(values: list[str | None]) -> None:
        check(server[1], type_, [literal(value) for value in values])

    agree()


@pytest.mark.parametrize(
    "type_", [pytest.param(type_, id=type_.declared) for type_ in TYPES if type_.declared not in JSON]
)
def test_arrays(server: tuple[Reader, Connection], type_: Type) -> None:
    element = (st.none() | type_.values).map(literal)
    lists = st.lists(type_.values.map(literal), max_size=5).map(lambda items: f"ARRAY[{', '.join(items)}]")
    with_null = st.lists(element, max_size=4).map(lambda items: f"ARRAY[{', '.join(items)}]")
    square = st.tuples(element, element, element, element).map("ARRAY[[{0[0]}, {0[1]}], [{0[2]}, {0[3]}]]".format)

    @settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES)
    @given(values=st.lists(st.just("NULL") | lists | with_null | square, min_size=1, max_size=20))
    def agree(values: list[str]) -> None:
        cast = f"::text[]::{type_.declared}[]"
        check(server[1], type_, [value + ("" if value == "NULL" else cast) for value in values], is_array=True)

    agree()


def test_a_user_may_read_types_whose_functions_are_not_granted(server: tuple[Reader, Connection]) -> None:
    """SELECT on the table is enough, as for the server's own COPY. One type has a cast to text, which adds a mask."""
    reader, _ = server
    with contextlib.closing(connect(reader.endpoints, reader.database)) as administrator:
        execute(administrator, "CREATE SCHEMA hidden")
        for name in ("plain", "masked"):
            execute(administrator, _TYPE_SQL.format(name=f"hidden.{name}"))
        execute(
            administrator,
            """
            CREATE FUNCTION hidden.mask(hidden.masked) RETURNS text LANGUAGE sql IMMUTABLE RETURN '10.0.0.1/32';
            CREATE CAST (hidden.masked AS text) WITH FUNCTION hidden.mask(hidden.masked);
            CREATE TABLE addresses (n int, p hidden.plain, m hidden.masked);
            INSERT INTO addresses VALUES (1, '10.0.0.1', '10.0.0.1'), (2, NULL, NULL);
            CREATE ROLE may_select LOGIN PASSWORD 'may_select';
            GRANT SELECT ON addresses TO may_select
            """,
        )
        login = {"postgresql_username": "may_select", "postgresql_password": "may_select"}
        try:
            rows = reader.rows("SELECT * FROM addresses ORDER BY n", **login)
        finally:
            execute(administrator, "DROP OWNED BY may_select; DROP ROLE may_select")
    assert rows == [(1, "10.0.0.1", "10.0.0.1"), (2, None, None)]
