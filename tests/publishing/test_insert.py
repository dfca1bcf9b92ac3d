from __future__ import annotations

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.publishing.insert import append_sql
from sync_pipeline.schema import Field, Schema
from tests.plans import plan
from tests.publishing.expected_sql import INSERT, THREE_STAGED


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


def test_a_table_that_is_to_be_empty_is_checked_first() -> None:
    table = plan({"write_disposition": ""}, required_filter_column="updated_at")
    count, check, insert = append_sql(table, 3).split(";\n")
    assert f"{count};\n{insert}" == f"{THREE_STAGED};\n{INSERT}"
    assert check.startswith(
        "ASSERT NOT EXISTS (SELECT 1 FROM `my-project.production.users` AS t "
        'WHERE (t.`updated_at` IS NOT NULL OR t.`updated_at` IS NULL)) AS "sync:ConcurrentSyncError: '
    )
