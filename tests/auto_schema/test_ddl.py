from __future__ import annotations

import pytest

from sync_pipeline.auto_schema.ddl import add_columns_sql, create_table_sql, drop_not_null_sql, new_table, set_type_sql
from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.schema import REPEATED, REQUIRED, Field, Schema

SMALL = Schema(
    (
        Field("id", "INT64", REQUIRED, 'the "key"\nof C:\\users'),
        Field("changed", "TIMESTAMP"),
        Field("tags", "STRING", REPEATED, "it's"),
    )
)

DATES = Schema(
    (
        Field("day", "DATE"),
        Field("local", "DATETIME"),
        Field("changed", "TIMESTAMP"),
    )
)


def test_create_table_sql() -> None:
    sql = create_table_sql("my-project.d.t", SMALL, TableLayout("changed", "MONTH", ("id", "changed"), ("id",)))
    assert sql.splitlines() == [
        "CREATE TABLE `my-project.d.t` (",
        '  `id` INT64 NOT NULL OPTIONS(description="the \\"key\\"\\nof C:\\\\users"),',
        "  `changed` TIMESTAMP,",
        '  `tags` ARRAY<STRING> OPTIONS(description="it\'s"),',
        "  PRIMARY KEY (`id`) NOT ENFORCED",
        ")",
        "PARTITION BY TIMESTAMP_TRUNC(`changed`, MONTH)",
        "CLUSTER BY `id`, `changed`",
    ]


def test_create_or_replace_table_sql() -> None:
    sql = create_table_sql("p.d.t", Schema((Field("a`b", "JSON"),)), TableLayout(), create="CREATE OR REPLACE TABLE")
    assert sql == "CREATE OR REPLACE TABLE `p.d.t` (\n  `a\\`b` JSON\n)"


@pytest.mark.parametrize(
    ("layout", "clause"),
    [
        (TableLayout("day", "DAY"), "PARTITION BY `day`"),
        (TableLayout("day", "MONTH"), "PARTITION BY DATE_TRUNC(`day`, MONTH)"),
        (TableLayout("local", "DAY"), "PARTITION BY DATETIME_TRUNC(`local`, DAY)"),
        (TableLayout("local", "HOUR"), "PARTITION BY DATETIME_TRUNC(`local`, HOUR)"),
        (TableLayout("changed", "YEAR"), "PARTITION BY TIMESTAMP_TRUNC(`changed`, YEAR)"),
    ],
)
def test_partition_clause(layout: TableLayout, clause: str) -> None:
    assert create_table_sql("p.d.t", DATES, layout).splitlines()[-1] == clause


def test_alterations() -> None:
    assert add_columns_sql("p.d.t", [Field("a", "INT64", REQUIRED, "x")]) == (
        'ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` INT64 OPTIONS(description="x")'
    )
    assert add_columns_sql("p.d.t", [Field("a", "INT64", REPEATED)]) == (
        "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` ARRAY<INT64>"
    )
    assert set_type_sql("p.d.t", Field("a", "NUMERIC")) == "ALTER TABLE `p.d.t` ALTER COLUMN `a` SET DATA TYPE NUMERIC"
    assert drop_not_null_sql("p.d.t", Field("a", "INT64")) == "ALTER TABLE `p.d.t` ALTER COLUMN `a` DROP NOT NULL"


def test_long_descriptions_are_cut_before_they_are_escaped() -> None:
    sql = create_table_sql("p.d.t", Schema((Field("a", "INT64", description='"' * 1025),)), TableLayout())
    assert sql.count('\\"') == 1024


def test_new_table() -> None:
    resource = new_table("p.d.t", SMALL, TableLayout("changed", "HOUR", ("id",), ("id",))).to_api_repr()
    assert resource["timePartitioning"] == {"type": "HOUR", "field": "changed"}
    assert resource["clustering"] == {"fields": ["id"]}
    assert resource["tableConstraints"] == {"primaryKey": {"columns": ["id"]}}
    assert [field["name"] for field in resource["schema"]["fields"]] == ["id", "changed", "tags"]


def test_new_plain_table() -> None:
    resource = new_table("p.d.t", SMALL, TableLayout()).to_api_repr()
    assert not {"timePartitioning", "clustering", "tableConstraints", "rangePartitioning"} & {
        name for name, value in resource.items() if value
    }
