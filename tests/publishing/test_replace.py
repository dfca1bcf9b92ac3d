from __future__ import annotations

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.replace import build_sql, replace_sql, swap_sql
from tests.plans import plan
from tests.publishing.expected_sql import INSERT, SELECT, THREE_STAGED, USERS_TABLE


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
