from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.merge import merge_sql, publish_merge_sql
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin
from sync_pipeline.smart_sync.wall_clock import WallClock
from tests.plans import INTERVAL, USERS, plan
from tests.publishing.expected_sql import BY_TIME, KEYED, SELECT, STAGING, THREE_STAGED, newest

NEWER = (
    "(t.`updated_at` IS NULL OR s.`updated_at` IS NULL OR s.`updated_at` >= t.`updated_at` "
    "OR t.`updated_at` > CURRENT_TIMESTAMP())"
)


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


def test_a_backfill_replaces_what_is_not_newer_than_its_interval() -> None:
    backfill = plan(KEYED, interval=replace(INTERVAL, origin=StartOrigin.BACKFILL), write_mode=WriteMode.MERGE)
    until = "t.`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00'"
    assert f"OR {until} OR t.`updated_at` > CURRENT_TIMESTAMP())" in merge_sql(backfill)


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


def test_merge_names_the_lowest_and_the_highest_key_of_a_clustered_table() -> None:
    clustered = plan(
        KEYED, write_mode=WriteMode.MERGE, layout=TableLayout(None, "DAY", ("id",)), clustered_by=USERS.field("id")
    )
    lines = merge_sql(clustered).splitlines()
    assert lines[:6] == [
        "BEGIN",
        "DECLARE sync_first_key INT64;",
        "DECLARE sync_last_key INT64;",
        f"SET sync_first_key = (SELECT MIN(`id`) FROM {STAGING});",
        f"SET sync_last_key = (SELECT MAX(`id`) FROM {STAGING});",
        "MERGE INTO `my-project.production.users` AS t",
    ]
    assert lines[-1] == "END"
    assert "ON t.`id` = s.`id` AND t.`id` BETWEEN sync_first_key AND sync_last_key" in lines
    both = merge_sql(replace(clustered, pruned_by=USERS.field("updated_at"), layout=TableLayout("updated_at", "DAY")))
    assert "\nON t.`id` = s.`id`\nWHERE t.`id` BETWEEN sync_first_key AND sync_last_key\n" in both


def test_a_partition_column_in_the_key_tells_where_older_versions_are() -> None:
    pruned = plan(
        {"primary_key": "id,updated_at"},
        write_mode=WriteMode.MERGE,
        layout=TableLayout("updated_at", "DAY"),
        pruned_by=USERS.field("updated_at"),
    )
    expected = (
        "SET sync_old = (\nSELECT AS STRUCT ARRAY_AGG(DISTINCT TIMESTAMP_TRUNC(s.`updated_at`, DAY)) AS partitions, "
        f"FALSE AS has_null\nFROM {STAGING} AS s\n);\n"
    )
    assert expected in merge_sql(pruned)


def test_columns_called_like_the_aliases_get_others() -> None:
    schema = Schema((*USERS, Field("s", "STRING"), Field("S_", "STRING"), Field("T", "JSON")))
    sql = merge_sql(plan(KEYED, schema=schema, interval=INTERVAL))
    assert "MERGE INTO `my-project.production.users` AS t_\n" in sql
    assert "s__.`s` AS `s`" in sql
    assert "\n) AS s__\nON t_.`id` = s__.`id`\n" in sql
