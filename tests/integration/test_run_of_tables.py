"""One run of several tables: the steps of its graph are those of one table, and a table fails alone."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import bigquery

from sync_pipeline import pipeline
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.sources import open_source
from sync_pipeline.sources.source import Source
from tests.integration.syncing import Run, Syncing

NUMBERS = '{"type_overrides": {"v": "INT64"}}'


@pytest.fixture
def tables(syncing: Syncing) -> Syncing:
    """Two tables at the source; the second has a value that is no number."""
    syncing.execute("CREATE TABLE items (id int, v text)")
    syncing.execute("INSERT INTO items SELECT n, n::text FROM generate_series(1, 50) AS n")
    syncing.execute("CREATE TABLE orders (id int, v text, document json)")
    syncing.execute("INSERT INTO orders VALUES (1, '1', '{}'), (2, 'two', '{\"a\": 1}')")
    return syncing


def run_of_two(syncing: Syncing, monkeypatch: pytest.MonkeyPatch, first: dict[str, str], second: dict[str, str]) -> Run:
    """Run `main()` with the plan of one run that has two tables; `first` and `second` are what they are given."""

    def plan_two(config: SyncConfig, source: Source, client: bigquery.Client, *others: Any) -> RunPlan:
        one = make_plan(config, source, client, *others)
        other = SyncConfig.from_parameters(
            syncing.parameters(postgresql_query="SELECT * FROM orders", destination_bigquery_table="orders", **second)
        )
        (second_table,) = make_plan(other, open_source(other), client, *others).tables
        return RunPlan(one.run, (*one.tables, replace(second_table, run=one.run, number=1)))

    monkeypatch.setattr(pipeline, "make_plan", plan_two)
    return syncing.run(**first)


def run_of_many(syncing: Syncing, query: str, tables: int, connections: int) -> RunPlan:
    """Return the plan of one run that reads a query into several tables."""
    config = SyncConfig.from_parameters(syncing.parameters(postgresql_query=query))
    root = f"{syncing.folder}/sync/"
    (one,) = make_plan(config, open_source(config), syncing.client, root, datetime.now(UTC)).tables
    run = replace(one.run, max_source_connections=connections)
    names = [f"t{number}" for number in range(tables)]
    configs = [replace(one.config, destination=replace(one.config.destination, table=name)) for name in names]
    return RunPlan(run, tuple(replace(one, run=run, number=n, config=config) for n, config in enumerate(configs)))


def reports(run: Run) -> list[str]:
    return [line for line in run.log if line.startswith("sync report: ")]


def test_both_tables_are_published(tables: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its own way: one is read in parts and loaded, the other one is merged, and has dead letters."""
    merged = {"primary_key": "id", "transformation_config": NUMBERS, "dead_letter_table": tables.table_id("letters")}
    run = run_of_two(tables, monkeypatch, {"num_partitions": "2"}, merged).succeeded()
    assert tables.query("SELECT COUNT(*), MIN(v) FROM items") == [(50, "1")]
    assert tables.query("SELECT id, v, JSON_VALUE(document, '$.a') FROM orders") == [(1, 1, None)]
    assert tables.query("SELECT destination_table, column_name FROM letters") == [(tables.table_id("orders"), "v")]
    items, orders = reports(run)
    assert items.startswith(f"sync report: loaded 50 rows into {tables.table_id()}: ")
    assert orders.startswith(f"sync report: merged 1 rows into {tables.table_id('orders')}: ")
    assert "rows_read=2 rows_loaded=1 dead_letters=1" in orders
    assert len(set(re.findall(r"run_id=(\S+)", "".join(reports(run))))) == 1
    read = [line for line in run.log if line.startswith("read ")]
    assert sorted(line.removeprefix("read ").split(": ")[0] for line in read) == [
        f"{tables.table_id(name)}, split 1 of 1" for name in ("items", "orders")
    ]
    assert tables.left_over() == []


class Forget(beam.PTransform):
    """Publishes nothing."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        return staged


def test_tables_share_a_few_connections(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there are more threads than lanes, and reading a table takes long enough for all of them to begin."""
    run = run_of_many(syncing, "SELECT pg_sleep(0.1)::text AS slept", tables=24, connections=3)
    monkeypatch.setattr(pipeline, "PublishStagedFiles", Forget)
    threads = ["--direct_num_workers=8", "--direct_running_mode=multi_threading"]
    options = PipelineOptions(["--runner=FnApiRunner", *threads])
    running = threading.Thread(target=lambda: pipeline.build_pipeline(run, options).run())
    connections: list[set[int]] = []
    running.start()
    while running.is_alive():
        rows = syncing.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connections.append({pid for (pid,) in rows})
        time.sleep(0.005)
    assert max(map(len, connections)) == 3
    assert len(set().union(*connections)) == 3
    assert len(syncing.objects()) == 24


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_table_fails_alone(tables: Syncing, monkeypatch: pytest.MonkeyPatch, fails_first: bool) -> None:
    tables.query("CREATE TABLE orders (id INT64, v INT64, document JSON); INSERT INTO orders (id, v) VALUES (7, 7)")
    tables.query("CREATE TABLE items (id INT64, v STRING); INSERT INTO items VALUES (7, '7')")
    failing, good = {"transformation_config": NUMBERS}, {}
    if fails_first:
        tables.execute("UPDATE items SET v = 'none' WHERE id = 50")
        tables.execute("UPDATE orders SET v = '2'")
        tables.query("CREATE OR REPLACE TABLE items (id INT64, v INT64); INSERT INTO items VALUES (7, 7)")
        tables.query("CREATE OR REPLACE TABLE orders (id INT64, v STRING, document JSON)")
        run = run_of_two(tables, monkeypatch, failing, good)
    else:
        run = run_of_two(tables, monkeypatch, good, failing)
    failed, published = ("items", "orders") if fails_first else ("orders", "items")
    count, error = run.errors
    assert count == "1 of 2 tables failed"
    assert error.startswith(f"{tables.table_id(failed)}: column 'v'")
    assert run.exit_code == 2
    (report,) = reports(run)
    assert [line.split(": ")[1:3] for line in run.log if line.startswith("sync total: ")] == [
        ["2 tables", "1 published, 0 unchanged, 1 failed"]
    ]
    assert f" rows into {tables.table_id(published)}: " in report
    assert tables.column(f"SELECT id FROM {failed}") == [7]
    assert len(tables.query(f"SELECT * FROM {published}")) == (2 if fails_first else 51)
    assert tables.left_over() == []


def test_each_failed_table_has_a_line(tables: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.execute("UPDATE items SET v = 'none' WHERE id = 50")
    failing = {"transformation_config": NUMBERS}
    run = run_of_two(tables, monkeypatch, failing, failing)
    failed = [tables.table_id("items"), tables.table_id("orders")]
    assert [error.split(": ")[0] for error in run.errors] == ["2 of 2 tables failed", *failed]
    assert (run.exit_code, reports(run)) == (2, [])
    assert tables.tables() == []
    assert tables.left_over() == []
