"""Transformations of a source in BigQuery: the same rows by both ways."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.schema import STANDARD_TYPE_NAMES
from tests.integration.bigquery_syncing import WAYS, BigquerySyncing
from tests.integration.syncing import Run

ROWS = r"""
    (1, 'a', b'\x00\xff', NUMERIC '1.123456789', 2.5, TRUE, DATE '2024-01-31', TIME '01:02:03',
     DATETIME '2024-01-01 10:00:00',
     TIMESTAMP '2024-01-01 00:00:00+00', JSON '{"k":[1,2]}', '12', ['x','y']),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, TIMESTAMP '2024-01-02 00:00:00+00', NULL, NULL, [])
"""


@pytest.fixture(params=WAYS)
def syncing(request: pytest.FixtureRequest, bigquery_syncing: BigquerySyncing) -> BigquerySyncing:
    syncing = bigquery_syncing.by(request.param)
    syncing.at_source(
        "CREATE TABLE items (id INT64, name STRING, secret BYTES, amount NUMERIC, ratio FLOAT64, flag BOOL, day DATE, "
        "hour TIME, wall DATETIME, updated_at TIMESTAMP, document JSON, digits STRING, tags ARRAY<STRING>)"
    )
    syncing.at_source(f"INSERT INTO items VALUES {ROWS}")
    return syncing


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def transform(syncing: BigquerySyncing, config: dict[str, Any], **parameters: str) -> Run:
    return syncing.run(transformation_config=json.dumps(config), **parameters)


def digest(value: str | bytes) -> str:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()


def test_columns_are_chosen_renamed_and_added(syncing: BigquerySyncing) -> None:
    config = {
        "include_fields": ["digits", "id", "name"],
        "field_mappings": {"name": "digits", "digits": "name"},
        "constant_fields": {"origin": 'a "b"\n\\', "yes": True, "least": -(2**63), "share": 0.1},
    }
    transform(syncing, config).succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY id") == [
        (1, "a", "12", 'a "b"\n\\', True, -(2**63), 0.1),
        (2, None, None, 'a "b"\n\\', True, -(2**63), 0.1),
    ]
    assert [field.name for field in syncing.table().schema] == [
        "id",
        "digits",
        "name",
        "origin",
        "yes",
        "least",
        "share",
    ]


def test_excluded_columns_are_not_read(syncing: BigquerySyncing) -> None:
    names = ["document", "tags", "secret"]
    transform(syncing, {"exclude_fields": names}).succeeded()
    assert not {field.name for field in syncing.table().schema} & set(names)


def test_hashes_are_those_of_the_text_or_the_bytes(syncing: BigquerySyncing) -> None:
    names = ["id", "name", "secret", "amount", "flag", "day", "updated_at"]
    transform(syncing, {"include_fields": names, "hash_fields": names[:6]}).succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY updated_at") == [
        (
            *map(digest, ("1", "a", b"\x00\xff", "1.123456789", "true", "2024-01-31")),
            datetime(2024, 1, 1, tzinfo=UTC),
        ),
        (digest("2"), None, None, None, None, None, datetime(2024, 1, 2, tzinfo=UTC)),
    ]


OVERRIDES = [
    ("id", "STRING", "1"),
    ("id", "NUMERIC", Decimal(1)),
    ("id", "FLOAT64", 1.0),
    # The emulator would fill shorter ones up with zeros.
    ("amount", "STRING", "1.123456789"),
    ("amount", "BIGNUMERIC", Decimal("1.123456789")),
    ("ratio", "NUMERIC", Decimal("2.5")),
    ("flag", "STRING", "true"),
    ("day", "STRING", "2024-01-31"),
    ("hour", "STRING", "01:02:03"),
    ("wall", "TIMESTAMP", datetime(2024, 1, 1, 10, tzinfo=UTC)),
    ("updated_at", "DATETIME", datetime(2024, 1, 1)),  # noqa: DTZ001 - DATETIME has no zone
    ("document", "STRING", '{"k":[1,2]}'),
    ("digits", "INT64", 12),
    ("digits", "NUMERIC", Decimal(12)),
    ("digits", "JSON", 12),
    ("tags", "JSON", ["x", "y"]),
]


def test_type_overrides(syncing: BigquerySyncing) -> None:
    columns = ", ".join(f"{column} AS c{number}" for number, (column, *_) in enumerate(OVERRIDES))
    transform(
        syncing,
        {"type_overrides": {f"c{number}": type_name for number, (_, type_name, _) in enumerate(OVERRIDES)}},
        source_bigquery_query=f"SELECT {columns} FROM items WHERE id = 1",
    ).succeeded()
    (row,) = syncing.query("SELECT * FROM items")
    assert list(zip(OVERRIDES, row, strict=True)) == [(case, case[2]) for case in OVERRIDES]
    types = [STANDARD_TYPE_NAMES.get(field.field_type, field.field_type) for field in syncing.table().schema]
    assert types == [type_name for _, type_name, _ in OVERRIDES]


def test_a_text_that_is_no_number_fails_the_run(syncing: BigquerySyncing) -> None:
    message = transform(syncing, {"type_overrides": {"name": "INT64"}}).refused("column 'name' (STRING to INT64)")
    assert message.startswith("column 'name' (STRING to INT64) has an invalid value: INT64 holds whole numbers")
    assert syncing.left_over() == []


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        pytest.param("NUMERIC", "1.1234567891", id="ten digits behind the point"),
        pytest.param("NUMERIC", "12345678911e-10", id="ten digits by the exponent"),
        pytest.param("BIGNUMERIC", f"0.{'1' * 39}", id="39 digits behind the point"),
    ],
)
def test_a_text_with_more_digits_than_the_number_is_not_rounded(
    syncing: BigquerySyncing, type_name: str, text: str
) -> None:
    syncing.at_source(f"UPDATE items SET digits = '{text}' WHERE id = 1")
    config = {"include_fields": ["digits"], "type_overrides": {"digits": type_name}}
    transform(syncing, config).refused(f"column 'digits' (STRING to {type_name}) has an invalid value")


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        pytest.param("NUMERIC", "1.12345678900", Decimal("1.123456789"), id="zeros behind nine digits"),
        pytest.param("TIMESTAMP", "2024-01-01 02:00:00+02", datetime(2024, 1, 1, tzinfo=UTC), id="its own zone"),
        pytest.param("TIMESTAMP", "2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC), id="UTC by its letter"),
        pytest.param("TIMESTAMP", "2024-01-01 00:00:00", datetime(2024, 1, 1, tzinfo=UTC), id="no zone"),
        pytest.param("TIMESTAMP", "2024-01-01", datetime(2024, 1, 1, tzinfo=UTC), id="a day"),
    ],
)
def test_a_text_whose_every_digit_fits(syncing: BigquerySyncing, type_name: str, text: str, value: object) -> None:
    syncing.at_source(f"UPDATE items SET digits = '{text}' WHERE id = 1")
    config = {"include_fields": ["digits"], "type_overrides": {"digits": type_name}}
    syncing.at_source("DELETE FROM items WHERE id = 2")
    transform(syncing, config).succeeded()
    assert syncing.query("SELECT digits FROM items") == [(value,)]


def test_an_existing_column_of_another_type_wins_where_the_values_fit(syncing: BigquerySyncing) -> None:
    syncing.query("CREATE TABLE items (id STRING, amount INT64)")
    config = {"include_fields": ["id", "amount"]}
    syncing.at_source("UPDATE items SET amount = 3 WHERE id = 1")
    transform(syncing, config).succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY id") == [("1", 3), ("2", None)]
    syncing.at_source("UPDATE items SET amount = 1.5 WHERE id = 1")
    transform(syncing, config).refused("column 'amount' (NUMERIC to INT64) has an invalid value")
    assert len(syncing.query("SELECT * FROM items")) == 2


@pytest.mark.parametrize(
    ("source", "destination", "fits", "rejected_rows"),
    [
        pytest.param("NUMERIC", "NUMERIC(10, 2)", "1.12", "1.125", id="NUMERIC"),
        pytest.param("NUMERIC(10, 3)", "NUMERIC(10)", "1", "1.125", id="no digits behind the point"),
    ],
)
def test_a_number_is_not_rounded_to_the_digits_of_an_existing_column(
    bigquery_syncing: BigquerySyncing, way: str, source: str, destination: str, fits: str, rejected_rows: str
) -> None:
    syncing = bigquery_syncing.by(way)
    syncing.at_source(f"CREATE TABLE items (amount {source})")
    syncing.query(f"CREATE TABLE items (amount {destination})")
    syncing.at_source(f"INSERT INTO items VALUES ({fits})")
    syncing.run().succeeded()
    syncing.at_source(f"INSERT INTO items VALUES ({rejected_rows})")
    message = syncing.run().refused("has a value that would be rounded")
    assert message.startswith("column 'amount' (")
    assert syncing.query("SELECT amount FROM items") == [(Decimal(fits),)]


def test_a_required_column_of_the_destination_refuses_null(syncing: BigquerySyncing) -> None:
    syncing.query("CREATE TABLE items (id INT64, name STRING NOT NULL)")
    config = {"include_fields": ["id", "name"]}
    transform(syncing, config).refused("column 'name' has NULL, which is not allowed")
    syncing.at_source("UPDATE items SET name = '' WHERE id = 2")
    transform(syncing, config).succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY id") == [(1, "a"), (2, "")]


def test_new_columns_are_added(syncing: BigquerySyncing) -> None:
    syncing.query("CREATE TABLE items (id INT64)")
    config = {"include_fields": ["id", "day"]}
    transform(syncing, config).refused("column day (DATE) is not in the destination table")
    transform(syncing, config, schema_evolution="add").succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY id") == [(1, date(2024, 1, 31)), (2, None)]


def test_new_columns_are_ignored(syncing: BigquerySyncing) -> None:
    syncing.query("CREATE TABLE items (id INT64)")
    config = {"include_fields": ["id", "day"], "constant_fields": {"x": 1}}
    transform(syncing, config, schema_evolution="ignore").succeeded()
    assert syncing.query("SELECT * FROM items ORDER BY id") == [(1,), (2,)]
