"""The destination is compared with the whole source, and what differs is counted, or corrected in one change."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_pipeline import command
from sync_pipeline.errors import ConcurrentSyncError, SchemaError
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.comparison_report import values_of
from tests.integration import protections
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Run, Syncing

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, name text, price numeric(10, 2), updated_at timestamptz DEFAULT now())"
ROWS = "SELECT id, name FROM items ORDER BY id"


def fill(syncing: Syncing, count: int) -> None:
    syncing.execute(
        "INSERT INTO items SELECT n, 'item ' || n, n / 3.0, now() - n * interval '1 hour' "
        "FROM generate_series(1, %s) AS n",
        (count,),
    )


def reconcile(syncing: Syncing, verb: str = "report", **parameters: str | None) -> Run:
    return syncing.smart(**{"primary_key": "id", "reconcile": verb, "max_deleted_percent": "50", **parameters})


def counts(run: Run) -> dict[str, int]:
    """Return the counts of a comparison that are not 0."""
    names = ("missing", "different", "surplus", "not_yet_synced")
    assert set(names) <= run.report.keys(), run.everything
    return {name: int(run.report[name]) for name in names if run.report[name] != "0"}


def test_each_damage_is_counted_and_repaired(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 10)
    syncing.smart(primary_key="id").succeeded()
    assert counts(reconcile(syncing).succeeded()) == {}
    syncing.query("DELETE FROM items WHERE id IN (8, 9)")
    syncing.query("UPDATE items SET name = 'other' WHERE id = 3")
    syncing.query("UPDATE items SET name = NULL, price = 1 WHERE id = 4")
    syncing.query("ALTER TABLE items ALTER COLUMN id DROP NOT NULL")
    syncing.query("INSERT INTO items (id, name) VALUES (5, 'twice'), (100, 'nobody'), (NULL, 'no key')")
    before = syncing.query("SELECT * FROM items ORDER BY id, name")
    run = reconcile(syncing)
    assert (run.exit_code, run.errors) == (3, ()), run.everything
    assert counts(run) == {"missing": 2, "different": 2, "surplus": 3}
    assert syncing.query("SELECT * FROM items ORDER BY id, name") == before
    lines = [line.removeprefix("reconcile:").split() for line in run.log if line.startswith("reconcile:  ")]
    assert ["in", "name", "2"] in lines
    assert ["in", "price", "1"] in lines
    assert "twice" not in run.everything
    repaired = reconcile(syncing, "repair").succeeded()
    assert counts(repaired) == {"missing": 2, "different": 2, "surplus": 3}
    assert (repaired.report["rows_loaded"], repaired.report["rows_deleted"]) == ("4", "3")
    assert syncing.query("SELECT id, name FROM items ORDER BY id") == [(n, f"item {n}") for n in range(1, 11)]
    assert counts(reconcile(syncing).succeeded()) == {}
    assert syncing.left_over() == []


def planned(syncing: Syncing, verb: str = "report", **parameters: str | None) -> TableSync:
    return syncing.plan(**{"primary_key": "id", "reconcile": verb, "max_deleted_percent": "50", **parameters})


def compared(syncing: Syncing, verb: str = "report", **parameters: str | None) -> dict[str, Any]:
    """Compare without a runner; return the counts that are not 0, without the numbers of all rows."""
    report = syncing.publish(planned(syncing, verb, **parameters))
    assert report.differences is not None
    found = values_of(report.differences)
    left_out = ("source_rows", "destination_rows", "repaired")
    return {name: count for name, count in found.items() if count and name not in left_out}


def test_what_the_next_run_loads_is_not_yet_synced(syncing: Syncing) -> None:
    """Rows that it deletes are so only with `deletes`: with `keep` they would stay."""
    syncing.execute(ITEMS)
    fill(syncing, 10)
    syncing.smart(primary_key="id").succeeded()
    syncing.execute("INSERT INTO items VALUES (11, 'new', 1, now()), (12, 'ahead', 1, now() + interval '1 day')")
    syncing.execute(
        "UPDATE items SET name = 'changed', updated_at = now() WHERE id IN (4, 5); DELETE FROM items WHERE id = 6"
    )
    new = {"new_missing": 2, "new_different": 2}
    assert compared(syncing) == {**new, "surplus": 1}
    assert compared(syncing, deletes="remove") == {**new, "new_surplus": 1}
    # A change without a new timestamp, which no run reads.
    syncing.execute("UPDATE items SET name = 'silent' WHERE id = 7")
    assert compared(syncing, deletes="remove") == {
        **new,
        "new_surplus": 1,
        "different": 1,
        "different_by_column": {"name": 1},
    }
    # Unless it lies in the lookback.
    assert compared(syncing, deletes="remove", smart_sync_lookback_seconds="86400") == {
        **new,
        "new_different": 3,
        "new_surplus": 1,
    }
    assert compared(syncing, "repair", deletes="remove")["different"] == 1
    assert compared(syncing, deletes="remove") == {**new, "new_surplus": 1}
    run = syncing.smart(primary_key="id", deletes="remove").succeeded()
    assert (run.rows_loaded, run.report["rows_deleted"]) == (3, "1")
    assert compared(syncing) == {"new_missing": 1}


def test_rows_without_a_timestamp(syncing: Syncing) -> None:
    """A run that does not read them cannot differ by them; their older version is not a row that the source lacks."""
    syncing.execute(ITEMS)
    fill(syncing, 4)
    syncing.smart(primary_key="id").succeeded()
    syncing.execute(
        "UPDATE items SET updated_at = NULL, name = 'x' WHERE id = 2; INSERT INTO items VALUES (9, 'y', 1, NULL)"
    )
    assert compared(syncing) == {"unjudged": 1}
    assert compared(syncing, smart_sync_null_timestamps="include") == {"new_missing": 1, "new_different": 1}
    compared(syncing, "repair")
    assert syncing.query(ROWS) == [(n, f"item {n}") for n in range(1, 5)]


def test_appended_versions(syncing: Syncing) -> None:
    """Older versions stay; a row is missing, or there more often than in the source."""
    syncing.execute("CREATE TABLE items (id int, name text, updated_at timestamptz DEFAULT now())")
    syncing.execute(
        "INSERT INTO items SELECT n, 'item ' || n, now() - n * interval '1 hour' FROM generate_series(1, 6) AS n"
    )
    append = {"primary_key": None}
    syncing.smart(**append).succeeded()
    syncing.execute("UPDATE items SET name = 'changed', updated_at = now() WHERE id = 2")
    syncing.smart(**append).succeeded()
    syncing.execute("UPDATE items SET name = 'again', updated_at = now() WHERE id = 2")
    assert compared(syncing, **append) == {"older": 2, "new_missing": 1}
    before = sorted(syncing.query("SELECT * FROM items"))
    syncing.query("DELETE FROM items WHERE id = 4")
    syncing.query("INSERT INTO items SELECT i.* FROM items AS i, UNNEST([1, 2]) WHERE id = 5")
    syncing.query("UPDATE items SET name = 'damaged' WHERE id = 6")
    assert compared(syncing, **append) == {"older": 3, "new_missing": 1, "missing": 2, "surplus": 2}
    compared(syncing, "repair", **append)
    assert compared(syncing, **append) == {"older": 3, "new_missing": 1}
    assert [row for row in sorted(syncing.query("SELECT * FROM items")) if row[1] != "damaged"] == before
    syncing.smart(**append).succeeded()
    assert compared(syncing, **append) == {"older": 3}


VALUES = """CREATE TABLE items (id int, f float8, j jsonb, t text[], b bytea, n numeric(10, 2), d date);
INSERT INTO items VALUES
(1, 'NaN', '{"b": [1, null], "a": 1.5}', '{a,b}', '\\x00ff', 1.5, '2025-01-01'),
(1, 'NaN', '{"b": [1, null], "a": 1.5}', '{a,b}', '\\x00ff', 1.5, '2025-01-01'),
(2, '-0', 'null', '{}', '', NULL, NULL),
(3, '-infinity', NULL, NULL, NULL, -0.01, NULL),
(NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(5, 0.1, '"x"', '{""}', NULL, 0, NULL)"""


@pytest.mark.parametrize("key", ["", ", ADD PRIMARY KEY (id)"], ids=["whole rows", "the source's key"])
def test_all_types_without_smart_sync(syncing: Syncing, key: str) -> None:
    """NaN equals NaN, NULL equals NULL, and every row counts as often as it is there."""
    syncing.execute(VALUES)
    if key:
        syncing.execute(f"DELETE FROM items WHERE id IS NULL OR id = 1; ALTER TABLE items {key.removeprefix(', ')}")
    parameters: dict[str, str | None] = {
        "primary_key": None,
        "enable_smart_sync": "false",
        "write_disposition": "WRITE_TRUNCATE",
        "enable_auto_schema": "true",
        "source_table_for_schema": "public.items",
        "partition_field": None,
    }
    syncing.run(**parameters).succeeded()
    assert compared(syncing, **parameters) == {}
    syncing.query("ALTER TABLE items ADD COLUMN elsewhere STRING")
    syncing.query("UPDATE items SET elsewhere = 'kept' WHERE TRUE")
    syncing.query("DELETE FROM items WHERE id = 3 OR id IS NULL")
    syncing.query("UPDATE items SET d = '2025-01-02', f = CAST('NaN' AS FLOAT64) WHERE id = 5")
    syncing.query("INSERT INTO items SELECT * FROM items WHERE id IN (1, 2)")
    if key:
        found = {"missing": 1, "different": 1, "surplus": 1, "different_by_column": {"f": 1, "d": 1}}
    else:
        found = {"missing": 3, "surplus": 4}
    assert compared(syncing, **parameters) == found
    compared(syncing, "repair", **parameters)
    assert compared(syncing, **parameters) == {}
    kept = syncing.query("SELECT id FROM items WHERE elsewhere = 'kept' ORDER BY id")
    assert kept == ([(2,), (5,)] if key else [(1,), (1,), (2,)])


def test_a_table_that_changes_meanwhile_is_not_compared(syncing: Syncing) -> None:
    """Without Smart Sync no job id tells it, so the rows themselves do."""
    syncing.execute("CREATE TABLE items (id int, name text); INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    parameters: dict[str, str | None] = {
        "primary_key": None,
        "enable_smart_sync": "false",
        "write_disposition": "WRITE_TRUNCATE",
    }
    syncing.run(**parameters).succeeded()
    for verb in ("report", "repair"):
        plan = planned(syncing, verb, **parameters)
        files = syncing.stage(plan)
        syncing.execute("INSERT INTO items VALUES (3, 'c')")
        syncing.run(**parameters).succeeded()
        with pytest.raises(ConcurrentSyncError, match="another run has changed"):
            syncing.publish(plan, files)
    assert syncing.column("SELECT COUNT(*) FROM items") == [4]
    assert syncing.left_over() == []


def test_a_repair_undoes_no_update_that_is_published_before_it(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 5)
    syncing.smart(primary_key="id").succeeded()
    syncing.query("UPDATE items SET name = 'damaged' WHERE id IN (2, 3)")
    repair = planned(syncing, "repair")
    files = syncing.stage(repair)
    other = replace(repair, number=1)
    other_files = syncing.stage(other)
    syncing.execute("UPDATE items SET name = 'newer', updated_at = now() WHERE id = 2")
    syncing.smart(primary_key="id").succeeded()
    with pytest.raises(ConcurrentSyncError, match="run it again"):
        syncing.publish(repair, files)
    assert syncing.query("SELECT name FROM items WHERE id IN (2, 3) ORDER BY id") == [("newer",), ("damaged",)]
    # The same without the id that both share: the rows themselves tell.
    with protections.without_shared_job_id():
        syncing.publish(other, other_files)
    assert syncing.query("SELECT name FROM items WHERE id IN (2, 3) ORDER BY id") == [("newer",), ("item 3",)]


def test_a_report_does_not_miss_rows_that_another_run_has_removed_meanwhile(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 5)
    syncing.publish(syncing.plan(primary_key="id"))
    reports = [planned(syncing, deletes=verb) for verb in ("remove", "mark")]
    files = [syncing.stage(report) for report in reports]
    syncing.execute("DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (6, 'new')")
    syncing.publish(syncing.plan(primary_key="id", deletes="remove", max_deleted_percent="50"))
    for report, staged in zip(reports, files, strict=True):
        with pytest.raises(ConcurrentSyncError, match="another run has changed"):
            syncing.publish(report, staged)
    assert compared(syncing, deletes="remove") == {}
    syncing.query("DELETE FROM items WHERE id = 3")
    assert compared(syncing, deletes="remove") == {"missing": 1}
    assert syncing.left_over() == []


def test_a_run_after_a_repair_from_the_same_timestamp(syncing: Syncing) -> None:
    """One that was planned before is skipped, and the next one loads its rows."""
    syncing.execute(ITEMS)
    fill(syncing, 3)
    syncing.smart(primary_key="id").succeeded()
    syncing.query("DELETE FROM items WHERE id = 3")
    syncing.execute("INSERT INTO items VALUES (4, 'new')")
    earlier = syncing.plan(primary_key="id")
    assert compared(syncing, "repair") == {"missing": 1, "new_missing": 1}
    assert syncing.publish(earlier).outcome.startswith("skipped")
    assert syncing.smart(primary_key="id").succeeded().rows_loaded == 1
    assert compared(syncing) == {}


def test_too_many_surplus_rows_are_kept(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 3)
    syncing.smart(primary_key="id").succeeded()
    syncing.query("DELETE FROM items WHERE id = 3")
    syncing.query("INSERT INTO items (id) SELECT n FROM UNNEST(GENERATE_ARRAY(10, 20)) AS n")
    run = reconcile(syncing, "repair", max_deleted_percent="10")
    assert run.exit_code == 1, run.everything
    (error,) = run.errors
    assert error.startswith("11 of the 13 rows of")
    assert syncing.column("SELECT COUNT(*) FROM items") == [14]
    syncing.execute("TRUNCATE items")
    assert reconcile(syncing, "repair", max_deleted_percent="99").exit_code == 1
    assert syncing.column("SELECT COUNT(*) FROM items") == [14]
    assert compared(syncing, "repair", max_deleted_percent="100") == {"surplus": 14}
    assert syncing.column("SELECT COUNT(*) FROM items") == [0]


def test_marked_rows(syncing: Syncing) -> None:
    """One that the source lacks is not surplus, and the next run takes the mark from one that it has again."""
    syncing.execute(ITEMS)
    fill(syncing, 6)
    mark = {"primary_key": "id", "deletes": "mark"}
    syncing.smart(**mark).succeeded()
    syncing.execute(
        "CREATE TABLE aside AS SELECT * FROM items WHERE id IN (2, 3); DELETE FROM items WHERE id IN (2, 3)"
    )
    syncing.smart(**mark).succeeded()
    assert compared(syncing, deletes="mark") == {}
    assert compared(syncing) == {}
    syncing.execute("INSERT INTO items SELECT * FROM aside WHERE id = 2; DELETE FROM items WHERE id = 4")
    assert compared(syncing, deletes="mark") == {"new_different": 1, "new_surplus": 1}
    syncing.query("INSERT INTO items (id, name) VALUES (5, 'twice')")
    compared(syncing, "repair", deletes="mark")
    marked = syncing.query("SELECT id, name, _deleted_at IS NOT NULL FROM items ORDER BY id")
    assert marked == [(n, f"item {n}", n in (2, 3)) for n in range(1, 7)]


def test_rejected_rows_are_not_compared(syncing: Syncing) -> None:
    """Their older versions seem to be surplus, so nothing is removed. No dead letter is written."""
    syncing.execute(ITEMS)
    fill(syncing, 4)
    letters = syncing.table_id("letters")
    syncing.smart(primary_key="id", dead_letter_table=letters).succeeded()
    syncing.execute("UPDATE items SET updated_at = 'infinity' WHERE id = 2")
    syncing.query("UPDATE items SET name = 'x' WHERE id = 3")
    run = reconcile(syncing, "repair", dead_letter_table=letters).succeeded()
    assert counts(run) == {"different": 1}
    assert run.report["dead_letters"] == "1"
    assert syncing.query(ROWS) == [(n, f"item {n}") for n in range(1, 5)]
    assert "letters" not in syncing.tables()
    assert reconcile(syncing).exit_code == 2


def test_an_interval_alone(syncing: Syncing) -> None:
    """Rows that the source has no longer in it may have been updated, so they are not judged."""
    syncing.execute(ITEMS)
    syncing.execute(
        "INSERT INTO items SELECT n, 'item ' || n, 1, '2025-07-01Z'::timestamptz + n * interval '1 day' "
        "FROM generate_series(1, 9) AS n"
    )
    syncing.smart(primary_key="id").succeeded()
    syncing.query("UPDATE items SET name = 'x' WHERE id IN (2, 4)")
    syncing.query("DELETE FROM items WHERE id = 5")
    syncing.query("INSERT INTO items (id, updated_at) VALUES (100, '2025-07-04 00:00:00+00')")
    interval = {"interval_start": "2025-07-04T00:00:00Z", "interval_end": "2025-07-07T00:00:00Z"}
    assert compared(syncing, **interval) == {
        "missing": 1,
        "different": 1,
        "different_by_column": {"name": 1},
        "unjudged": 7,
    }
    compared(syncing, "repair", **interval)
    assert compared(syncing, **interval) == {"unjudged": 7}
    assert compared(syncing) == {"different": 1, "different_by_column": {"name": 1}, "surplus": 1}


def test_what_cannot_be_compared_is_refused(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 2)
    reconcile(syncing).refused(f"{syncing.table_id()} does not exist, so there is nothing to compare")
    reconcile(syncing, delete_existing_table="true").refused("reconcile is 'report': it compares the source with")
    assert syncing.tables() == []


def test_a_new_column_is_left_out(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 2)
    syncing.smart(primary_key="id").succeeded()
    syncing.execute("ALTER TABLE items ADD COLUMN more text DEFAULT 'x'")
    assert compared(syncing, schema_evolution="add") == {}
    with pytest.raises(SchemaError, match="column more"):
        planned(syncing)


def test_a_dry_run_says_what_is_read(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    fill(syncing, 2)
    syncing.smart(primary_key="id").succeeded()
    page = reconcile(syncing, "repair", dry_run="true").printed
    assert (
        "reconcile: compare all rows by id, in a staging table: the differing rows are corrected in one change" in page
    )
    assert "the comparison reads the whole table: " in page
    assert "count as not yet synced, because the next run reads them" in page


def test_of_many_tables_each_is_compared(syncing: Syncing) -> None:
    """One with a timestamp column by its key, one without as whole rows; the differences are in the JSON document."""
    syncing.execute("CREATE TABLE dated (id int PRIMARY KEY, v text, updated_at timestamptz)")
    syncing.execute("INSERT INTO dated SELECT n, 'v', now() - interval '1 day' FROM generate_series(1, 5) AS n")
    syncing.execute("CREATE TABLE plain AS SELECT id, v FROM dated; CREATE TABLE fresh AS SELECT * FROM plain")
    parameters = {
        "postgresql_query": None,
        "postgresql_table": "public.*",
        "destination_bigquery_table": "{table}",
        "smart_sync_settle_seconds": "0",
    }
    assert syncing.run(**{**parameters, "postgresql_table": "public.*,!public.fresh"}).exit_code == 0
    syncing.query("DELETE FROM dated WHERE id = 2")
    syncing.query("UPDATE plain SET v = 'x' WHERE id = 2")
    run = syncing.run(**parameters, reconcile="report")
    assert run.exit_code == 2, run.everything
    assert f"public.fresh: reconcile: {syncing.table_id('fresh')} does not exist" in run.everything
    parameters["postgresql_table"] = "public.*,!public.fresh"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert command.main([*syncing.argv(**parameters, reconcile="report"), "--output=json"]) == 3
    document = json.loads(printed.getvalue())
    assert (document["exit_code"], document["error"]) == (3, None)
    [run_document] = document["runs"]
    found = {
        table["source"]: {name: count for name, count in table["differences"].items() if count}
        for table in run_document["tables"]
    }
    rows = {"source_rows": 5}
    assert found == {
        "public.dated": {**rows, "destination_rows": 4, "missing": 1},
        "public.plain": {**rows, "destination_rows": 5, "missing": 1, "surplus": 1},
    }
    assert syncing.run(**parameters, reconcile="repair").exit_code == 0
    assert syncing.run(**parameters, reconcile="report").exit_code == 0


DAY = datetime(2025, 7, 22, tzinfo=UTC)


def test_mongodb(mongodb_syncing: MongodbSyncing) -> None:
    """Documents are compared by _id, read from the primary; fields that the table lacks are left out."""
    syncing = mongodb_syncing
    syncing.insert(*({"_id": n, "v": f"value {n}", "o": {"b": 1, "a": [n]}, "updated_at": DAY} for n in range(1, 6)))
    syncing.insert({"_id": 6, "v": "last", "updated_at": DAY + timedelta(days=1)})
    syncing.smart().succeeded()
    assert compared(syncing, primary_key=None) == {}
    syncing.query("DELETE FROM items WHERE _id = 2")
    syncing.query("UPDATE items SET v = 'x' WHERE _id = 3")
    syncing.query("INSERT INTO items (_id, v) VALUES (4, 'twice'), (100, 'nobody')")
    syncing.collection.update_one({"_id": 5}, {"$set": {"more": 1}})
    syncing.insert({"_id": 7, "v": "new", "updated_at": DAY + timedelta(days=2)})
    syncing.insert({"_id": 8, "v": "without"})
    damage = {"missing": 1, "different": 1, "different_by_column": {"v": 1}, "surplus": 2}
    assert compared(syncing, primary_key=None, schema_evolution="add") == {**damage, "new_missing": 1}
    compared(syncing, "repair", primary_key=None, schema_evolution="add")
    assert compared(syncing, primary_key=None, schema_evolution="add") == {"new_missing": 1}
    assert [row[0] for row in syncing.rows("_id")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("way", ["query", "storage_api"])
def test_bigquery(bigquery_syncing: BigquerySyncing, way: str) -> None:
    """With query pushdown nothing is staged: the source is read in the script that compares."""
    syncing = bigquery_syncing.by(way)
    syncing.at_source(
        "CREATE TABLE items (id INT64, s STRUCT<x INT64, y ARRAY<STRING>>, a ARRAY<INT64>, updated_at TIMESTAMP)"
    )
    syncing.at_source(
        "INSERT INTO items SELECT n, STRUCT(n, ['y']), [n, 2], TIMESTAMP '2025-07-22 00:00:00+00' "
        "FROM UNNEST(GENERATE_ARRAY(1, 6)) AS n"
    )
    syncing.smart(primary_key="id").succeeded()
    assert compared(syncing) == {}
    syncing.query("DELETE FROM items WHERE id = 2")
    # The emulator updates no arrays.
    syncing.query("CREATE TABLE aside AS SELECT * FROM items WHERE id IN (3, 4)")
    syncing.query("DELETE FROM items WHERE id IN (3, 4)")
    syncing.query("INSERT INTO items SELECT id, s, IF(id = 3, [9], a), updated_at FROM aside WHERE id = 3")
    syncing.query("INSERT INTO items SELECT id, STRUCT(1 AS x, ['z'] AS y), a, updated_at FROM aside WHERE id = 4")
    syncing.query("ALTER TABLE items ALTER COLUMN id DROP NOT NULL")
    syncing.query("INSERT INTO items (id, updated_at) VALUES (100, TIMESTAMP '2025-07-01 00:00:00+00'), (NULL, NULL)")
    syncing.at_source("INSERT INTO items (id, updated_at) VALUES (7, TIMESTAMP '2025-07-23 00:00:00+00')")
    damage = {"missing": 1, "different": 2, "different_by_column": {"s": 1, "a": 1}, "surplus": 2, "new_missing": 1}
    run = reconcile(syncing)
    assert run.exit_code == 3, run.everything
    assert compared(syncing) == damage
    compared(syncing, "repair")
    assert compared(syncing) == {"new_missing": 1}
    assert syncing.left_over() == []
