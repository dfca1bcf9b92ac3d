from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.statements import (
    append_sql,
    build_sql,
    merge_sql,
    publish_merge_sql,
    refill_sql,
    replace_sql,
    select_sql,
    swap_sql,
    truncate_sql,
)
from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.plans import INTERVAL, USERS, plan

STAGING = "`my-project.production._staging_20250722T150000_0a1b2c3d`"
SELECT = f"SELECT s.`id` AS `id`, s.`name` AS `name`, s.`updated_at` AS `updated_at`\nFROM {STAGING} AS s"
KEYED = {"primary_key": "id"}


def newest(order: str, keys: str = "s.`id`") -> str:
    return f"\nWHERE TRUE\nQUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}TO_JSON_STRING(s) DESC) = 1"


BY_TIME = newest("s.`updated_at` DESC, ")
NEWER = (
    "(t.`updated_at` IS NULL OR s.`updated_at` IS NULL OR s.`updated_at` >= t.`updated_at` "
    "OR t.`updated_at` > CURRENT_TIMESTAMP())"
)


def test_select_takes_every_column_by_name() -> None:
    assert select_sql(plan(interval=INTERVAL)) == SELECT


def test_select_parses_json() -> None:
    schema = Schema((Field("id", "INT64"), Field("document", "JSON"), Field("tags", "STRING", REPEATED)))
    assert select_sql(plan(schema=schema)).splitlines()[0] == (
        "SELECT s.`id` AS `id`, PARSE_JSON(s.`document`, wide_number_mode=>'round') AS `document`, s.`tags` AS `tags`"
    )


def test_select_keeps_the_newest_row_of_each_key() -> None:
    assert select_sql(plan(KEYED, interval=INTERVAL)) == f"{SELECT}{BY_TIME}"


def test_select_by_several_columns_without_timestamp() -> None:
    assert select_sql(plan({"primary_key": "id,name"})) == f"{SELECT}{newest('', 's.`id`, s.`name`')}"


USERS_TABLE = "`my-project.production.users`"
INSERT = f"INSERT INTO {USERS_TABLE} (`id`, `name`, `updated_at`)\n{SELECT}"
THREE_STAGED = (
    f'ASSERT (SELECT COUNT(*) FROM {STAGING}) = 3 AS "the staging table does not hold the 3 rows that were staged"'
)


def test_append() -> None:
    assert append_sql(plan(), 3) == f"{THREE_STAGED};\n{INSERT}"


def test_append_by_groups_of_partitions() -> None:
    groups = [frozenset({"2024-01-01", None}), frozenset({"2025-06-01", "2025-01-01"}), frozenset({"2026-01-01"})]
    schema = Schema((Field("id", "INT64"), Field("r", "DATE")))
    script = append_sql(plan(schema=schema, layout=TableLayout("r")), 3, groups).split(";\n")
    assert script[1::4] == ["BEGIN TRANSACTION", "COMMIT TRANSACTION"]
    assert [insert.partition("\nWHERE ")[2] for insert in script[2:5]] == [
        '(r_.`r` < DATE "2025-01-01" OR r_.`r` IS NULL)',
        'r_.`r` >= DATE "2025-01-01" AND r_.`r` < DATE "2026-01-01"',
        'r_.`r` >= DATE "2026-01-01"',
    ]


def test_refill() -> None:
    transaction = ["BEGIN TRANSACTION", f"TRUNCATE TABLE {USERS_TABLE}", INSERT, "COMMIT TRANSACTION"]
    assert refill_sql(plan(), 3).split(";\n") == [THREE_STAGED, *transaction]


def test_truncate() -> None:
    assert truncate_sql(plan()) == f"TRUNCATE TABLE {USERS_TABLE}"


def test_a_merge_looks_at_the_staged_rows_first() -> None:
    merged = plan(KEYED, write_mode=WriteMode.MERGE)
    assert publish_merge_sql(merged, 3) == f"{THREE_STAGED};\n{merge_sql(merged)}"


