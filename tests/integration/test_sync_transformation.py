"""Each key of `transformation_config`, from the source's columns to the destination's."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from apache_beam.io.filesystems import FileSystems

from tests.integration.syncing import Run, Syncing


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute(
        "CREATE TABLE items (id int, name text, email text, secret bytea, amount text, updated_at timestamptz)"
    )
    syncing.execute(
        "INSERT INTO items VALUES (1, 'a', 'a@b.c', '\\x00ff', '1.50', '2024-01-01Z'), "
        "(2, NULL, NULL, NULL, NULL, '2024-01-02Z')"
    )


def transform(syncing: Syncing, config: dict[str, Any], **parameters: str) -> Run:
    return syncing.run(transformation_config=json.dumps(config), **parameters)


def names(syncing: Syncing) -> list[str]:
    return [field.name for field in syncing.table().schema]


def test_field_mappings(syncing: Syncing) -> None:
    transform(syncing, {"field_mappings": {"name": "full_name", "id": "order"}}).succeeded()
    assert names(syncing) == ["order", "full_name", "email", "secret", "amount", "updated_at"]
    assert syncing.query("SELECT `order`, full_name FROM items ORDER BY 1") == [(1, "a"), (2, None)]


def test_field_mappings_can_swap_two_names(syncing: Syncing) -> None:
    transform(syncing, {"field_mappings": {"name": "email", "email": "name"}}).succeeded()
    assert syncing.query("SELECT name, email FROM items WHERE id = 1") == [("a@b.c", "a")]


def test_include_fields(syncing: Syncing) -> None:
    transform(syncing, {"include_fields": ["updated_at", "id"]}).succeeded()
    # In the order of the query.
    assert names(syncing) == ["id", "updated_at"]
    assert len(syncing.query("SELECT * FROM items")) == 2


def test_exclude_fields(syncing: Syncing) -> None:
    transform(syncing, {"exclude_fields": ["secret", "email"]}).succeeded()
    assert names(syncing) == ["id", "name", "amount", "updated_at"]


def test_a_column_that_is_left_out_is_not_read(syncing: Syncing) -> None:
    query = "SELECT id, 1 / (id - 1) AS broken FROM items"
    assert transform(syncing, {}, postgresql_query=query).exit_code == 2
    transform(syncing, {"exclude_fields": ["broken"]}, postgresql_query=query).succeeded()


@pytest.mark.parametrize(
    ("column", "type_name", "value"),
    [
        ("id", "STRING", "1"),
        ("id", "NUMERIC", Decimal(1)),
        ("id", "FLOAT64", 1.0),
        ("amount", "NUMERIC", Decimal("1.5")),
        ("amount", "float", 1.5),
        ("updated_at", "DATETIME", datetime(2024, 1, 1)),  # noqa: DTZ001 - DATETIME has no zone
        ("updated_at", "STRING", "2024-01-01 00:00:00+00"),
    ],
)
def test_type_overrides(syncing: Syncing, column: str, type_name: str, value: Any) -> None:
    transform(syncing, {"type_overrides": {column: type_name}}).succeeded()
    assert syncing.column(f"SELECT {column} FROM items WHERE name = 'a'") == [value]


def test_type_overrides_of_texts(syncing: Syncing) -> None:
    query = "SELECT '2024-02-29' AS d, '[1, null]' AS j, 'true' AS b, '2024-01-01 12:00+02' AS t"
    overrides = {"d": "DATE", "j": "JSON", "b": "BOOL", "t": "TIMESTAMP"}
    transform(syncing, {"type_overrides": overrides}, postgresql_query=query).succeeded()
    assert syncing.query("SELECT d, j, b, t FROM items") == [
        (date(2024, 2, 29), [1, None], True, datetime(2024, 1, 1, 10, tzinfo=UTC))
    ]


def test_type_overrides_refuse_a_value_that_does_not_fit(syncing: Syncing) -> None:
    run = transform(syncing, {"type_overrides": {"name": "INT64"}})
    run.refused("column 'name' (text to INT64) has an invalid value", "(in 1 of 2 rows)")


def test_type_overrides_refuse_a_type_that_it_cannot_become(syncing: Syncing) -> None:
    run = transform(syncing, {"type_overrides": {"secret": "INT64"}})
    run.refused("transformation_config.type_overrides.secret: the column is BYTES")


def test_constant_fields(syncing: Syncing) -> None:
    constants = {"origin": "shop", "version": 2, "rate": 0.5, "is_test": False}
    transform(syncing, {"constant_fields": constants}).succeeded()
    assert [(field.name, field.field_type) for field in syncing.table().schema][-4:] == [
        ("origin", "STRING"),
        ("version", "INTEGER"),
        ("rate", "FLOAT"),
        ("is_test", "BOOLEAN"),
    ]
    assert syncing.query("SELECT DISTINCT origin, version, rate, is_test FROM items") == [("shop", 2, 0.5, False)]


def test_hash_fields(syncing: Syncing) -> None:
    transform(syncing, {"hash_fields": ["email", "secret", "id"]}).succeeded()
    assert {field.field_type for field in syncing.table().schema if field.name in ("email", "secret", "id")} == {
        "STRING"
    }
    digests = [hashlib.sha256(value).hexdigest() for value in (b"1", b"a@b.c", b"\x00\xff")]
    assert syncing.query("SELECT id, email, secret FROM items WHERE name = 'a'") == [tuple(digests)]
    assert syncing.query("SELECT email, secret FROM items WHERE name IS NULL") == [(None, None)]


def test_hashed_columns_are_in_no_file_that_is_staged(syncing: Syncing) -> None:
    config = json.dumps({"hash_fields": ["email"]})
    plan = syncing.plan(enable_smart_sync="false", transformation_config=config)
    syncing.stage(plan)
    (path,) = syncing.objects()
    with FileSystems.open(path) as handle:
        content = handle.read()
    assert b"a@b.c" not in content
    assert b"1.50" in content


def test_all_keys_at_once_and_with_smart_sync(syncing: Syncing) -> None:
    config = {
        "field_mappings": {"id": "number", "updated_at": "changed"},
        "include_fields": ["id", "email", "amount", "updated_at"],
        "type_overrides": {"amount": "NUMERIC"},
        "constant_fields": {"origin": "shop"},
        "hash_fields": ["email"],
    }
    parameters = {"transformation_config": json.dumps(config), "primary_key": "id"}
    assert syncing.smart(**parameters).succeeded().rows_loaded == 2
    syncing.execute("INSERT INTO items VALUES (1, 'x', 'x@b.c', NULL, '3', '2024-01-03Z')")
    assert syncing.smart(**parameters).succeeded().rows_loaded == 1
    assert syncing.query("SELECT number, email, amount, changed, origin FROM items ORDER BY number") == [
        (1, hashlib.sha256(b"x@b.c").hexdigest(), Decimal(3), datetime(2024, 1, 3, tzinfo=UTC), "shop"),
        (2, None, None, datetime(2024, 1, 2, tzinfo=UTC), "shop"),
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param(
            {"field_mappings": {"nam": "x"}, "hash_fields": ["emial"]},
            [
                "transformation_config.field_mappings names nam, which the source does not have; did you mean name?",
                "transformation_config.hash_fields names emial, which the source does not have; did you mean email?",
            ],
            id="unknown columns",
        ),
        pytest.param({"field_mappings": {"name": "EMAIL"}}, ["name and email", "ignores case"], id="one name twice"),
        pytest.param({"rename": {"a": "b"}}, ["transformation_config.rename: unknown key"], id="unknown key"),
        pytest.param({"include_fields": ["id"], "exclude_fields": ["id"]}, ["exclude_fields"], id="contradiction"),
    ],
)
def test_mistakes_are_refused(syncing: Syncing, config: dict[str, Any], words: list[str]) -> None:
    transform(syncing, config).refused(*words)
    assert syncing.tables() == []


def test_a_name_that_bigquery_does_not_take_is_refused_with_a_mapping(syncing: Syncing) -> None:
    query = 'SELECT 1 AS "a.b", 2 AS "_TABLE_x"'
    message = transform(syncing, {}, postgresql_query=query).refused("BigQuery does not allow these column names")
    proposed = json.loads(message[message.index("{") :])
    transform(syncing, proposed, postgresql_query=query).succeeded()
    assert syncing.query("SELECT * FROM items") == [(1, 2)]
