from __future__ import annotations

import pytest

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import INTERVAL as INTERVAL_TYPE
from sync_pipeline.schema import RANGE, REPEATED, REQUIRED, STRUCT, Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.transforms.in_sql import all_checks, destination_sql, is_plain, reading_sql, rebuilt
from sync_pipeline.transforms.sql_conversions import failed_checks
from tests.plans import INTERVAL, USERS

NUMBERS = Schema((Field("id", "INT64", REQUIRED), Field("name", "INT64"), Field("updated_at", "TIMESTAMP")))


def test_reasons_name_the_column_and_no_value() -> None:
    cast, null = all_checks(USERS, NUMBERS.with_required(["name"]), "q")
    assert (cast.column, null.column) == ("name", "name")
    assert cast.reason.startswith("column 'name' (STRING to INT64) has an invalid value: INT64 holds whole numbers")
    assert null.reason.startswith("column 'name' has NULL, which is not allowed")
    assert failed_checks("1,", (cast, null)) == (null,)
    assert failed_checks("0,1,", (cast, null)) == (cast, null)


@pytest.mark.parametrize(
    ("source", "read", "plain"),
    [
        pytest.param(USERS, USERS, True, id="as it is"),
        pytest.param(USERS, NUMBERS, False, id="another type"),
        pytest.param(USERS, USERS.with_required(["name"]), True, id="NULL is the workers' business"),
        pytest.param(*2 * [Schema((Field("v", RANGE, parameters="DATE"),))], True, id="RANGE"),
        pytest.param(*2 * [Schema((Field("v", INTERVAL_TYPE),))], False, id="INTERVAL"),
        pytest.param(
            *2 * [Schema((Field("v", STRUCT, REPEATED, fields=(Field("p", INTERVAL_TYPE),)),))],
            False,
            id="nested INTERVAL",
        ),
    ],
)
def test_is_plain(source: Schema, read: Schema, plain: bool) -> None:
    assert is_plain(source, read) is plain


def test_the_query_for_the_destination() -> None:
    config = TransformationConfig.from_json(
        '{"field_mappings": {"name": "label"}, "hash_fields": ["name"], "constant_fields": {"shop": "a\\"b", "n": -1}}'
    )
    schema = Schema(
        (*USERS.fields[:1], Field("label", "STRING"), USERS.fields[2], Field("shop", "STRING"), Field("n", "INT64"))
    )
    assert destination_sql("SELECT * FROM t", USERS, USERS, schema, config) == (
        "SELECT q.`id` AS `id`, TO_HEX(SHA256(q.`name`)) AS `label`, q.`updated_at` AS `updated_at`, "
        '"a\\"b" AS `shop`, CAST(\'-1\' AS INT64) AS `n`\nFROM (\nSELECT * FROM t\n) AS q'
    )


def test_of_everything_a_row_without_a_timestamp_is_outside() -> None:
    bounds = TimestampBounds("updated_at", None, INTERVAL.end, refuses_null=True)
    sql = destination_sql("SELECT 1", USERS, USERS, USERS, TransformationConfig(), bounds)
    assert "IF(q.`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00', q.`updated_at`, ERROR(" in sql


@pytest.mark.parametrize("merges", [False, True], ids=["append", "merge"])
def test_a_row_outside_the_interval_is_an_error(merges: bool) -> None:
    bounds = TimestampBounds("updated_at", None if merges else INTERVAL.start, INTERVAL.end)
    sql = destination_sql("SELECT 1", USERS, USERS, USERS, TransformationConfig(), bounds)
    end = "q.`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00'"
    inside = (
        f"q.`updated_at` IS NULL OR {end}"
        if merges
        else f"q.`updated_at` > TIMESTAMP '2025-07-22 13:00:00.000000+00' AND {end}"
    )
    error = f'ERROR("sync:SourceQueryError: {bounds.problem} :sync")'
    assert f", IF({inside}, q.`updated_at`, {error}) AS `updated_at`\nFROM" in sql


def test_a_value_that_does_not_fit_is_an_error() -> None:
    sql = destination_sql("SELECT 1", USERS, NUMBERS, NUMBERS, TransformationConfig())
    (check,) = all_checks(USERS, NUMBERS, "q")
    error = f'ERROR("sync:RecordError: {check.reason} :sync")'
    assert f", IF({check.rejected}, {error}, SAFE_CAST(q.`name` AS INT64)) AS `name`, " in sql


def test_the_query_that_the_workers_read() -> None:
    assert reading_sql("SELECT 1", USERS, USERS) == (
        "SELECT q.`id` AS `id`, q.`name` AS `name`, q.`updated_at` AS `updated_at`\nFROM (\nSELECT 1\n) AS q"
    )
    (check,) = all_checks(USERS, NUMBERS, "q")
    numbers = f"NULLIF(CONCAT(IF({check.rejected}, '0,', '')), '')"
    moment = "STRING(q.`updated_at`, 'UTC') AS `updated_at`"
    texts = f"CAST(q.`id` AS STRING) AS `id`, CAST(q.`name` AS STRING) AS `name`, {moment}"
    assert reading_sql("SELECT 1", USERS, NUMBERS, service_columns=("rejected_rows", "row")) == (
        "SELECT q.`id` AS `id`, SAFE_CAST(q.`name` AS INT64) AS `name`, q.`updated_at` AS `updated_at`, "
        f"{numbers} AS `rejected_rows`, IF({numbers} IS NULL, NULL, TO_JSON_STRING(STRUCT({texts}))) AS `row`\n"
        "FROM (\nSELECT 1\n) AS q"
    )


@pytest.mark.parametrize(
    ("field", "expression"),
    [
        pytest.param(Field("v", "STRING"), "s.`v`", id="STRING"),
        pytest.param(Field("v", "JSON"), "PARSE_JSON(s.`v`, wide_number_mode=>'round')", id="JSON"),
        pytest.param(Field("v", INTERVAL_TYPE), "CAST(s.`v` AS INTERVAL)", id="INTERVAL"),
        pytest.param(
            Field("v", RANGE, parameters="DATE"),
            "IF(s.`v` IS NULL, NULL, RANGE(s.`v`.`start`, s.`v`.`end`))",
            id="RANGE",
        ),
        pytest.param(
            Field("v", INTERVAL_TYPE, REPEATED),
            "ARRAY(SELECT CAST(element AS INTERVAL) FROM UNNEST(s.`v`) AS element WITH OFFSET AS position "
            "ORDER BY position)",
            id="array",
        ),
        pytest.param(
            Field("v", STRUCT, fields=(Field("a", "INT64"), Field("b", "JSON"))),
            "IF(s.`v` IS NULL, NULL, STRUCT(s.`v`.`a` AS `a`, "
            "PARSE_JSON(s.`v`.`b`, wide_number_mode=>'round') AS `b`))",
            id="STRUCT",
        ),
        pytest.param(Field("v", STRUCT, fields=(Field("a", "INT64"),)), "s.`v`", id="STRUCT that loads as it is"),
    ],
)
def test_rebuilt(field: Field, expression: str) -> None:
    assert rebuilt("s.`v`", field) == expression
