from __future__ import annotations

import pytest

from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.planning.table_mode import TableMode, mode_of, mode_of_query

NAME = TableName("public", "orders")
KEYED = CatalogTable(NAME, "table", key=("region", "id"), timestamps={"updated_at": False, "seen_at": True})
KEYLESS = CatalogTable(NAME, "table", timestamps={"updated_at": False})
UNTIMED = CatalogTable(NAME, "table", key=("id",))
MERGE = {"enable_smart_sync": True, "primary_key": ("region", "id")}
APPEND, REPLACE = ({"write_disposition": f"WRITE_{name}"} for name in ("APPEND", "TRUNCATE"))


def mode(
    table: CatalogTable,
    *given: str,
    column: str = "updated_at",
    asked: str = "auto",
    smart_sync: bool | None = None,
) -> TableMode:
    return mode_of(table, given, column, asked=asked, smart_sync=smart_sync, has_own_key=False)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(mode(KEYED), TableMode("key region, id, timestamps updated_at", MERGE), id="key and timestamp"),
        pytest.param(
            mode(KEYED, column="seen_at"),
            TableMode("key region, id, timestamps seen_at", {**MERGE, "smart_sync_null_timestamps": "include"}),
            id="rows without a timestamp are read",
        ),
        pytest.param(mode(KEYLESS), TableMode("the table has no primary key", REPLACE), id="no key"),
        pytest.param(
            mode(UNTIMED), TableMode("the table has no timestamp column updated_at", REPLACE), id="no timestamp"
        ),
        pytest.param(
            mode(CatalogTable(NAME, "table", why_no_key="children repeat it")),
            TableMode("children repeat it", REPLACE),
            id="a key that repeats",
        ),
        pytest.param(mode(CatalogTable(NAME, "view")), TableMode("the view has no primary key", REPLACE), id="neither"),
        pytest.param(mode(KEYED, "write_disposition"), TableMode("as given"), id="told how to write"),
        pytest.param(
            mode(KEYED, "table_mode", asked="append"),
            TableMode("table_mode is append", APPEND),
            id="told to append all rows",
        ),
        pytest.param(
            mode(KEYED, "table_mode", asked="replace"),
            TableMode("table_mode is replace", REPLACE),
            id="told to replace all rows",
        ),
        pytest.param(mode_of_query([]), TableMode("a query has no key", REPLACE), id="query"),
        pytest.param(mode_of_query(["primary_key"]), TableMode("as given"), id="query with a key"),
        pytest.param(
            mode_of_query([], asked="append"), TableMode("table_mode is append", APPEND), id="query to append"
        ),
        pytest.param(mode(KEYED, "delete_existing_table"), TableMode("as given"), id="told to replace the table"),
        pytest.param(mode(UNTIMED, "primary_key"), TableMode("primary_key is given"), id="told to merge all rows"),
        pytest.param(
            mode(KEYLESS, "primary_key"),
            TableMode("key primary_key, timestamps updated_at", {"enable_smart_sync": True}),
            id="told the key",
        ),
        pytest.param(
            mode(KEYED, "enable_smart_sync", smart_sync=False),
            TableMode("enable_smart_sync is false", REPLACE),
            id="told not to use Smart Sync",
        ),
        pytest.param(
            mode(KEYLESS, "enable_smart_sync", smart_sync=True),
            TableMode("enable_smart_sync is given", {"enable_smart_sync": True}),
            id="told to append the increment",
        ),
        pytest.param(
            mode_of(
                CatalogTable(TableName("", "users"), "collection", ("_id",), timestamps={"updated_at": True}),
                (),
                "updated_at",
                smart_sync=None,
                has_own_key=True,
            ),
            TableMode(
                "key _id, timestamps updated_at",
                {"enable_smart_sync": True, "smart_sync_null_timestamps": "include"},
            ),
            id="a source with a key of its own",
        ),
        pytest.param(
            mode_of(
                CatalogTable(TableName("", "clicks"), "time series", (), {"updated_at": True}),
                (),
                "updated_at",
                smart_sync=None,
                has_own_key=True,
            ),
            TableMode("the time series has no primary key", REPLACE),
            id="a table of it that may repeat the key",
        ),
    ],
)
def test_mode(found: TableMode, expected: TableMode) -> None:
    assert found == expected
