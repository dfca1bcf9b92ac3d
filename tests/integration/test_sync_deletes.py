"""Rows that the source no longer has are removed or marked, in the same change as the new ones."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from tests.integration import protections
from tests.integration.reading import read_rows
from tests.integration.syncing import Run, Syncing

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamptz DEFAULT now())"
ROWS = "SELECT id, name FROM items ORDER BY id"
MARKED = "SELECT id, _deleted_at IS NOT NULL FROM items ORDER BY id"


def fill(syncing: Syncing, count: int, table: str = "items") -> None:
    syncing.execute(
        f"INSERT INTO {table} SELECT n, 'item ' || n, now() - n * interval '1 hour' FROM generate_series(1, %s) AS n",
        (count,),
    )


def sync(syncing: Syncing, **parameters: str | None) -> Run:
    return syncing.smart(**{"primary_key": "id", "deletes": "remove", "max_deleted_percent": "50", **parameters})


def test_rows_appear_and_disappear_in_one_change(syncing: Syncing) -> None:
    """A key that is deleted and inserted again is a changed row, and one that changes is another row."""
    syncing.execute(ITEMS)
    fill(syncing, 6)
    first = sync(syncing).succeeded()
    assert first.notes == []
    assert "rows_deleted" not in first.report
    syncing.execute("DELETE FROM items WHERE id IN (1, 2); INSERT INTO items VALUES (2, 'again')")
    syncing.execute("UPDATE items SET id = 30, updated_at = now() WHERE id = 3")
    second = sync(syncing).succeeded()
    assert second.report["outcome"] == f"merged 2 rows into {syncing.table_id()}, and removed 2 deleted ones"
    assert (second.rows_read, second.rows_loaded, second.report["rows_deleted"]) == (2, 2, "2")
    assert syncing.query(ROWS) == [(2, "again"), (4, "item 4"), (5, "item 5"), (6, "item 6"), (30, "item 3")]
    assert syncing.left_over() == []
    (note,) = second.notes
    assert "the key of all rows (id) is read from the source, after the rows, in 1 split" in note


def test_a_run_without_new_rows_removes_deleted_ones(syncing: Syncing) -> None:
    """The newest rows are among them, so that the next run starts from an earlier timestamp."""
    syncing.execute(ITEMS)
    fill(syncing, 4)
    sync(syncing).succeeded()
    syncing.execute("DELETE FROM items WHERE id < 3")
    run = sync(syncing).succeeded()
    assert (run.rows_read, run.rows_loaded, run.report["rows_deleted"]) == (0, 0, "2")
    assert sync(syncing).succeeded().report["outcome"].startswith("nothing new")
    fill(syncing, 2)
    assert sync(syncing).succeeded().rows_loaded == 2
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2, 3, 4]


def test_a_key_of_several_columns_that_are_renamed_hashed_and_constant(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (region text, id int, updated_at timestamptz, PRIMARY KEY (region, id))")
    syncing.execute("INSERT INTO items SELECT r, n, now() FROM unnest(ARRAY['eu', 'us']) AS r, generate_series(1, 3) n")
    parameters = {
        "primary_key": "tenant,region,number",
        "transformation_config": '{"field_mappings": {"id": "number"}, "hash_fields": ["region"], '
        '"constant_fields": {"tenant": "a"}}',
    }
    sync(syncing, **parameters).succeeded()
    syncing.execute("DELETE FROM items WHERE region = 'eu' AND id = 1 OR region = 'us' AND id = 2")
    assert sync(syncing, **parameters).succeeded().report["rows_deleted"] == "2"
    rows = syncing.query("SELECT COUNT(DISTINCT region), ARRAY_AGG(number ORDER BY number) FROM items")
    assert rows == [(2, [1, 2, 3, 3])]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"postgresql_query": "SELECT * FROM items WHERE name <> 'hidden'"}, id="condition"),
        pytest.param(
            {
                "postgresql_base_query": "SELECT * FROM items WHERE name <> 'hidden' AND updated_at > "
                "'{start_timestamp}' AND updated_at <= '{end_timestamp}'"
            },
            id="placeholders",
        ),
    ],
)
def test_a_row_that_the_query_no_longer_returns_is_gone(syncing: Syncing, query: dict[str, str]) -> None:
    """Rows older than the interval, and even older than where a first one begins, are still there."""
    syncing.execute(ITEMS)
    fill(syncing, 4)
    syncing.execute("INSERT INTO items VALUES (5, 'ancient', '1800-01-01Z')")
    sync(syncing, **query).succeeded()
    syncing.execute("UPDATE items SET name = 'hidden' WHERE id = 2")
    assert sync(syncing, **query).succeeded().report["rows_deleted"] == "1"
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 3, 4, 5]


def test_too_many_deletions_are_refused_and_the_rows_published(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 9)
    sync(syncing).succeeded()
    syncing.execute("DELETE FROM items WHERE id < 9; INSERT INTO items VALUES (10, 'new')")
    run = sync(syncing, max_deleted_percent="5")
    assert run.exit_code == 1, run.everything
    error = (
        f"8 of the 10 rows of {syncing.table_id()} are no longer in the source, which is more than "
        "max_deleted_percent=5 allows (a table of fewer than 100 rows counts as one of 100): none was removed, and the "
        "other changes were published; if the source is right, run once with a higher max_deleted_percent"
    )
    assert run.errors == (error,)
    assert syncing.column("SELECT COUNT(*) FROM items") == [10]
    assert syncing.left_over() == []
    sync(syncing, max_deleted_percent="10").succeeded()
    assert syncing.query(ROWS) == [(9, "item 9"), (10, "new")]


def test_a_source_that_has_none_of_the_rows_empties_no_table(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 3)
    sync(syncing).succeeded()
    syncing.execute("TRUNCATE items; INSERT INTO items VALUES (10, 'new')")
    run = sync(syncing, max_deleted_percent="99")
    assert run.exit_code == 1
    error = (
        f"the source has none of the 3 rows that {syncing.table_id()} had before the run: none was removed, and the "
        "other changes were published; if the source is right, run once with max_deleted_percent=100"
    )
    assert run.errors == (error,)
    assert syncing.column("SELECT COUNT(*) FROM items") == [4]
    with protections.without_limit_of_deletions():
        syncing.publish(syncing.plan(primary_key="id", deletes="remove"))
    assert syncing.query(ROWS) == [(10, "new")]


def test_deleted_rows_are_marked_until_they_are_back(syncing: Syncing) -> None:
    """One comes back without a new timestamp. A table that has no column for the mark gets it."""
    syncing.execute(ITEMS)
    fill(syncing, 6)
    sync(syncing, deletes="keep").succeeded()
    syncing.execute("CREATE TABLE aside AS SELECT * FROM items WHERE id = 1; DELETE FROM items WHERE id <= 3")
    run = sync(syncing, deletes="mark").succeeded()
    assert run.report["outcome"] == f"merged 0 rows into {syncing.table_id()}, and marked 3 deleted ones"
    assert syncing.query(MARKED) == [(1, True), (2, True), (3, True), (4, False), (5, False), (6, False)]
    marks = syncing.column("SELECT _deleted_at FROM items WHERE id = 3")
    # Marked rows count neither as existing nor as deleted ones.
    syncing.execute("INSERT INTO items SELECT * FROM aside; INSERT INTO items VALUES (2, 'again')")
    run = sync(syncing, deletes="mark", max_deleted_percent="0").succeeded()
    assert run.report["outcome"] == f"merged 1 rows into {syncing.table_id()}, and unmarked 2"
    assert syncing.query(MARKED) == [(1, False), (2, False), (3, True), (4, False), (5, False), (6, False)]
    assert syncing.column("SELECT _deleted_at FROM items WHERE id = 3") == marks
    syncing.execute("DELETE FROM items WHERE id IN (4, 5)")
    assert sync(syncing, deletes="mark", max_deleted_percent="1").exit_code == 1
    sync(syncing, deletes="mark", max_deleted_percent="2").succeeded()


def test_a_new_table_has_the_column_of_the_marks(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 2)
    sync(syncing, deletes="mark", enable_auto_schema="true", source_table_for_schema="public.items").succeeded()
    assert syncing.query(MARKED) == [(1, False), (2, False)]
    assert [field.name for field in syncing.table().schema] == ["id", "name", "updated_at", "_deleted_at"]


def test_the_column_of_the_marks_is_not_the_sources(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, _deleted_at text, updated_at timestamptz)")
    sync(syncing, deletes="mark").refused("the source has a column _deleted_at")
    sync(syncing, deletes="remove").succeeded()
    mapping = '{"field_mappings": {"_deleted_at": "other"}}'
    sync(syncing, deletes="mark", transformation_config=mapping, schema_evolution="add").refused(
        "is STRING: rename it there"
    )


def test_a_partitioned_table_that_demands_a_filter(syncing: Syncing) -> None:
    """Rows and deletions are one script with the merge that reads only the partitions it needs."""
    syncing.execute(ITEMS)
    fill(syncing, 60)
    parameters = {"enable_auto_schema": "true", "source_table_for_schema": "public.items"}
    sync(syncing, **parameters).succeeded()
    table = syncing.table()
    table.require_partition_filter = True
    syncing.client.update_table(table, ["require_partition_filter"])
    syncing.execute("DELETE FROM items WHERE id % 3 = 0; UPDATE items SET name = 'x', updated_at = now() WHERE id < 3")
    assert sync(syncing, **parameters).succeeded().report["rows_deleted"] == "20"
    rows = syncing.query("SELECT COUNT(*), COUNTIF(name = 'x') FROM items WHERE updated_at > '1900-01-01'")
    assert rows == [(40, 2)]


def test_timestamps_without_a_zone(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamp)")
    fill(syncing, 4)
    sync(syncing).succeeded()
    syncing.execute("DELETE FROM items WHERE id = 1")
    assert sync(syncing).succeeded().report["rows_deleted"] == "1"
    assert syncing.column("SELECT id FROM items ORDER BY id") == [2, 3, 4]


def test_keys_are_read_when_all_rows_are_staged_whatever_the_number_of_lanes(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 8000)
    sync(syncing).succeeded()
    syncing.execute("UPDATE items SET updated_at = now(); DELETE FROM items WHERE id % 4 = 0")
    # So that an index alone has the keys, and ranges of them cost little.
    syncing.execute("VACUUM ANALYZE items")
    run = sync(syncing, num_partitions="4").succeeded()
    staged = [match[1] for line in run.log if (match := re.match(r"staged \S+ (rows|keys),", line))]
    assert staged == sorted(staged, reverse=True)
    assert staged.count("keys") == 4, run.everything
    assert run.report["rows_deleted"] == "2000"
    assert syncing.column("SELECT COUNT(*) FROM items") == [6000]


def test_a_rejected_row_is_not_a_deleted_one(syncing: Syncing) -> None:
    """Neither is a row without a key, which is nowhere else."""
    syncing.execute("CREATE TABLE items (id int, name text, updated_at timestamptz DEFAULT now())")
    fill(syncing, 4)
    letters = syncing.table_id("letters")
    sync(syncing, dead_letter_table=letters).succeeded()
    syncing.execute("INSERT INTO items VALUES (NULL, 'no key'); DELETE FROM items WHERE id = 1")
    syncing.execute("UPDATE items SET updated_at = 'infinity' WHERE id = 2")
    run = sync(syncing, dead_letter_table=letters).succeeded()
    assert (run.report["rows_deleted"], run.report["dead_letters"]) == ("1", "1")
    assert syncing.column("SELECT id FROM items ORDER BY id") == [2, 3, 4]


def test_of_many_tables_each_has_its_own_rule(syncing: Syncing, tmp_path: Path) -> None:
    """Without a timestamp column all rows are replaced, deleted ones too."""
    for name in ("removed", "marked", "kept", "limited", "replaced"):
        column = "" if name == "replaced" else ", updated_at timestamptz"
        syncing.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name text{column})")
        syncing.execute(
            f"INSERT INTO {name} SELECT n, 'x'{', now()' if column else ''} FROM generate_series(1, 4) AS n"
        )
    tables = tmp_path / "tables.yaml"
    tables.write_text(
        "defaults: {deletes: remove, max_deleted_percent: 50}\n"
        "tables:\n- postgresql_table: public.removed\n- {postgresql_table: public.marked, deletes: mark}\n"
        "- {postgresql_table: public.kept, deletes: keep}\n"
        "- {postgresql_table: public.limited, max_deleted_percent: 0}\n- postgresql_table: public.replaced\n"
    )
    parameters = {
        "postgresql_query": None,
        "destination_bigquery_table": None,
        "tables_file": str(tables),
        "smart_sync_settle_seconds": "0",
    }
    assert syncing.run(**parameters).exit_code == 0
    for name in ("removed", "marked", "kept", "limited", "replaced"):
        syncing.execute(f"DELETE FROM {name} WHERE id = 1")
    run = syncing.run(**parameters)
    assert run.exit_code == 1, run.everything
    assert run.errors[0] == "1 of 5 tables failed"
    assert run.errors[1].startswith(f"public.limited: 1 of the 4 rows of {syncing.table_id('limited')} are no longer")
    counts = {name: syncing.column(f"SELECT COUNT(*) FROM {name}") for name in ("removed", "kept", "limited")}
    assert counts == {"removed": [3], "kept": [4], "limited": [4]}
    assert syncing.query("SELECT id FROM marked WHERE _deleted_at IS NOT NULL") == [(1,)]
    assert syncing.column("SELECT COUNT(*) FROM replaced") == [3]
    assert syncing.left_over() == []


def stage_rows(plan: TableSync) -> list[StagedFile]:
    return write_batches(read_rows(plan), rows_target(plan))


def stage_keys(plan: TableSync) -> list[StagedFile]:
    assert plan.of_keys is not None
    return write_batches(read_rows(plan.of_keys), rows_target(plan.of_keys))


@pytest.mark.parametrize(
    ("keys_last", "expected"),
    [pytest.param(True, [30, 31], id="keys last"), pytest.param(False, [31], id="keys first would lose a row")],
)
def test_the_order_of_the_reads_protects_a_row_that_appears_between_them(
    syncing: Syncing, *, keys_last: bool, expected: list[int]
) -> None:
    """A transaction that no longer holds the interval's end back commits a row of the interval between the reads."""
    parameters = {"primary_key": "id", "deletes": "remove", "smart_sync_max_hold_seconds": "0"}
    syncing.execute(ITEMS)
    fill(syncing, 20)
    syncing.smart(**parameters).succeeded()
    late = psycopg2.connect(make_dsn(syncing.endpoints.postgresql_dsn, dbname=syncing.database))
    with contextlib.closing(late):
        late.cursor().execute("INSERT INTO items VALUES (30, 'late')")
        syncing.execute("INSERT INTO items VALUES (31, 'newer')")
        plan = syncing.plan(**parameters)
        files = [] if keys_last else stage_keys(plan)
        late.commit()
    files += stage_rows(plan)
    files += stage_keys(plan) if keys_last else []
    syncing.publish(plan, files)
    syncing.smart(**parameters).succeeded()
    assert syncing.column("SELECT id FROM items WHERE id > 20 ORDER BY id") == expected


@pytest.mark.parametrize(
    ("stamp", "guarded", "expected"),
    [
        pytest.param("NULL", True, [31], id="without a timestamp"),
        pytest.param("NULL", False, [], id="without a timestamp and without the guard"),
        pytest.param("now()", False, [31], id="without the guard"),
    ],
)
def test_an_older_runs_keys_do_not_remove_what_a_newer_run_has_loaded(
    syncing: Syncing, stamp: str, *, guarded: bool, expected: list[int]
) -> None:
    """The shared job id keeps out the older run, and rows with a timestamp later than its interval are not judged."""
    parameters = {"primary_key": "id", "deletes": "remove", "smart_sync_null_timestamps": "include"}
    syncing.execute(ITEMS)
    fill(syncing, 20)
    syncing.smart(**parameters).succeeded()
    older = syncing.plan(**parameters)
    files = syncing.stage(older)
    syncing.execute(f"INSERT INTO items VALUES (31, 'new', {stamp})")
    syncing.smart(**parameters).succeeded()
    with contextlib.nullcontext() if guarded else protections.without_shared_job_id():
        report = syncing.publish(older, files)
    assert report.outcome.startswith("skipped: run ") is guarded
    assert syncing.column("SELECT id FROM items WHERE id > 20") == expected
