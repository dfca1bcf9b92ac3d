"""Whatever a table holds, the batches hold the same: random tables, read by us and by the driver."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.sources.postgresql import copy_read
from tests.integration.postgresql_reading import Reader, execute, fresh_database


@dataclass(frozen=True)
class ColumnType:
    """A type, its values, and what the driver is asked for where it would make something else of them."""

    declared: str
    values: st.SearchStrategy[Any]
    selected: str = "{c}"


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
# Letters that CSV, JSON and PostgreSQL's arrays read in their own ways.
NASTY_TEXT = st.text(st.sampled_from(list("\"',\\\n\r\t{}[]() \ufeffaN0")), max_size=12)
WORDS = TEXT | NASTY_TEXT | st.sampled_from(["", "NULL", "\\N", "\\.", "null", "NaN"])
MOMENTS = st.datetimes(datetime.datetime.min, datetime.datetime.max)  # noqa: DTZ901 - with and without a zone
DECIMALS = st.builds(
    lambda sign, digits, scale: f"{sign}{digits}e-{scale}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**38 - 1),
    st.integers(0, 38),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(WORDS, values, max_size=3),
    max_leaves=5,
)
ELEMENTS = [
    ColumnType("boolean", st.booleans()),
    ColumnType("smallint", st.integers(-(2**15), 2**15 - 1)),
    ColumnType("integer", st.integers(-(2**31), 2**31 - 1)),
    ColumnType("bigint", st.integers(-(2**63), 2**63 - 1)),
    # The driver knows a real by its shortest text only.
    ColumnType("real", st.floats(width=32), "{c}::float8"),
    ColumnType("double precision", st.floats()),
    ColumnType("numeric", DECIMALS),
    ColumnType("numeric(20,5)", st.decimals(-(10**15) + 1, 10**15 - 1, places=5)),
    ColumnType("text", WORDS),
    ColumnType("varchar", WORDS),
    ColumnType("bytea", st.binary()),
    ColumnType("date", st.dates()),
    ColumnType("time", st.times()),
    ColumnType("timestamp", MOMENTS),
    ColumnType("timestamptz", MOMENTS.map(lambda moment: moment.replace(tzinfo=datetime.UTC))),
    ColumnType("uuid", st.uuids().map(str), "{c}::text"),
    ColumnType("interval", st.timedeltas(), "{c}::text"),
]
# The driver reads arrays of these as lists.
ARRAYS = [
    ColumnType(
        f"{type_.declared}[]",
        st.lists(type_.values, max_size=4),
        {"real": "{c}::float8[]", "uuid": "{c}::text[]", "interval": "{c}::text[]"}.get(type_.declared, "{c}"),
    )
    for type_ in ELEMENTS
]
COLUMN_TYPES = [
    *ELEMENTS,
    *ARRAYS,
    ColumnType("char(13)", NASTY_TEXT),
    ColumnType("jsonb", JSON_VALUES.map(json.dumps), "{c}::text"),
]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[ColumnType], list[list[Any]]]:
    """Return columns and rows; in every column some values are NULL."""
    columns = draw(st.lists(st.sampled_from(COLUMN_TYPES), min_size=1, max_size=5))
    row = st.tuples(*(st.none() | column.values for column in columns)).map(list)
    return columns, draw(st.lists(row, max_size=12))


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, "SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1")
        yield reader, connection


NUMBERS = itertools.count()


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(table=tables(), batch_size=st.sampled_from([1, 3, 1000]), chunk_bytes=st.sampled_from([1, 40, 4096]))
def test_round_trip(
    server: tuple[Reader, Connection],
    table: tuple[list[ColumnType], list[list[Any]]],
    batch_size: int,
    chunk_bytes: int,
) -> None:
    reader, connection = server
    columns, rows = table
    name = f"t_{next(NUMBERS)}"
    declared = ", ".join(f'"{i}" {column.declared}' for i, column in enumerate(columns))
    execute(connection, f"CREATE TABLE {name} (n int GENERATED ALWAYS AS IDENTITY, {declared})")
    inserted = ", ".join(f'"{i}"' for i in range(len(columns)))
    values = ", ".join(f"%s::{column.declared}" for column in columns)
    for row in rows:
        execute(connection, f"INSERT INTO {name} ({inserted}) VALUES ({values})", row)
    selected = ", ".join(column.selected.format(c=f'"{i}"') for i, column in enumerate(columns))
    expected = execute(connection, f"SELECT {selected} FROM {name} ORDER BY n")
    assert len(expected) == len(rows)

    with pytest.MonkeyPatch.context() as patch:
        # Chunks of a few rows, so that rows meet every boundary.
        patch.setattr(copy_read, "CHUNK_BYTES", chunk_bytes)
        batches = list(reader.batches(f"SELECT {inserted} FROM {name} ORDER BY n", batch_size=batch_size))
    assert all(0 < batch.num_rows <= batch_size for batch in batches)
    actual = [row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)]
    assert plain(actual) == plain(expected)
    execute(connection, f"DROP TABLE {name}")


def plain(value: Any) -> Any:
    """Return `value` in types that are equal only when they mean the same: -0.0 is not 0.0, and NaN is NaN."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    return value.hex() if isinstance(value, float) else value
