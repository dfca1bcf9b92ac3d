"""The script that merges rows and deletes those that the source no longer has."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.publishing.delete import _is_allowed_sql, merge_and_delete_sql
from sync_pipeline.publishing.merge import merge_sql
from sync_pipeline.publishing.strategy import DeletionCounts
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.source import Selection
from tests.plans import INTERVAL, USERS, deletions, plan
from tests.publishing.expected_sql import KEYED

KEYS = "`my-project.production._keys_20250722T150000_0a1b2c3d`"
KEYS_CHECK = (
    f'ASSERT (SELECT COUNT(*) FROM {KEYS}) = 5 AS "the staging table does not hold the 5 rows that were staged"'
)
JUDGED = (
    "(t.`updated_at` IS NULL OR t.`updated_at` <= TIMESTAMP '2025-07-22 15:00:00.000000+00' "
    "OR t.`updated_at` > CURRENT_TIMESTAMP())"
)
EXISTS = f"EXISTS (SELECT 1 FROM {KEYS} AS k WHERE t.`id` = k.`id`)"


def deleting(*, marks: bool = False, **parts: Any) -> TableSync:
    found = deletions(parts.get("schema", USERS), marks=marks)
    return plan(KEYED, interval=INTERVAL, write_mode=WriteMode.MERGE, deletions=found, **parts)


def counts(existing: str, missing: str, returned: str, where: str = "") -> str:
    return (
        f"SET sync_counts = (\nSELECT AS STRUCT {existing} AS existing,\n  COUNTIF({missing}) AS missing,\n"
        f"  {returned} AS returned\nFROM `my-project.production.users` AS t\n"
        f"LEFT JOIN (SELECT DISTINCT `id` FROM {KEYS}) AS k\nON t.`id` = k.`id`\n{where})"
    )


def conditional(condition: str, statement: str) -> str:
    return f"IF {condition} THEN\n{statement};\nEND IF"


FEW = (
    "sync_counts.missing > 0 AND sync_counts.missing * 100 <= 10 * GREATEST(sync_counts.existing, 100) "
    "AND (sync_before = 0 OR sync_counts.missing < sync_before)"
)


def block(*statements: str, before: str = "COUNT(*)") -> str:
    first = "DECLARE sync_before INT64;\nDECLARE sync_counts STRUCT<existing INT64, missing INT64, returned INT64>"
    there = f"SET sync_before = (\nSELECT {before}\nFROM `my-project.production.users` AS t\n)"
    last = (
        "SELECT sync_before AS before, sync_counts.existing AS existing, sync_counts.missing AS missing, "
        "sync_counts.returned AS returned"
    )
    inside = (first, "BEGIN TRANSACTION", there, *statements, last, "COMMIT TRANSACTION")
    return "BEGIN\n" + "".join(f"{statement};\n" for statement in inside) + "END"


def test_rows_are_removed_in_the_transaction_that_merges() -> None:
    table = deleting()
    staging = f"ASSERT (SELECT COUNT(*) FROM `{table.staging_table_id}`) = 3 AS"
    sql = merge_and_delete_sql(table, 3, 5)
    assert sql.startswith(f'{staging} "the staging table does not hold the 3 rows that were staged";\n{KEYS_CHECK};\n')
    assert sql.endswith(
        block(
            merge_sql(table),
            counts("COUNT(*)", f"k.`id` IS NULL AND {JUDGED}", "0"),
            conditional(FEW, f"DELETE FROM `my-project.production.users` AS t\nWHERE {JUDGED} AND NOT {EXISTS}"),
        )
    )


def test_without_rows_there_is_nothing_to_merge() -> None:
    sql = merge_and_delete_sql(deleting(), 0, 5)
    assert sql.startswith(f"{KEYS_CHECK};\nBEGIN\n")
    assert "MERGE" not in sql
    assert "_staging" not in sql


def test_rows_are_marked_and_unmarked() -> None:
    mark = "t.`_deleted_at`"
    assert merge_and_delete_sql(deleting(marks=True), 0, 5).endswith(
        block(
            counts(
                f"COUNTIF({mark} IS NULL)",
                f"k.`id` IS NULL AND {JUDGED} AND {mark} IS NULL",
                f"COUNTIF({mark} IS NOT NULL AND NOT k.`id` IS NULL)",
            ),
            conditional(
                FEW,
                "UPDATE `my-project.production.users` AS t SET `_deleted_at` = TIMESTAMP "
                f'"2025-07-22 15:00:00.000000+00"\nWHERE {JUDGED} AND {mark} IS NULL AND NOT {EXISTS}',
            ),
            conditional(
                "sync_counts.returned > 0",
                "UPDATE `my-project.production.users` AS t SET `_deleted_at` = NULL\n"
                f"WHERE {mark} IS NOT NULL AND {EXISTS}",
            ),
            before=f"COUNTIF({mark} IS NULL)",
        )
    )


@pytest.mark.parametrize("pruned_by", [None, USERS.field("updated_at")], ids=["whole", "pruned"])
def test_bigquery_selects_the_keys_after_the_rows(pruned_by: Field | None) -> None:
    """Keys that no row can have are left out; a row that has one would be an error."""
    source = Schema((Field("id", "INT64"), *list(USERS)[1:]))
    selection = Selection("SELECT * FROM `p.d.users`", source, "EU", "p")
    table = deleting(selection=selection, pruned_by=pruned_by)
    assert table.deletions is not None
    assert table.keys is not None
    keys = replace(
        table.keys, read=replace(table.keys.read, selection=replace(selection, sql="SELECT id FROM `p.d.users`"))
    )
    table = replace(table, deletions=replace(table.deletions, keys=keys), layout=TableLayout("updated_at"))
    sql = merge_and_delete_sql(table, 0, 0)
    selected = (
        "CREATE TEMP TABLE sync_keys AS\nSELECT DISTINCT q.`id` AS `id`\nFROM (\nSELECT id FROM `p.d.users`\n) AS q\n"
        "WHERE NOT IFNULL(q.`id` IS NULL, FALSE);\nBEGIN TRANSACTION"
    )
    order = ["CREATE TEMP TABLE sync_rows AS", selected, "MERGE INTO", "SELECT * FROM sync_rows", "SET sync_counts"]
    order.append("EXISTS (SELECT 1 FROM sync_keys AS k WHERE t.`id` = k.`id`)")
    assert sorted(order, key=sql.index) == order
    assert table.of_keys is None
    assert "ASSERT (SELECT COUNT(*) FROM `my-project.production._" not in sql


def test_a_pruned_merge_shares_the_transaction() -> None:
    table = deleting(pruned_by=USERS.field("updated_at"))
    table = replace(table, layout=replace(table.layout, partition_field="updated_at"))
    sql = merge_and_delete_sql(table, 3, 5)
    assert sql.count("BEGIN TRANSACTION") == sql.count("COMMIT TRANSACTION") == 1
    order = ["DECLARE sync_old", "DECLARE sync_counts", "BEGIN TRANSACTION", "SET sync_before", "MERGE INTO"]
    order += ["SET sync_counts", "DELETE"]
    assert sorted(order, key=sql.index) == order


def test_each_statement_filters_a_table_that_demands_it() -> None:
    sql = merge_and_delete_sql(deleting(marks=True, required_filter_column="updated_at"), 0, 5)
    always = "(t.`updated_at` IS NOT NULL OR t.`updated_at` IS NULL)"
    assert sql.count(f"WHERE {always}") == 4


def test_a_datetime_is_compared_with_the_end_as_a_datetime() -> None:
    schema = Schema((Field("id", "INT64"), Field("updated_at", "DATETIME")))
    sql = merge_and_delete_sql(deleting(schema=schema), 0, 5)
    assert "t.`updated_at` <= DATETIME '2025-07-22 15:00:00.000000' OR t.`updated_at` > CURRENT_DATETIME(" in sql


LIMITS = [
    pytest.param(0, 0, 0, 0, False, id="an empty table"),
    pytest.param(200, 200, 20, 10, False, id="at the limit"),
    pytest.param(200, 200, 21, 10, True, id="beyond it"),
    pytest.param(200, 210, 21, 10, False, id="new rows count"),
    pytest.param(2, 2, 1, 10, False, id="a small table"),
    pytest.param(99, 99, 10, 10, False, id="a small table at the limit"),
    pytest.param(99, 99, 11, 10, True, id="a small table beyond it"),
    pytest.param(9, 9, 9, 10, True, id="no row of a small table is left"),
    pytest.param(9, 12, 9, 99, True, id="only new rows of a small table are left"),
    pytest.param(0, 3, 1, 10, False, id="a row that is gone when it is merged"),
    pytest.param(9, 9, 1, 0, True, id="no deletion is allowed"),
    pytest.param(9, 9, 9, 100, False, id="no limit"),
]


@pytest.mark.parametrize(("before", "existing", "missing", "percent", "is_refused"), LIMITS)
def test_the_limit(before: int, existing: int, missing: int, percent: int, *, is_refused: bool) -> None:
    counts = DeletionCounts(before, existing, missing, 0, percent)
    assert counts.is_refused is is_refused
    assert counts.deleted == (0 if is_refused else missing)
    # The script decides by the same numbers.
    sql = _is_allowed_sql(percent).replace(" AND ", " and ").replace(" OR ", " or ").replace(" = ", " == ")
    variables = {"sync_before": before, "sync_counts": SimpleNamespace(existing=existing, missing=missing)}
    assert eval(sql, {"GREATEST": max, **variables}) is (missing > 0 and not is_refused)