def merge(*clauses: str, using: str) -> str:
    insert = "(`id`, `name`, `updated_at`) VALUES (s.`id`, s.`name`, s.`updated_at`)"
    head = f"MERGE INTO `my-project.production.users` AS t\nUSING (\n{using}\n) AS s\n"
    return head + "\n".join((*clauses, f"WHEN NOT MATCHED THEN INSERT {insert}"))


def test_merge_updates_rows_that_are_not_newer() -> None:
    assert merge_sql(plan(KEYED, interval=INTERVAL, write_mode=WriteMode.MERGE)) == merge(
        "ON t.`id` = s.`id`",
        f"WHEN MATCHED AND {NEWER} THEN UPDATE SET `name` = s.`name`, `updated_at` = s.`updated_at`",
        using=f"{SELECT}{BY_TIME}",
    )


def test_merge_by_a_datetime_compares_with_datetimes() -> None:
    schema = Schema((Field("id", "INT64"), Field("updated_at", "DATETIME")))
    assert "OR t.`updated_at` > CURRENT_DATETIME('UTC'))" in merge_sql(plan(KEYED, schema=schema, interval=INTERVAL))


@pytest.mark.parametrize(
    ("type_name", "now"),
    [
        ("DATETIME", "CURRENT_DATETIME('America/New_York')"),
        ("TIMESTAMP", "TIMESTAMP(CURRENT_DATETIME('America/New_York'), 'UTC')"),
    ],
)
def test_merge_by_a_wall_clock_compares_with_its_reading(type_name: str, now: str) -> None:
    schema = Schema((Field("id", "INT64"), Field("updated_at", type_name)))
    interval = replace(INTERVAL, wall_clock=WallClock("America/New_York"))
    assert f"OR t.`updated_at` > {now})" in merge_sql(plan(KEYED, schema=schema, interval=interval))


def test_merge_without_timestamp_always_updates() -> None:
    assert merge_sql(plan(KEYED, write_mode=WriteMode.MERGE)) == merge(
        "ON t.`id` = s.`id`",
        "WHEN MATCHED THEN UPDATE SET `name` = s.`name`, `updated_at` = s.`updated_at`",
        using=f"{SELECT}{newest('')}",
    )


def test_merge_of_a_key_of_all_columns_only_inserts() -> None:
    keys = "s.`id`, s.`name`, s.`updated_at`"
    assert merge_sql(plan({"primary_key": "id,name,updated_at"})) == merge(
        "ON t.`id` = s.`id` AND t.`name` = s.`name` AND t.`updated_at` = s.`updated_at`",
        using=f"{SELECT}{newest('', keys)}",
    )


def test_merge_names_the_partition_column_where_it_must() -> None:
    on = "ON t.`id` = s.`id`"
    sql = merge_sql(plan(KEYED, required_filter_column="updated_at"))
    assert f"{on} AND (t.`updated_at` IS NOT NULL OR t.`updated_at` IS NULL)\n" in sql
    assert f"{on}\n" in merge_sql(plan(KEYED, layout=TableLayout("updated_at")))


def test_merge_names_the_partitions_that_hold_older_versions() -> None:
    pruned = plan(
        KEYED,
        interval=INTERVAL,
        write_mode=WriteMode.MERGE,
        layout=TableLayout("updated_at", "DAY"),
        pruned_by=USERS.field("updated_at"),
        required_filter_column="updated_at",
    )
    old = "TIMESTAMP_TRUNC(t.`updated_at`, DAY)"
    filters = "(t.`updated_at` IS NOT NULL OR t.`updated_at` IS NULL)"
    lines = merge_sql(pruned).splitlines()
    assert lines[:14] == [
        "BEGIN",
        "DECLARE sync_old STRUCT<partitions ARRAY<TIMESTAMP>, has_null BOOL>;",
        "DECLARE sync_old_partitions ARRAY<TIMESTAMP>;",
        "DECLARE sync_old_is_null BOOL;",
        "BEGIN TRANSACTION;",
        "SET sync_old = (",
        (
            f"SELECT AS STRUCT ARRAY_AGG(DISTINCT {old} IGNORE NULLS) AS partitions, "
            "LOGICAL_OR(t.`updated_at` IS NULL) AS has_null"
        ),
        "FROM `my-project.production.users` AS t",
        f"JOIN (SELECT DISTINCT `id` FROM {STAGING}) AS s",
        "ON t.`id` = s.`id`",
        f"WHERE {filters}",
        ");",
        "SET sync_old_partitions = IFNULL(sync_old.partitions, []);",
        "SET sync_old_is_null = IFNULL(sync_old.has_null, FALSE);",
    ]
    condition = f"({old} IN UNNEST(sync_old_partitions) OR (sync_old_is_null AND t.`updated_at` IS NULL))"
    assert f"ON t.`id` = s.`id` AND {filters} AND {condition}" in lines
    assert lines[-2:] == ["COMMIT TRANSACTION;", "END"]


