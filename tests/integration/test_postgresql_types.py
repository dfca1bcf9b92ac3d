"""Every PostgreSQL type arrives as PostgreSQL says it is, or the run fails and names the column.

The server's defaults are hostile on purpose: a time zone with daylight saving, German dates, few digits. What is
expected is what another connection reads as the type's own text, parsed by Python.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import RecordError, SourceQueryError
from sync_pipeline.sources.postgresql.column_types import POSTGRESQL_TYPES
from tests.integration.postgresql_reading import Reader, everything_said, execute, fresh_database

HOSTILE_DEFAULTS = {
    "timezone": "'America/New_York'",
    "datestyle": "'German, DMY'",
    "intervalstyle": "'postgres_verbose'",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "search_path": "public, odd",
}
PLAIN_SESSION = """
    SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1;
    SET bytea_output = 'hex'
"""
# Two of these are base types as an extension brings them: the sandbox's server has neither hstore nor ltree.
OWN_TYPES = """
    CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", fine', '😀');
    CREATE DOMAIN whole AS int CHECK (VALUE > 0);
    CREATE DOMAIN label AS text;
    CREATE DOMAIN price AS numeric(10, 2);
    CREATE DOMAIN price_of_price AS price NOT NULL;
    CREATE DOMAIN tags AS text[];
    CREATE TYPE inner_pair AS (a int, b text);
    CREATE TYPE pair AS (n numeric, t timestamptz, i inner_pair, l text[]);
    CREATE DOMAIN pair_domain AS inner_pair;
    CREATE SCHEMA odd;
    CREATE TYPE odd.money AS ENUM ('few');
    CREATE TYPE odd.date AS (day int);

    CREATE TYPE ltree;
    CREATE FUNCTION ltree_in(cstring) RETURNS ltree LANGUAGE internal IMMUTABLE STRICT AS 'textin';
    CREATE FUNCTION ltree_out(ltree) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
    CREATE TYPE ltree (INPUT = ltree_in, OUTPUT = ltree_out, LIKE = text);

    CREATE TYPE hstore;
    CREATE FUNCTION hstore_in(cstring) RETURNS hstore LANGUAGE internal IMMUTABLE STRICT AS 'textin';
    CREATE FUNCTION hstore_out(hstore) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
    CREATE TYPE hstore (INPUT = hstore_in, OUTPUT = hstore_out, LIKE = text);
    CREATE FUNCTION hstore_to_json(hstore) RETURNS json LANGUAGE sql IMMUTABLE STRICT
        AS $$ SELECT json_build_object(split_part(h, '=>', 1), split_part(h, '=>', 2))
              FROM textin(hstore_out($1)) AS h $$;
    CREATE CAST (hstore AS json) WITH FUNCTION hstore_to_json(hstore);
