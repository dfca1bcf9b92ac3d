"""A source that the product does not have, added by one line of the registry: `tests/sqlite_source`."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from sandbox import Endpoints

ROOT = Path(__file__).parents[2]

# The one line, and main.py, once for each command line.
RUN = """
import json, sys
from sync_pipeline.registry import SOURCES
SOURCES["sqlite"] = "tests.sqlite_source"
from sync_pipeline.command import main
for argv in json.loads(sys.argv[1]):
    try:
        code = main(argv)
    except SystemExit as end:
        code = end.code
    print(f"exit {code}", flush=True)
"""

TABLE = """
    CREATE TABLE items (
        id INTEGER, name TEXT, price DECIMAL(10, 2), weight REAL, data BLOB, is_new BOOLEAN, day DATE, tags JSON,
        updated_at TIMESTAMP
    )
"""
INVALID = "3, 'c', 'NaN', NULL, NULL, 2, NULL, NULL, '2026-01-03 00:00:00'"
ROWS = f"""
    INSERT INTO items VALUES
        (1, 'a "quoted"', 1.25, 0.1, x'00ff', 1, '2026-01-01', '{{"a": [1]}}', '2026-01-01 10:00:00.000001'),
        (2, '', NULL, NULL, x'', 0, NULL, NULL, '2026-01-02 00:00:00'),
        ({INVALID})
"""


@dataclass(frozen=True)
class Sqlite:
    file: Path
    client: bigquery.Client
    dataset: str
    folder: str

    def execute(self, *statements: str) -> None:
        with sqlite3.connect(self.file) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def argv(self, **parameters: str) -> list[str]:
        given = {
            "data_source": "sqlite",
            "sqlite_file": str(self.file),
            "sqlite_query": "SELECT * FROM items",
            "destination_bigquery_project": self.client.project,
            "destination_bigquery_dataset": self.dataset,
            "destination_bigquery_table": "items",
            "max_retries": "0",
            "temp_location": self.folder,
            **parameters,
        }
        return [f"--{name}={value}" for name, value in given.items()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        config = bigquery.QueryJobConfig(default_dataset=f"{self.client.project}.{self.dataset}")
        return [tuple(row.values()) for row in self.client.query(sql, job_config=config).result()]


def runs(*command_lines: list[str]) -> list[tuple[int, str]]:
    """Return what each command line exits with, and what it prints, of one process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(command_lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    parts = re.split(r"^exit (\d+)\n", done.stdout, flags=re.MULTILINE)
    return [(int(code), text) for text, code in zip(parts[::2], parts[1::2], strict=False)]


@pytest.fixture
def source(
    tmp_path: Path, endpoints: Endpoints, bigquery_client: bigquery.Client, dataset: str, gcs_folder: str
) -> Iterator[Sqlite]:
    source = Sqlite(tmp_path / "shop.db", bigquery_client, dataset, gcs_folder)
    source.execute(TABLE, ROWS)
    return source


def test_it_appends_the_increment_with_its_types(source: Sqlite) -> None:
    smart = {"enable_smart_sync": "true", "smart_sync_settle_seconds": "0"}
    letters = {"dead_letter_table": f"{source.client.project}.{source.dataset}.letters"}
    refused, first, without_keys = runs(
        source.argv(**smart),
        source.argv(**smart, **letters),
        source.argv(**smart, primary_key="id", deletes="remove"),
    )
    assert refused[0] == 2
    assert "error: column 'price' (DECIMAL(10, 2) to NUMERIC) has an invalid value: NUMERIC holds" in refused[1]
    assert "(in 1 of 3 rows)" in refused[1]
    assert without_keys[0] == 2
    assert "deletes is 'remove': this is not possible for data_source=sqlite" in without_keys[1]
    assert first[0] == 0, first[1]
    assert "read split 1 of 1: 3 rows" in first[1]
    assert source.rows("SELECT * FROM items ORDER BY id") == [
        (
            1,
            'a "quoted"',
            Decimal("1.25"),
            0.1,
            b"\x00\xff",
            True,
            date(2026, 1, 1),
            {"a": [1]},
            datetime(2026, 1, 1, 10, 0, 0, 1, UTC),
        ),
        (2, "", None, None, b"", False, None, None, datetime(2026, 1, 2, tzinfo=UTC)),
    ]
    assert source.rows("SELECT column_name, JSON_VALUE(source_row, '$.price') FROM letters") == [
        ("price, is_new", "NaN")
    ]
    source.execute(
        f"DELETE FROM items WHERE id = {INVALID[0]}",
        "UPDATE items SET name = 'A', updated_at = '2026-01-02 00:00:00.000001' WHERE id = 1",
        "INSERT INTO items (id, updated_at) VALUES (4, '2026-01-04 00:00:00')",
    )
    ((code, text),) = runs(source.argv(**smart))
    assert code == 0, text
    assert "rows_read=2 rows_loaded=2" in text
    assert source.rows("SELECT id, name FROM items ORDER BY updated_at") == [
        (1, 'a "quoted"'),
        (2, ""),
        (1, "A"),
        (4, None),
    ]


def test_its_parameters_are_shown_and_checked(source: Sqlite) -> None:
    table_of_others = {"postgresql_host": "h"}
    shown, misspelt, missing, memory, of_others, no_query = runs(
        ["--help"],
        source.argv(sqlite_fille="x"),
        source.argv(sqlite_query=""),
        source.argv(sqlite_file=":memory:", sqlite_query="SELECT '{start_timestamp}'"),
        source.argv(dry_run="true", **table_of_others),
        source.argv(dry_run="true", sqlite_query="SELECT x FROM items"),
    )
    assert shown[0] == 0
    headings = [line for line in shown[1].splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings.index("SQLite:") == headings.index("BigQuery Source:") + 1
    assert "--sqlite_file VALUE" in shown[1]
    assert "Required: when data_source is sqlite." in shown[1]
    assert misspelt == (
        2,
        (
            "error: --sqlite_fille is neither a parameter of this template nor an option of Beam; did you mean "
            "--sqlite_file?\n"
        ),
    )
    assert missing == (2, "error: sqlite_query is missing: it is required when data_source is sqlite\n")
    assert memory == (
        2,
        (
            "error: sqlite_file is ':memory:', which no worker can reach: give the path of a file\n"
            "error: sqlite_query contains {start_timestamp}, which only Smart Sync fills in: set "
            "enable_smart_sync=true, or use literal timestamps\n"
        ),
    )
    assert of_others[0] == 0
    assert "- postgresql_host is ignored: data_source is sqlite" in of_others[1]
    assert (no_query[0], "error: SQLite: no such column: x" in no_query[1]) == (2, True)
