"""One run syncs the tables that its parameters select, each in the mode that keeps it equal to its source."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import psycopg2
import pytest
from apache_beam.io.filesystems import FileSystems
from psycopg2 import sql

from sync_pipeline import pipeline
from sync_pipeline.planning.lanes import Lane, lanes_of
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.sources.postgresql import connection
from tests.integration.syncing import Run, Syncing
from tests.integration.table_values import bigquery_rows, postgresql_rows

SCHEMA = """
    CREATE TABLE customers (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE orders (region text, id int, total numeric(10, 2), updated_at timestamp, PRIMARY KEY (region, id));
    CREATE TABLE countries (code text PRIMARY KEY, name text);
    CREATE TABLE clicks (at timestamptz DEFAULT now(), page text);
    CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 50;
    CREATE VIEW big_sums AS SELECT sum(total) FROM orders;
    CREATE TABLE audit_log (id int PRIMARY KEY, entry text);
    CREATE TABLE empty_one (id int PRIMARY KEY, updated_at timestamptz);
    INSERT INTO customers SELECT n, 'customer ' || n, now() - n * interval '1 hour' FROM generate_series(1, 30) AS n;
    INSERT INTO orders SELECT 'eu', n, n * 10, now() - n * interval '1 minute' FROM generate_series(1, 20) AS n;
    INSERT INTO orders VALUES ('us', 1, 7, NULL);
    INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
    INSERT INTO clicks SELECT now(), '/' || n FROM generate_series(1, 5) AS n;
    INSERT INTO audit_log VALUES (1, 'x');
"""
NAMES = ["big_orders", "clicks", "countries", "customers", "empty_one", "orders"]
SELECTED = {
    "postgresql_query": None,
    "destination_bigquery_table": None,
    "postgresql_table": "public.*,big_orders,!audit_*",
}


@pytest.fixture
def shop(syncing: Syncing) -> Syncing:
    syncing.execute(SCHEMA)
    return syncing


def run(shop: Syncing, **parameters: str | None) -> Run:
    return shop.run(**{**SELECTED, "smart_sync_settle_seconds": "0", **parameters})


def reports(run: Run) -> dict[str, str]:
    """Return each table's outcome by its name."""
    lines = [match for line in run.log if (match := re.match(r"sync report: (.*?): run_id=\S+ table=(\S+)", line))]
    return {match[2].rpartition(".")[2]: match[1] for match in lines}


def assert_equal(shop: Syncing, *names: str) -> None:
    """Compare all values on both sides."""
    assert shop.postgresql is not None
    for name in names:
        table = shop.table(name)
        there = postgresql_rows(shop.postgresql, sql.Identifier(name), table.schema)
        assert bigquery_rows(shop.client.list_rows(table)) == there, name


def test_a_run_syncs_all_and_the_next_what_changed(shop: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run reads all tables over one connection."""
    first = run(shop)
    assert (first.exit_code, first.errors) == (0, ()), first.everything
    assert shop.tables() == NAMES
    assert_equal(shop, *NAMES)
    assert shop.left_over() == []
    shop.execute("UPDATE customers SET name = 'changed', updated_at = now() WHERE id = 7")
    shop.execute("DELETE FROM countries WHERE code = 'FR'; INSERT INTO countries VALUES ('IT', 'Italy')")
    shop.execute("CREATE TABLE added (id int); INSERT INTO added VALUES (1); DROP TABLE clicks")
    lanes: list[Lane] = []
    monkeypatch.setattr(pipeline, "lanes_of", lambda plan: lanes.extend(lanes_of(plan)) or lanes)
    second = run(shop, max_source_connections="1")
    assert [len(lane.splits) for lane in lanes] == [6]
    assert (second.exit_code, second.errors) == (0, ()), second.everything
    assert_equal(shop, *(name for name in (*NAMES, "added") if name != "clicks"))
    assert shop.column("SELECT name FROM customers WHERE id = 7") == ["changed"]
    assert shop.column("SELECT code FROM countries ORDER BY code") == ["DE", "IT"]
    outcomes = reports(second)
    assert outcomes["customers"].startswith("merged 1 rows")
    assert outcomes["empty_one"].startswith("nothing new")
    # A table that disappeared keeps its rows.
    assert shop.column("SELECT COUNT(*) FROM clicks") == [5]


def test_the_plan(shop: Syncing) -> None:
    shown = run(shop, dry_run="true")
    assert shown.exit_code == 0, shown.everything
    table = {line.split()[0]: line for line in shown.printed.splitlines() if line.strip().startswith("public.")}
    assert list(table) == [f"public.{name}" for name in NAMES]
    assert "merge by region, id, Smart Sync" in table["public.orders"]
    assert "replace all rows" in table["public.countries"]
    assert "the table has no timestamp column updated_at" in table["public.countries"]
    assert "the view has no primary key" in table["public.big_orders"]
    assert "- not chosen by a wildcard: public.big_sums: it is a view" in shown.printed
    assert shop.tables() == []


def test_a_table_that_drifted_fails_alone(shop: Syncing) -> None:
    assert run(shop).exit_code == 0
    shop.execute("ALTER TABLE countries ADD capital text; UPDATE customers SET updated_at = now()")
    drifted = run(shop)
    assert drifted.exit_code == 2
    assert drifted.errors[0] == "1 of 6 tables failed"
    assert drifted.errors[1].startswith("public.countries: ")
    assert reports(drifted)["customers"].startswith("merged 30 rows")
    assert shop.column("SELECT name FROM countries WHERE code = 'DE'") == ["Germany"]


def test_a_backfill_of_a_table_that_is_not_loaded_fails_this_table(shop: Syncing) -> None:
    interval = {"interval_start": "2024-01-01T00:00:00Z", "interval_end": "2024-02-01T00:00:00Z"}
    refused = run(shop, postgresql_table="public.customers,!public.orders", **interval)
    refused.refused("interval_start is given, but", "customers has no timestamp in updated_at")


def test_a_table_that_would_be_appended_again_fails_alone(shop: Syncing, gcs_folder: str) -> None:
    """`delete_existing_table` says how the table is written, and false says: not in its place."""
    file = f"{gcs_folder}/tables.yaml"
    text = "tables: [{postgresql_table: countries, delete_existing_table: false}, {postgresql_table: clicks}]"
    with FileSystems.create(file) as stream:
        stream.write(text.encode())
    assert run(shop, postgresql_table=None, tables_file=file).exit_code == 0
    again = run(shop, postgresql_table=None, tables_file=file)
    again_error = "\n".join(again.errors)
    assert again.exit_code == 2
    assert "countries" in again_error
    assert "write_disposition is not given" in again_error
    assert reports(again).keys() == {"clicks"}
    assert_equal(shop, "countries", "clicks")


def test_one_table_without_a_query(shop: Syncing) -> None:
    for _ in range(2):
        assert run(shop, postgresql_table="orders").exit_code == 0
    assert shop.tables() == ["orders"]
    assert_equal(shop, "orders")


def test_a_first_merge_is_a_load_unless_somebody_else_has_written(
    shop: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key comes once from the source, so there is nothing to merge with, which a load job checks by itself."""
    assert (
        "merge by region, id (key region, id, timestamps updated_at): one load job"
        in run(shop, postgresql_table="orders", dry_run="true").printed
    )
    plan_selection = pipeline.plan_selection

    def overtaken(*arguments: Any, **options: Any) -> RunPlan:
        plan = plan_selection(*arguments, **options)
        shop.query("CREATE TABLE orders (region STRING, id INT64, total NUMERIC, updated_at DATETIME)")
        shop.query("INSERT INTO orders (region, id) VALUES ('eu', 1)")
        return plan

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "plan_selection", overtaken)
        failed = run(shop, postgresql_table="orders")
    failed.refused("orders (job ", "it has rows that were written after the plan: run the job again", exit_code=1)
    assert shop.query("SELECT region, id FROM orders") == [("eu", 1)]
    assert run(shop, postgresql_table="orders", schema_evolution="add").exit_code == 0
    assert_equal(shop, "orders")


def test_a_table_that_is_locked_fails_alone(shop: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows stay as they were, and the next run reads them."""
    assert run(shop).exit_code == 0
    shop.execute("INSERT INTO countries VALUES ('IT', 'Italy'); INSERT INTO clicks VALUES (now(), '/new')")
    monkeypatch.setitem(connection.TRANSACTION_SETTINGS, "lock_timeout", "500ms")
    with contextlib.closing(
        psycopg2.connect(shop.postgresql.dsn, password=shop.endpoints.postgresql_password)
    ) as other:
        plan_selection = pipeline.plan_selection

        def locked_after(*arguments: Any, **options: Any) -> RunPlan:
            plan = plan_selection(*arguments, **options)
            other.cursor().execute("LOCK TABLE countries IN ACCESS EXCLUSIVE MODE")
            return plan

        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "plan_selection", locked_after)
            failed = run(shop)
    assert failed.exit_code == 1
    assert failed.errors[0] == "1 of 6 tables failed"
    assert failed.errors[1].startswith("public.countries: ")
    assert "the table is locked" in failed.errors[1]
    assert shop.column("SELECT COUNT(*) FROM clicks") == [6]
    assert shop.column("SELECT COUNT(*) FROM countries") == [2]
    assert run(shop).exit_code == 0
    assert shop.column("SELECT COUNT(*) FROM countries") == [3]


def test_a_log_is_appended_where_the_mode_says_it(shop: Syncing) -> None:
    for _ in range(2):
        assert run(shop, postgresql_table="clicks", table_mode="append").exit_code == 0
    assert shop.column("SELECT COUNT(*) FROM clicks") == [10]


def test_names_that_bigquery_does_not_allow(shop: Syncing) -> None:
    shop.execute(
        """
        CREATE TABLE named (
            "Order Id" int, "größe, cm" int, "Geändert" timestamptz, PRIMARY KEY ("Order Id", "größe, cm"));
        CREATE TABLE clash ("Order Id" int, order_id int);
        INSERT INTO named VALUES (1, 2, now()), (1, 3, NULL);
        """
    )
    selected = {"postgresql_table": "named,clash,countries", "smart_sync_timestamp_column": "Geändert"}
    first = run(shop, **selected)
    assert first.exit_code == 2
    (failed,) = first.errors[1:]
    assert failed.startswith("public.clash: duplicate column names, as BigQuery ignores case: Order Id and order_id.")
    assert "field_mappings" in failed
    rows = "SELECT Order_Id, grosse_cm, Geandert IS NULL FROM named ORDER BY 2"
    assert shop.query(rows) == [(1, 2, False), (1, 3, True)]
    shop.execute('UPDATE named SET "Geändert" = now() WHERE "Geändert" IS NULL')
    second = run(shop, **{**selected, "postgresql_table": "named"})
    assert (second.exit_code, second.errors) == (0, ())
    assert shop.query(rows) == [(1, 2, False), (1, 3, False)]