"""


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    """A database with hostile defaults: its reader, and a connection with plain ones."""
    with fresh_database(endpoints) as (reader, connection):
        for setting, value in HOSTILE_DEFAULTS.items():
            execute(connection, f"ALTER DATABASE {reader.database} SET {setting} = {value}")
        execute(connection, OWN_TYPES)
        execute(connection, PLAIN_SESSION)
        yield reader, connection


def same(value: Any) -> Any:
    """Return `value` so that equal means the same: NaN is itself, and -0.0 is not 0.0."""
    if isinstance(value, list):
        return [same(item) for item in value]
    return float(value).hex() if isinstance(value, float) else value


def truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


def dollars(text: str) -> Decimal:
    return Decimal(text.replace("$", "").replace(",", ""))


def real(text: str) -> float:
    return float(np.float32(text))


def hexadecimal(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


NASTY_TEXTS = (
    # First, where a parser could take it for the mark of a file.
    "\ufeffmark",
    "",
    " ",
    "NULL",
    "null",
    "\\N",
    "\\.",
    '"',
    '""',
    "'",
    ",",
    ",,",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\\",
    "\\\\",
    "\\n",
    'a "quoted", b\n\nc\r\n',
    "{}",
    "{a,b}",
    "[]",
    '{"a": null}',
    "%s %(x)s {x} $1",
    "\ufeff",
    "\u0001\u001f\u007f\u0085\u2028\u2029",
    "é e\u0301 ﷽",
    "👩‍👩‍👧‍👦 🇨🇭 \U0010ffff",
    "t",
    "12",
    "NaN",
    "x" * 1_000_000,
)

NEW_YORK_MOMENTS = (
    # Each side of both changes of the clock, and the hour that comes twice.
    "2024-03-10 01:59:59.999999-05",
    "2024-03-10 03:00:00-04",
    "2024-11-03 01:30:00-04",
    "2024-11-03 01:30:00-05",
    # Local mean time has seconds in its offset.
    "1883-11-18 12:00:00+00",
)


# A cast to text adds a mask that the value does not have.
INET_TEXT = "textin(inet_out({v}))"


@dataclass(frozen=True)
class Family:
    """Values of one type.

    Attributes:
        declared: the column's type.
        bigquery: the type we choose.
        values: what is inserted, as text.
        parse: the value of a type's text.
        text: the SQL of a value's own text.
        element: the type we choose for an element, where it is another.
    """

    declared: str
    bigquery: str
    values: tuple[str, ...]
    parse: Callable[[str], Any] = str
    text: str = "{v}::text"
    element: str = ""


FAMILIES = [
    Family("boolean", "BOOL", ("true", "false"), truth),
    Family("smallint", "INT64", ("-32768", "0", "32767"), int),
    Family("integer", "INT64", ("-2147483648", "0", "2147483647"), int),
    Family("bigint", "INT64", ("-9223372036854775808", "0", "9223372036854775807"), int),
    Family("oid", "INT64", ("0", "2147483648", "4294967295"), int),
    Family(
        "numeric(38,9)",
        "NUMERIC",
        ("99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999", "0", "1e-9"),
        Decimal,
        element="BIGNUMERIC",
    ),
    Family("numeric(5,0)", "NUMERIC", ("99999", "-99999", "0"), Decimal, element="BIGNUMERIC"),
    Family("numeric(3,-2)", "NUMERIC", ("99900", "-100", "0", "12345"), Decimal, element="BIGNUMERIC"),
    Family("numeric(3,7)", "NUMERIC", ("0.0000999", "-0.0000001", "0"), Decimal, element="BIGNUMERIC"),
    Family(
        "numeric(76,38)",
        "BIGNUMERIC",
        (f"{'9' * 38}.{'9' * 38}", f"-{'9' * 38}.{'9' * 38}", "0", "1e-38", "-1e37"),
        Decimal,
    ),
    Family(
        "numeric",
        "BIGNUMERIC",
        (f"{'9' * 38}.{'9' * 38}", "1e-38", "-0.10", "0", "1e37", "1.50000", "1." + "0" * 200),
        Decimal,
    ),
    Family("numeric(100,50)", "STRING", ("NaN", f"{'9' * 50}.{'9' * 50}", "-1e-50", "0"), element="BIGNUMERIC"),
    Family("numeric(10,-30)", "STRING", ("1e39", "NaN", "0"), element="BIGNUMERIC"),
    Family("real", "FLOAT64", ("0.1", "-0", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "16777217"), real),
    Family(
        "double precision",
        "FLOAT64",
        (
            "0.1",
            "0.30000000000000004",
            "-0",
            "5e-324",
            "-2.2250738585072009e-308",
            "2.2250738585072014e-308",
            "1.7976931348623157e308",
            "9007199254740993",
            "1e22",
            "1e23",
            "NaN",
            "Infinity",
            "-Infinity",
        ),
        float,
    ),
    Family("money", "NUMERIC", ("92233720368547758.07", "-92233720368547758.08", "0", "1234.56"), dollars),
    Family("text", "STRING", NASTY_TEXTS),
    Family("varchar(40)", "STRING", NASTY_TEXTS[:-1]),
    # A cast to text drops the blanks at the end, which belong to the value.
    Family("char(5)", "STRING", ("", "ab", "   cd", "é\n"), text="rpad({v}::text, 5)"),
    Family("name", "STRING", ("", "Order Id", 'a"b', "😀")),
    Family('"char"', "STRING", ("", "a", "é", "\\377", ",", '"')),
    Family("bytea", "BYTES", ("", "\\x00", "\\xff00ff", "\\x0a0d225c", "\\x" + "00ff" * 100_000), hexadecimal),
    Family("date", "DATE", ("0001-01-01", "9999-12-31", "1582-10-10", "2024-02-29", "1970-01-01"), date.fromisoformat),
    Family("time", "TIME", ("00:00:00", "23:59:59.999999", "12:34:56.7", "00:00:00.000001"), time.fromisoformat),
    Family("timetz", "STRING", ("00:00:00+14", "23:59:59.999999-15:59:59", "24:00:00+00")),
    Family(
        "timestamp",
        "DATETIME",
        (
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999",
            "1969-12-31 23:59:59.999999",
            "2024-03-10 02:30:00",
            "2024-11-03 01:30:00",
        ),
        datetime.fromisoformat,
    ),
    Family(
        "timestamptz",
        "TIMESTAMP",
        ("0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "2024-07-01 12:00:00.5+05:45", *NEW_YORK_MOMENTS),
        datetime.fromisoformat,
    ),
    Family(
        "interval",
        "STRING",
        (
            "0",
            "1 year 2 months -3 days 04:05:06.789",
            "-178000000 years",
            "178000000 years",
            "1 mon -1 day",
            "-0.000001 s",
        ),
    ),
    Family("uuid", "STRING", ("00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    Family("inet", "STRING", ("192.168.0.1/24", "10.0.0.1", "2001:4f8:3:ba::1/64", "::ffff:1.2.3.4"), text=INET_TEXT),
    Family("cidr", "STRING", ("192.168.100.128/25", "10.0.0.0/8", "::/0")),
    Family("macaddr", "STRING", ("08:00:2b:01:02:03",)),
    Family("macaddr8", "STRING", ("08:00:2b:01:02:03:04:05",)),
    Family("bit(3)", "STRING", ("101", "000")),
    Family("bit varying", "STRING", ("", "1", "0101" * 100)),
    Family("int4range", "STRING", ("empty", "[1,5)", "(,)", "[3,)", "(,-2147483648)")),
    Family("int8range", "STRING", ("[1,9223372036854775807)",)),
    Family("numrange", "STRING", ("(1.5,2.50]", "[-Infinity,NaN]", "empty")),
    Family("tsrange", "STRING", ('["2024-01-01 00:00:00",infinity)', "(,)")),
    Family("tstzrange", "STRING", ('["2024-03-10 01:30:00-05","2024-03-10 03:30:00-04")',)),
    Family("daterange", "STRING", ("[2024-01-01,2024-12-31]", "(,infinity)")),
    Family("int4multirange", "STRING", ("{}", "{[1,3),[5,9)}")),
    Family("datemultirange", "STRING", ("{[2024-01-01,2024-01-02),[2024-02-01,)}",)),
    Family("mood", "STRING", ("sad", 'it\'s "ok", fine', "😀")),
    Family("odd.money", "STRING", ("few",)),
    Family("whole", "INT64", ("1", "2147483647"), int),
    Family("label", "STRING", ("", "a,b")),
    Family("price", "NUMERIC", ("99999999.99", "-0.01"), Decimal, element="BIGNUMERIC"),
    Family("tsvector", "STRING", ("", "'a':1A 'fat':2B,4C 'it''s':5")),
    Family("tsquery", "STRING", ("", "'fat' & ( 'rat' | !'cat' )")),
    Family("point", "STRING", ("(1.5,-2)", "(Infinity,NaN)")),
    Family("circle", "STRING", ("<(1,2),3>",)),
    Family("path", "STRING", ("((1,2),(3,4))", "[(1,2),(3,4)]")),
    Family("pg_lsn", "STRING", ("0/0", "16/B374D848")),
    Family("xid8", "STRING", ("18446744073709551615",)),
    Family("regclass", "STRING", ("pg_class", "pg_type")),
    Family("regtype", "STRING", ("integer", "odd.money")),
    Family("ltree", "STRING", ("Top.Science", "", "a,b")),
    Family("int2vector", "STRING", ("1 2 3",)),
]

# PostgreSQL separates boxes by semicolons, and an int2vector is almost an array.
NO_ARRAYS = {"int2vector"}


@pytest.mark.parametrize("family", [pytest.param(family, id=family.declared) for family in FAMILIES])
def test_values(server: tuple[Reader, Connection], family: Family) -> None:
    reader, connection = server
    table = fresh_table(connection, family.declared)
    for value in (*family.values, None):
        execute(connection, f"INSERT INTO {table} (v) VALUES (%s::{family.declared})", [value])
    texts = [text for (text,) in execute(connection, f"SELECT {family.text.format(v='v')} FROM {table} ORDER BY n")]
    assert len(texts) == len(family.values) + 1
    expected = [None if text is None else family.parse(text) for text in texts]

    query = f"SELECT v FROM {table} ORDER BY n"
    field = reader.schema(query).field("v")
    assert (field.type_name, field.mode) == (family.bigquery, "NULLABLE")
    assert same(reader.column(query)) == same(expected)


@pytest.mark.parametrize(
    "family", [pytest.param(family, id=family.declared) for family in FAMILIES if family.declared not in NO_ARRAYS]
)
def test_arrays(server: tuple[Reader, Connection], family: Family) -> None:
    reader, connection = server
    # The arrays hold what fits the type of their elements.
    values = [value for value in family.values if not (value == "NaN" and family.element == "BIGNUMERIC")]
    values = [value for value in values if not (family.bigquery == "STRING" and family.element and value != "0")]
    parse = Decimal if family.element == "BIGNUMERIC" else family.parse
    table = fresh_table(connection, f"{family.declared}[]")
    elements = ", ".join(f"%s::{family.declared}" for _ in values)
    insert = f"INSERT INTO {table} (v) VALUES"
    execute(connection, f"{insert} (ARRAY[{elements}]::{family.declared}[])", values)
    execute(connection, f"{insert} (NULL), ('{{}}')")
    execute(connection, f"{insert} (NULL)")
    execute(connection, f"UPDATE {table} SET v[-1:0] = ARRAY[%s, %s]::{family.declared}[] WHERE n = 4", [values[0]] * 2)
    assert execute(connection, f"SELECT array_lower(v, 1) FROM {table} WHERE n = 4") == [(-1,)]
    rows = execute(
        connection,
        f"""SELECT CASE WHEN v IS NOT NULL THEN
                ARRAY(SELECT {family.text.format(v="e")} FROM unnest(v) WITH ORDINALITY AS u(e, i) ORDER BY i) END
            FROM {table} ORDER BY n""",
    )
    expected = [None if texts is None else [parse(text) for text in texts] for (texts,) in rows]
    assert [None if items is None else len(items) for items in expected] == [len(values), None, 0, 2]

    query = f"SELECT v FROM {table} ORDER BY n"
    field = reader.schema(query).field("v")
    assert (field.type_name, field.mode) == (f"ARRAY<{family.element or family.bigquery}>", "REPEATED")
    assert same(reader.column(query)) == same(expected)


def fresh_table(connection: Connection, declared: str) -> str:
    table = f"t_{uuid.uuid4().hex[:12]}"
    execute(connection, f"CREATE TABLE {table} (n int GENERATED ALWAYS AS IDENTITY, v {declared})")
    return table


def test_every_type_of_the_table_is_tested(server: tuple[Reader, Connection]) -> None:
    _, connection = server
    names = [
        execute(connection, "SELECT typname FROM pg_type WHERE oid = %s::regtype", [family.declared])[0][0]
        for family in FAMILIES
    ]
    assert set(POSTGRESQL_TYPES) - set(names) == {"json", "jsonb", "hstore"}  # test_json_texts


def test_a_zone_less_text_is_read_in_the_server_s_zone(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    table = fresh_table(connection, "timestamptz")
    execute(
        connection,
        f"SET timezone = 'America/New_York'; INSERT INTO {table} (v) VALUES ('2024-07-01 12:00'), ('2024-12-01 12:00')",
    )
    execute(connection, "SET timezone = 'UTC'")
    assert reader.column(f"SELECT v FROM {table} ORDER BY n") == [
        datetime(2024, 7, 1, 16, 0, tzinfo=UTC),
        datetime(2024, 12, 1, 17, 0, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("declared", "literal", "expected"),
    [
        pytest.param("json", '\' {"a" : 1.00, "a": 2}\'', ' {"a" : 1.00, "a": 2}', id="json as it was written"),
        pytest.param("json", r"""'"\u00e9\ud83d\ude00\u0000"'""", r'"\u00e9\ud83d\ude00\u0000"', id="json escapes"),
        pytest.param("json", "E'[1,\\n2]'", "[1,\n2]", id="json over two lines"),
        pytest.param("json", "'null'", "null", id="json null"),
        pytest.param("json", "'\"\"'", '""', id="json empty string"),
        pytest.param("jsonb", r"""'"\u00e9\ud83d\ude00"'""", '"é😀"', id="jsonb escapes"),
        pytest.param(
            "jsonb",
            '\'{"n": 12345678901234567890.12345678901234567890, "e": 1e40}\'',
            '{"e": 1' + "0" * 40 + ', "n": 12345678901234567890.12345678901234567890}',
            id="jsonb big numbers",
        ),
        pytest.param("jsonb", "'null'", "null", id="jsonb null"),
        pytest.param("hstore", "'a=>b, \"c\"'", '{"a" : "b, \\"c\\""}', id="hstore by its cast to json"),
        pytest.param("hstore[]", "'{a=>b,c=>d}'", '[{"a" : "b"},{"c" : "d"}]', id="hstore array"),
        pytest.param("inner_pair", "ROW(1, 'a,\"b\"')", '{"a":1,"b":"a,\\"b\\""}', id="composite"),
        pytest.param("pair_domain", "ROW(1, NULL)", '{"a":1,"b":null}', id="domain over a composite"),
        pytest.param("inner_pair", "ROW(NULL, NULL)", '{"a":null,"b":null}', id="composite of NULLs is no NULL"),
        pytest.param("odd.date", "ROW(7)", '{"day":7}', id="composite called like a type of ours"),
        pytest.param(
            "pair",
            "ROW('NaN', '2024-03-10 03:00-04', ROW(1, 'x'), '{a,NULL}')",
            '{"n":"NaN","t":"2024-03-10T07:00:00+00:00","i":{"a":1,"b":"x"},"l":["a",null]}',
            id="nested composite",
        ),
        pytest.param(
            "inner_pair[]", "ARRAY[ROW(1, 'a'), NULL]::inner_pair[]", '[{"a":1,"b":"a"},null]', id="composite array"
        ),
        pytest.param("json[]", "ARRAY['{\"a\": 1}', 'null']::json[]", '[{"a": 1},null]', id="json array"),
        pytest.param(
            "jsonb[]", "ARRAY[ARRAY['1'], ARRAY['2']]::jsonb[]", "[[1],[2]]", id="jsonb array in two dimensions"
        ),
        pytest.param("jsonb[]", "'{}'", "[]", id="empty jsonb array"),
    ],
)
def test_json_texts(server: tuple[Reader, Connection], declared: str, literal: str, expected: str) -> None:
    reader, connection = server
    table = fresh_table(connection, declared)
    execute(connection, f"INSERT INTO {table} (v) VALUES ({literal}), (NULL)")
    query = f"SELECT v FROM {table} ORDER BY n"
    field = reader.schema(query).field("v")
    assert (field.type, field.mode) == ("JSON", "NULLABLE")
    assert reader.column(query) == [expected, None]
    json.loads(expected)


def test_a_table_s_own_row_type_is_json(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    table = fresh_table(connection, "date")
    execute(connection, f"INSERT INTO {table} (v) VALUES ('2024-01-01')")
    assert reader.column(f"SELECT r FROM {table} AS r") == ['{"n":1,"v":"2024-01-01"}']


def test_a_domain_over_an_array_is_an_array(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    table = fresh_table(connection, "tags")
    execute(connection, f"""INSERT INTO {table} (v) VALUES ('{{a,"b,c"}}'), (NULL)""")
    assert reader.schema(f"SELECT v FROM {table}").field("v").type_name == "ARRAY<STRING>"
    assert reader.column(f"SELECT v FROM {table} ORDER BY n") == [["a", "b,c"], None]


def test_a_domain_of_a_domain_has_the_first_one_s_precision(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    table = fresh_table(connection, "price_of_price")
    execute(connection, f"INSERT INTO {table} (v) VALUES (1.005)")
    field = reader.schema(f"SELECT v FROM {table}").field("v")
    assert (field.type, field.source_type) == ("NUMERIC", "numeric(10,2)")
    assert reader.column(f"SELECT v FROM {table}") == [Decimal("1.01")]


def test_boxes(server: tuple[Reader, Connection]) -> None:
    reader, _ = server
    query = "SELECT '(3,4),(1,2)'::box AS a, '{(3,4),(1,2);(1,1),(0,0)}'::box[] AS b"
    assert reader.rows(query) == [("(3,4),(1,2)", ["(3,4),(1,2)", "(1,1),(0,0)"])]


def test_xml(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    try:
        execute(connection, "SELECT '<a/>'::xml")
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("the sandbox's PostgreSQL is built without libxml")
    assert reader.rows("""SELECT '<a b="1">é</a>x'::xml AS x, xmlelement(name c) AS y""") == [
        ('<a b="1">é</a>x', "<c/>")
    ]


def test_real_hstore(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    if not execute(connection, "SELECT FROM pg_available_extensions WHERE name = 'hstore'"):
        pytest.skip("the sandbox's PostgreSQL comes without hstore; test_json_texts has a stand-in")
    execute(connection, "CREATE SCHEMA real_hstore; CREATE EXTENSION hstore SCHEMA real_hstore")
    assert reader.column("""SELECT 'a=>1,b=>NULL'::real_hstore.hstore AS h""") == ['{"a": "1", "b": null}']


# declared, value, what the message says of the limit
REJECTED = [
    ("numeric", "NaN", "BIGNUMERIC holds"),
    ("numeric", "Infinity", "BIGNUMERIC holds"),
    ("numeric", "-Infinity", "BIGNUMERIC holds"),
    ("numeric", "1e38", "BIGNUMERIC holds"),
    ("numeric", "-" + "9" * 39, "BIGNUMERIC holds"),
    ("numeric", "1e-39", "BIGNUMERIC holds"),
    ("numeric", "1e1000", "BIGNUMERIC holds"),
    # Modulo 2 to the 256 these two are small numbers.
    ("numeric", str(2**256), "BIGNUMERIC holds"),
    ("numeric", "18207962659039247521831516369716121893171961522165344959", "BIGNUMERIC holds"),
    ("numeric(38,9)", "NaN", "NUMERIC holds"),
    ("numeric(76,38)", "NaN", "BIGNUMERIC holds"),
    ("date", "infinity", "DATE holds"),
    ("date", "-infinity", "DATE holds"),
    ("date", "0001-12-31 BC", "DATE holds"),
    ("date", "4713-01-01 BC", "DATE holds"),
    ("date", "10000-01-01", "DATE holds"),
    ("date", "5874897-12-31", "DATE holds"),
    ("time", "24:00:00", "TIME holds"),
    ("timestamp", "infinity", "DATETIME holds"),
    ("timestamp", "-infinity", "DATETIME holds"),
    ("timestamp", "0001-12-31 23:59:59.999999 BC", "DATETIME holds"),
    ("timestamp", "10000-01-01 00:00:00", "DATETIME holds"),
    ("timestamp", "294276-12-31 23:59:59.999999", "DATETIME holds"),
    ("timestamptz", "infinity", "TIMESTAMP holds"),
    ("timestamptz", "-infinity", "TIMESTAMP holds"),
    ("timestamptz", "0001-01-01 00:00:00+01", "TIMESTAMP holds"),
    ("timestamptz", "9999-12-31 23:59:59.999999-01", "TIMESTAMP holds"),
    ("timestamptz", "4714-11-24 00:00:00+00 BC", "TIMESTAMP holds"),
]


@pytest.mark.parametrize(
    ("declared", "value", "limit"), [pytest.param(*rejected, id=" ".join(rejected[:2])) for rejected in REJECTED]
)
def test_rejected_value(server: tuple[Reader, Connection], declared: str, value: str, limit: str) -> None:
    reader, connection = server
    table = fresh_table(connection, declared)
    execute(connection, f"INSERT INTO {table} (v) VALUES (NULL), (%s)", [value])
    [(text,)] = execute(connection, f"SELECT v::text FROM {table} WHERE n = 2")
    query = f"SELECT n, v FROM {table} ORDER BY n"
    with pytest.raises(RecordError) as caught:
        reader.rows(query)
    message = str(caught.value)
    source_type = reader.schema(query).field("v").source_type
    assert message.startswith(f"column 'v' ({source_type} to {limit.split()[0]}) has an invalid value: {limit}")
    assert "'n'" not in message
    if text.strip("-").lower() not in {"nan", "infinity"}:
        assert text not in everything_said(caught.value)
    # What the message proposes works.
    override = json.dumps({"type_overrides": {"v": "STRING"}})
    assert override in message
    assert reader.rows(query, transformation_config=override) == [(1, None), (2, text)]

    # As an element of an array it fits no better.
    arrays = f"SELECT ARRAY[v] AS v FROM {table} WHERE n = 2"
    with pytest.raises(RecordError, match=r"^column 'v' \(.*\[\] to ARRAY<.*an ARRAY has one dimension"):
        reader.rows(arrays)
    override = json.dumps({"type_overrides": {"v": "JSON"}})
    if value == "1e1000":
        with pytest.raises(RecordError, match="not JSON that BigQuery accepts: numbers have the range of a double"):
            reader.column(arrays, transformation_config=override)
        return
    [as_json] = reader.column(arrays, transformation_config=override)
    assert len(json.loads(as_json)) == 1


@pytest.mark.parametrize(
    ("expression", "as_json"),
    [
        pytest.param("ARRAY[1, NULL]", "[1,null]", id="NULL element"),
        pytest.param("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]", id="two dimensions"),
        pytest.param("ARRAY['a', NULL]", '["a",null]', id="NULL text"),
        pytest.param("'[0:1][2:3]={{a,b},{c,d}}'::text[]", '[["a","b"],["c","d"]]', id="two dimensions from 0 and 2"),
        pytest.param("'{NULL}'::bytea[]", "[null]", id="NULL bytes"),
    ],
)
def test_rejected_array(server: tuple[Reader, Connection], expression: str, as_json: str) -> None:
    reader, _ = server
    query = f"SELECT 1 AS fine, {expression} AS v"
    with pytest.raises(RecordError, match=r"^column 'v' .*an ARRAY has one dimension and no NULL elements"):
        reader.rows(query)
    override = json.dumps({"type_overrides": {"v": "JSON"}})
    assert reader.rows(query, transformation_config=override) == [(1, as_json)]


@pytest.mark.parametrize(
    ("expression", "wanted", "expected"),
    [
        pytest.param("12.00::numeric", "INT64", 12, id="numeric-INT64"),
        pytest.param("'12'::money", "INT64", 12, id="money-INT64"),
        pytest.param("'1234.56'::money", "STRING", "1234.56", id="money-STRING"),
        pytest.param("'1234.56'::money", "BIGNUMERIC", Decimal("1234.56"), id="money-BIGNUMERIC"),
        pytest.param("'1234.5'::money", "FLOAT64", 1234.5, id="money-FLOAT64"),
        pytest.param("4294967295::oid", "FLOAT64", 4294967295.0, id="oid-FLOAT64"),
        pytest.param("4294967295::oid", "STRING", "4294967295", id="oid-STRING"),
        pytest.param("9007199254740993::int8", "FLOAT64", 9007199254740992.0, id="int8-FLOAT64 takes the nearest"),
        pytest.param("7::int2", "BIGNUMERIC", Decimal(7), id="int2-BIGNUMERIC"),
        pytest.param("0.1::real", "STRING", "0.1", id="real-STRING"),
        pytest.param("0.1::real", "NUMERIC", Decimal("0.1"), id="real-NUMERIC"),
        pytest.param("1e20::float8", "NUMERIC", Decimal("1e20"), id="float8-NUMERIC"),
        pytest.param("1.50::numeric", "NUMERIC", Decimal("1.5"), id="numeric-NUMERIC"),
        pytest.param("true", "STRING", "true", id="bool-STRING"),
        pytest.param("'infinity'::date", "STRING", "infinity", id="date-STRING"),
        pytest.param("'infinity'::timestamptz", "STRING", "infinity", id="timestamptz-STRING"),
        pytest.param("'2024-01-01 12:00+02'::timestamptz", "STRING", "2024-01-01 10:00:00+00", id="instant-STRING"),
        pytest.param(
            "'2024-01-01 12:00+02'::timestamptz",
            "DATETIME",
            datetime(2024, 1, 1, 10),  # noqa: DTZ001
            id="timestamptz-DATETIME",
        ),
        pytest.param(
            "'2024-07-01 12:00'::timestamp", "TIMESTAMP", datetime(2024, 7, 1, 12, tzinfo=UTC), id="timestamp-TIMESTAMP"
        ),
        pytest.param("'{\"a\": 1}'::jsonb", "STRING", '{"a": 1}', id="jsonb-STRING"),
        pytest.param("ROW(1, 'a')", "STRING", '{"f1":1,"f2":"a"}', id="record-STRING"),
        pytest.param("'12'::text", "INT64", 12, id="text-INT64"),
        pytest.param("'1e5'::varchar", "NUMERIC", Decimal(100000), id="text-NUMERIC"),
        pytest.param("'-Infinity'::text", "FLOAT64", -math.inf, id="text-FLOAT64"),
        pytest.param("'true'::text", "BOOL", True, id="text-BOOL"),
        pytest.param("'2024-02-29'::text", "DATE", date(2024, 2, 29), id="text-DATE"),
        pytest.param("'[1]'::text", "JSON", "[1]", id="text-JSON"),
    ],
)
def test_type_override(server: tuple[Reader, Connection], expression: str, wanted: str, expected: Any) -> None:
    reader, _ = server
    override = json.dumps({"type_overrides": {"v": wanted}})
    [value] = reader.column(f"SELECT {expression} AS v", transformation_config=override)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("expression", "wanted", "error"),
    [
        pytest.param("12.5::numeric", "INT64", RecordError, id="a fraction is no INT64"),
        pytest.param("'NaN'::float8", "NUMERIC", RecordError, id="NaN is no NUMERIC"),
        pytest.param("2.0046080236598727e+33::float8", "NUMERIC", RecordError, id="too large for NUMERIC"),
        pytest.param(
            "506707348445830354201110322182046015::numeric", "NUMERIC", RecordError, id="36 digits in NUMERIC"
        ),
        pytest.param("1e-300::float8", "BIGNUMERIC", RecordError, id="too small for BIGNUMERIC"),
        pytest.param("'infinity'::timestamp", "TIMESTAMP", RecordError, id="infinity is no TIMESTAMP"),
        pytest.param("'0000-01-01'::text", "DATE", RecordError, id="year 0 is no DATE"),
        pytest.param("'9999-12-31 23:59:59-14'::text", "TIMESTAMP", RecordError, id="an offset out of the calendar"),
        pytest.param("'2024-01-01 00:00:00'::text", "TIMESTAMP", RecordError, id="no offset is no TIMESTAMP"),
        # Only the server knows: a parser would answer infinity, or zero.
        pytest.param("'1e400'::text", "FLOAT64", SourceQueryError, id="too large for FLOAT64"),
        pytest.param("'1e-400'::text", "FLOAT64", SourceQueryError, id="too small for FLOAT64"),
        pytest.param("1e400::numeric", "FLOAT64", SourceQueryError, id="numeric too large for FLOAT64"),
    ],
)
def test_type_override_that_does_not_fit(
    server: tuple[Reader, Connection], expression: str, wanted: str, error: type[Exception]
) -> None:
    reader, connection = server
    table = fresh_table(connection, "text")
    execute(connection, f"INSERT INTO {table} (v) VALUES ('x')")
    override = json.dumps({"type_overrides": {"v": wanted}})
    with pytest.raises(error) as caught:
        # What the planner could compute at launch is left for the read.
        reader.rows(f"SELECT {expression} AS v FROM {table} WHERE v = 'x'", transformation_config=override)
    assert type(caught.value) is error


def test_rows_longer_than_a_chunk_and_batches_of_the_asked_size(server: tuple[Reader, Connection]) -> None:
    reader, _ = server
    query = """SELECT n, repeat(chr(64 + n), 3 * 1024 * 1024) AS a, repeat(E'\\n",', 1024 * 1024) AS b
               FROM generate_series(1, 4) AS n"""
    batches = list(reader.batches(query, batch_size=1))
    assert [batch.num_rows for batch in batches] == [1, 1, 1, 1]
    for n, batch in enumerate(batches, start=1):
        assert batch.to_pylist() == [{"n": n, "a": chr(64 + n) * 3 * 1024 * 1024, "b": '\n",' * 1024 * 1024}]


def test_one_rejected_value_among_many_rows_of_many_columns(server: tuple[Reader, Connection]) -> None:
    reader, _ = server
    query = """SELECT n, CASE WHEN n = 77777 THEN 'NaN'::numeric ELSE n END AS amount, n::text AS t
               FROM generate_series(1, 100000) AS n"""
    with pytest.raises(RecordError, match=r"^column 'amount' ") as caught:
        reader.rows(query)
    assert "77777" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "locale"), [pytest.param("SQL_ASCII", "C", id="sql-ascii"), pytest.param("LATIN1", "C", id="latin1")]
)
def test_databases_in_other_encodings(endpoints: Endpoints, encoding: str, locale: str) -> None:
    with fresh_database(endpoints, f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE '{locale}'") as (reader, _):
        query = "SELECT 1 AS n, convert_from('\\x636166e9', current_setting('server_encoding')) AS v"
        if encoding == "LATIN1":
            assert reader.rows(query) == [(1, "café")]
            return
        with pytest.raises(SourceQueryError) as caught:
            reader.rows(query)
        assert str(caught.value) == (
            "PostgreSQL: CharacterNotInRepertoire (SQLSTATE 22021): a text is not valid UTF-8, which a database with "
            "the encoding SQL_ASCII allows: select the column as bytes, convert_to(column, 'SQL_ASCII')"
        )
        # What the message proposes works.
        assert reader.column(f"SELECT convert_to(v, 'SQL_ASCII') AS v FROM ({query}) AS q") == [b"caf\xe9"]
