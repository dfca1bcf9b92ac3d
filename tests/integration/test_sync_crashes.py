"""The process of a run is killed at every step, and the next run puts everything right."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping

import pytest

from tests import fork_server
from tests.integration import crash_driver
from tests.integration.syncing import ROOT, Syncing

SMART = {"enable_smart_sync": "true", "smart_sync_settle_seconds": "0"}
ALL_TABLES: dict[str, str | None] = {
    "postgresql_query": None,
    "postgresql_table": "*.*",
    "destination_bigquery_table": None,
    "smart_sync_settle_seconds": "0",
}
APPEND: dict[str, str] = {}
MERGE = {"primary_key": "id"}
DEAD_LETTERS = "SELECT DISTINCT JSON_VALUE(source_row, '$.id') FROM dead_letters ORDER BY 1"

# Steps of a first run, which makes the table, and of a later one, which adds a column to it.
FIRST = ["planned", "reading", "file staged", "dead letters loaded", "table created"]
CLEANING = ["published", "staging table removed", "files removed"]
LATER_APPEND = ["planned", "file staged", "dead letters loaded", "table altered", "load job begun", *CLEANING]
# Steps of a run of several tables: the others may be at any step then.
OF_TABLES = [
    "file staged",
    "staging table created",
    "staging table loaded",
    "merge begun",
    "published",
    "files removed",
]
LATER_MERGE = [*LATER_APPEND[:4], "staging table created", "staging table loaded", "merge begun", *CLEANING]


@pytest.fixture
def parameters(syncing: Syncing) -> dict[str, str]:
    """Make a source of three rows, of which one does not fit, and return the parameters all runs share."""
    syncing.execute(
        "CREATE TABLE items (id int PRIMARY KEY, amount numeric, updated_at timestamptz NOT NULL DEFAULT now())"
    )
    syncing.execute("INSERT INTO items VALUES (1, 10), (2, 20), (3, 'NaN')")
    return {"dead_letter_table": syncing.table_id("dead_letters"), "schema_evolution": "add"}


@pytest.mark.parametrize("mode", [pytest.param(APPEND, id="append"), pytest.param(MERGE, id="merge")])
@pytest.mark.parametrize("step", FIRST)
def test_a_first_run_that_is_killed_is_made_good_by_the_next(
    syncing: Syncing, parameters: dict[str, str], step: str, mode: dict[str, str]
) -> None:
    kill(syncing, step, {**SMART, **parameters, **mode})
    syncing.smart(**parameters, **mode).succeeded()
    assert syncing.query("SELECT id, amount FROM items ORDER BY id") == [(1, 10), (2, 20)]
    assert syncing.column(DEAD_LETTERS) == ["3"]
    assert syncing.left_over() == []


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        *(pytest.param(APPEND, step, id=f"append-{step}") for step in LATER_APPEND),
        *(pytest.param(MERGE, step, id=f"merge-{step}") for step in LATER_MERGE),
    ],
)
def test_a_later_run_that_is_killed_is_made_good_by_the_next(
    syncing: Syncing, parameters: dict[str, str], step: str, mode: dict[str, str]
) -> None:
    syncing.smart(**parameters, **mode).succeeded()
    syncing.execute("ALTER TABLE items ADD COLUMN note text")
    syncing.execute("INSERT INTO items VALUES (4, 40, now(), 'new'), (5, 'NaN', now(), 'new')")
    syncing.execute("UPDATE items SET amount = 21, note = 'changed', updated_at = now() WHERE id = 2")
    kill(syncing, step, {**SMART, **parameters, **mode})
    syncing.smart(**parameters, **mode).succeeded()
    expected = [(1, 10, None), (2, 20, None), (2, 21, "changed"), (4, 40, "new")]
    if mode is MERGE:
        expected.remove((2, 20, None))
    assert syncing.query("SELECT id, amount, note FROM items ORDER BY id, amount") == expected
    assert syncing.column(DEAD_LETTERS) == ["3", "5"]
    assert syncing.left_over() == []


def test_every_step_is_one_of_a_run() -> None:
    of_other_sources = {"documents read", "rows read"}
    assert {*FIRST, *LATER_APPEND, *LATER_MERGE} == crash_driver.STEPS.keys() - of_other_sources


def test_each_table_of_a_killed_run_is_as_before_or_complete(syncing: Syncing) -> None:
    rows = {"merged": 5, "replaced": 3, "with_json": 2}
    syncing.execute(
        """
        CREATE TABLE merged (id int PRIMARY KEY, state int, updated_at timestamptz);
        CREATE TABLE replaced (id int, state int);
        CREATE TABLE with_json (id int, state int, body jsonb DEFAULT '{}');
        INSERT INTO merged SELECT n, 0, now() FROM generate_series(1, 5) AS n;
        INSERT INTO replaced SELECT n, 0 FROM generate_series(1, 3) AS n;
        INSERT INTO with_json SELECT n, 0 FROM generate_series(1, 2) AS n;
        """
    )
    assert syncing.run(**ALL_TABLES).exit_code == 0
    before = dict.fromkeys(rows, 0)
    for state, step in enumerate(OF_TABLES, 1):
        for table in rows:
            syncing.execute(f"UPDATE {table} SET state = {state}")
        syncing.execute("UPDATE merged SET updated_at = now()")
        kill(syncing, step, ALL_TABLES)
        for table, count in rows.items():
            ((found, found_rows),) = syncing.query(f"SELECT state, COUNT(*) FROM {table} GROUP BY state")
            assert found in (before[table], state), f"{table}, killed at {step}"
            assert found_rows == count
            before[table] = found
    assert syncing.run(**ALL_TABLES).exit_code == 0
    for table in rows:
        assert syncing.column(f"SELECT DISTINCT state FROM {table}") == [len(OF_TABLES)]
    # Which of the runs that replace all rows are still running is not known: their files stay for some days.
    assert [path for path in syncing.objects() if ".merged-" in path] == []


def kill(syncing: Syncing, step: str, parameters: Mapping[str, str | None]) -> None:
    """Kill a run at `step`; a staging table that it leaves goes away by itself, should no later run find it."""
    argv = syncing.argv(**parameters)
    run = [fork_server.python(), "-m", crash_driver.__name__, step, *argv]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for table in syncing.tables():
        assert not table.startswith("_staging") or syncing.table(table).expires is not None