def test_replace() -> None:
    layout = TableLayout("updated_at", "DAY", ("id",))
    assert replace_sql(plan(write_mode=WriteMode.REPLACE, layout=layout), 3) == (
        f"{THREE_STAGED};\n"
        "CREATE OR REPLACE TABLE `my-project.production.users` (\n  `id` INT64 NOT NULL,\n  `name` STRING,\n"
        "  `updated_at` TIMESTAMP\n)\nPARTITION BY TIMESTAMP_TRUNC(`updated_at`, DAY)\nCLUSTER BY `id`\n"
        f"AS {SELECT}"
    )


def test_a_table_of_another_layout_is_built_and_renamed() -> None:
    replacing = plan(write_mode=WriteMode.REPLACE, layout=TableLayout("updated_at", "MONTH"))
    built = "`my-project.production._replacement_20250722T150000_0a1b2c3d`"
    old = "`my-project.production._replaced_20250722T150000_0a1b2c3d`"
    assert build_sql(replacing, 3).split(";\n") == [
        THREE_STAGED,
        (
            f"CREATE TABLE IF NOT EXISTS {built} (\n  `id` INT64 NOT NULL,\n  `name` STRING,\n"
            "  `updated_at` TIMESTAMP\n)\nPARTITION BY TIMESTAMP_TRUNC(`updated_at`, MONTH)\n"
            "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR))"
        ),
        "BEGIN TRANSACTION",
        f"TRUNCATE TABLE {built}",
        INSERT.replace(USERS_TABLE, built),
        "COMMIT TRANSACTION",
    ]
    assert [line.strip() for line in swap_sql(replacing).splitlines()] == [
        (
            "IF EXISTS (SELECT 1 FROM `my-project.production`.INFORMATION_SCHEMA.TABLES "
            'WHERE table_name = "_replacement_20250722T150000_0a1b2c3d") THEN'
        ),
        f"ALTER TABLE {built} SET OPTIONS (expiration_timestamp = NULL);",
        "BEGIN",
        f"ALTER TABLE IF EXISTS {USERS_TABLE} DROP PRIMARY KEY IF EXISTS;",
        f"ALTER TABLE IF EXISTS {USERS_TABLE} RENAME TO `_replaced_20250722T150000_0a1b2c3d`;",
        f"ALTER TABLE {built} RENAME TO `users`;",
        "EXCEPTION WHEN ERROR THEN",
        f"ALTER TABLE IF EXISTS {old} RENAME TO `users`;",
        "RAISE;",
        "END;",
        "END IF;",
        f"DROP TABLE IF EXISTS {old}",
    ]


def test_columns_called_like_the_aliases_get_others() -> None:
    schema = Schema((*USERS, Field("s", "STRING"), Field("S_", "STRING"), Field("T", "JSON")))
    sql = merge_sql(plan(KEYED, schema=schema, interval=INTERVAL))
    assert "MERGE INTO `my-project.production.users` AS t_\n" in sql
    assert "s__.`s` AS `s`" in sql
    assert "\n) AS s__\nON t_.`id` = s__.`id`\n" in sql
