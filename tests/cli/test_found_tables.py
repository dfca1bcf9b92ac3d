"""What `init` says of tables: the column of changes, and what each run does."""

from __future__ import annotations

import pytest

from sync_pipeline.cli.found_tables import FoundTable, mode_text, table_lines, timestamp_column
from sync_pipeline.parameters.source_tables import CatalogTable, TableName


def table(*timestamps: str, key: tuple[str, ...] = ("id",)) -> CatalogTable:
    return CatalogTable(TableName("public", "t"), "table", key, timestamps=dict.fromkeys(timestamps, False))


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ([], "updated_at"),
        ([table("created_at")], "updated_at"),
        ([table("created_at", "modified_at")], "modified_at"),
        ([table("lastModified"), table("updated_at"), table("updated_at")], "updated_at"),
        ([table("modified_at", "updated_at")], "updated_at"),
        ([table("modified_at", key=())], "updated_at"),
    ],
)
def test_the_column_of_most_tables(tables: list[CatalogTable], expected: str) -> None:
    assert timestamp_column(tables) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (table("updated_at"), "merges what has changed, by updated_at"),
        (table("created_at"), "replaces all rows: the table has no timestamp column updated_at"),
        (
            table("modified_at"),
            "replaces all rows: the table has no timestamp column updated_at; it has modified_at: see tables_file",
        ),
        (table("updated_at", key=()), "replaces all rows: the table has no primary key"),
    ],
)
def test_what_each_run_does(found: CatalogTable, expected: str) -> None:
    assert mode_text(found, "updated_at", (), has_own_key=False) == expected


def test_only_a_terminal_cuts_the_lines() -> None:
    found = [FoundTable("public.t", table("updated_at"), "m" * 100, {"updated_at": "index"})]
    assert max(map(len, table_lines(found, 60))) <= 60
    heading, line = table_lines(found)
    assert heading.split() == ["Table", "Rows", "Size", "Key", "Timestamps", "Each", "run"]
    assert line.endswith("m" * 100)
    assert "updated_at (index)" in line


def test_what_is_given_is_not_called_a_replacement() -> None:
    by_disposition = mode_text(table("updated_at"), "updated_at", {"write_disposition"}, has_own_key=False)
    assert by_disposition == "loads rows: as given"
    by_mode = mode_text(table("updated_at"), "updated_at", {"table_mode"}, has_own_key=False, asked="append")
    assert by_mode == "loads rows: table_mode is append"
