"""The catalog of a dataset of BigQuery: its tables of all kinds, in few requests, for many threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery._http import Connection

from sync_pipeline.bigquery_api.own_tables import DEAD_LETTER_SCHEMA
from sync_pipeline.errors import ConfigError, SourceQueryError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.source_tables import CatalogTable
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources import open_catalog, open_source
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.catalog import SourceCatalog
from sync_pipeline.sources.source import ReadPlan, SourceDescription, SourceSession
from tests.catalogs import Names, by_name, facts
from tests.integration.bigquery_syncing import BigquerySyncing

RUN = "20250722T150000_0a1b2c3d"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The requests that are sent: the method, and what the path ends with."""
    sent: Counter[str] = Counter()
    send = Connection.api_request

    def count(connection: Connection, method: str, path: str, **rest: Any) -> Any:
        sent[f"{method} tables/…" if "/tables/" in path else f"{method} {path.rpartition('/')[2]}"] += 1
        return send(connection, method=method, path=path, **rest)

    monkeypatch.setattr(Connection, "api_request", count)
    return sent


def config_of(syncing: BigquerySyncing, table: str, **parameters: str) -> SyncConfig:
    return SyncConfig.from_parameters(syncing.parameters(source_bigquery_table=table, **parameters))


@contextmanager
def catalog_of(syncing: BigquerySyncing, glob: str = "*", dataset: str | None = None) -> Iterator[SourceCatalog]:
    server = config_of(syncing, "any").source
    assert isinstance(server, BigquerySourceConfig)
    server = replace(server, table=None, dataset=dataset or server.dataset)
    with open_catalog("bigquery", server, 0, Names(glob)) as catalog:
        yield catalog


def tables_of(syncing: BigquerySyncing, glob: str = "*") -> dict[str, CatalogTable]:
    with catalog_of(syncing, glob) as catalog:
        return by_name(catalog.tables)


def planned(session: SourceSession, config: SyncConfig) -> tuple[SourceDescription, ReadPlan]:
    """Return what a first run finds out, without the id that each read has."""
    interval = None
    if config.smart_sync is not None:
        first, last = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
        interval = SyncInterval(first, last, StartOrigin.EVERYTHING)
    description = session.describe(interval)
    read = session.plan_read(description.schema, interval)
    splits = tuple(replace(split, read_id="") for split in read.splits)  # type: ignore[call-arg]
    return description, replace(read, splits=splits)


def test_kinds(bigquery_syncing: BigquerySyncing) -> None:
    run, source = bigquery_syncing.at_source, bigquery_syncing.source
    run("CREATE TABLE orders (id INT64, n STRING) AS SELECT 1, 'a'")
    run("CREATE TABLE empty (id INT64)")
    run("CREATE TABLE days (id INT64, day DATE) PARTITION BY day")
    run("CREATE TABLE events_20240101 (id INT64)")
    run("CREATE TABLE events_20240102 (id INT64)")
    run("CREATE TABLE `mit Umlaut-ä` (id INT64)")
    run(f"CREATE VIEW seen AS SELECT * FROM {source}.orders")
    run(f"CREATE MATERIALIZED VIEW kept AS SELECT COUNT(*) AS n FROM {source}.orders")
    run(f"CREATE SNAPSHOT TABLE frozen CLONE {source}.orders")
    for name in (f"_staging_{RUN}", f"_replacement_{RUN}_1", f"_replaced_{RUN}", "_staging_mine"):
        run(f"CREATE TABLE {name} (id INT64)")
    letters = bigquery.Table(f"{bigquery_syncing.endpoints.project}.{source}.rejected", DEAD_LETTER_SCHEMA.bigquery)
    bigquery_syncing.client.create_table(letters)
    tables = tables_of(bigquery_syncing)
    assert facts(tables.values(), lambda table: (table.kind, table.left_out)) == {
        f"_replaced_{RUN}": ("table", "it is a temporary table of a run"),
        f"_replacement_{RUN}_1": ("table", "it is a temporary table of a run"),
        f"_staging_{RUN}": ("table", "it is a temporary table of a run"),
        "_staging_mine": ("table", ""),
        "days": ("partitioned table", ""),
        "empty": ("table", ""),
        "events_20240101": ("table", ""),
        "events_20240102": ("table", ""),
        "frozen": ("snapshot", "it is a snapshot, an earlier state of another table: name it to load it"),
        "kept": ("materialized view", ""),
        "mit Umlaut-ä": ("table", ""),
        "orders": ("table", ""),
        "rejected": ("table", "it has the dead letters of runs: name it to load it"),
        "seen": ("view", "it is a view, which computes its rows from other tables: name it to load it"),
    }
    assert list(tables) == sorted(tables)
    assert (tables["orders"].rows, tables["empty"].rows, tables["seen"].rows) == (1, 0, None)
    assert (tables["orders"].size, tables["empty"].size, tables["seen"].size) == (11, 0, None)


def test_timestamps_and_keys(bigquery_syncing: BigquerySyncing) -> None:
    bigquery_syncing.at_source(
        "CREATE TABLE items (id INT64, made TIMESTAMP NOT NULL, updated_at TIMESTAMP, there DATETIME, day DATE, "
        "all_of_them ARRAY<TIMESTAMP>, inside STRUCT<updated_at TIMESTAMP>, PRIMARY KEY (id) NOT ENFORCED)"
    )
    table = tables_of(bigquery_syncing)["items"]
    assert table.timestamps == {"made": False, "updated_at": True, "there": True}
    # BigQuery does not enforce a key, and a merge by one that repeats would lose rows.
    assert bigquery_syncing.source_table().table_constraints is not None
    assert table.key == ()


def test_sessions_find_what_a_client_of_their_own_finds(bigquery_syncing: BigquerySyncing) -> None:
    run = bigquery_syncing.at_source
    run("CREATE TABLE items (id INT64, updated_at TIMESTAMP, s STRUCT<a INT64>) AS SELECT 1, CURRENT_TIMESTAMP(), NULL")
    run("CREATE TABLE locals (id INT64, updated_at DATETIME)")
    run("CREATE TABLE empty (updated_at TIMESTAMP NOT NULL)")
    run(f"CREATE VIEW seen AS SELECT * FROM {bigquery_syncing.source}.items")
    variants: list[dict[str, str]] = [{}, {"enable_smart_sync": "true"}, {"num_partitions": "4"}]
    with catalog_of(bigquery_syncing) as catalog:
        for table in catalog.tables:
            for variant in variants:
                config = config_of(bigquery_syncing, str(table.name), **variant)
                with open_source(config).connect() as session:
                    (description, read), clock = planned(session, config), session.clock
                together = catalog.session(table, config)
                assert (together.clock.wall_clock, together.clock.risks) == (clock.wall_clock, clock.risks)
                assert together.clock.now <= clock.now
                found, found_read = planned(together, config)
                assert found == description
                # The estimate of a whole table is its size.
                same = {"costs": "", "how": "", "selection": None, "splits": ()}
                assert replace(found_read, **same) == replace(read, **same)  # type: ignore[arg-type]
                assert found_read.selection is not None
                assert read.selection is not None
                selection = replace(found_read.selection, estimated_bytes=read.selection.estimated_bytes)
                assert selection == read.selection
                assert [replace(split, selection=selection) for split in found_read.splits] == list(read.splits)  # type: ignore[call-arg]


def test_a_selection(bigquery_syncing: BigquerySyncing) -> None:
    for name in ("orders", "order lines", "audit", f"_staging_{RUN}"):
        bigquery_syncing.at_source(f"CREATE TABLE `{name}` (id INT64)")
    bigquery_syncing.at_source(f"CREATE VIEW seen AS SELECT * FROM {bigquery_syncing.source}.orders")
    parameters = {"source_bigquery_table": "*,seen,!audit", "destination_bigquery_table": "of_{table}"}
    run = RunConfig.from_parameters(bigquery_syncing.parameters(**parameters))
    assert run.selection is not None
    found = {}
    with open_catalog(run.data_source, run.source, run.max_retries, run.selection) as catalog:
        for chosen in run.selection.choose(catalog.tables).tables:
            assert chosen.table is not None
            config = chosen.config({"write_disposition": "WRITE_TRUNCATE"})
            _, read = planned(catalog.session(chosen.table, config), config)
            assert read.selection is not None
            found[config.destination.table] = read.selection.sql.split("`")[-2]
    source = f"{bigquery_syncing.endpoints.project}.{bigquery_syncing.source}"
    names = ("order lines", "orders", "seen")
    assert found == {f"of_{name}": f"{source}.{name}" for name in names}


def test_copies_beside_their_sources_are_not_copied_again(bigquery_syncing: BigquerySyncing) -> None:
    for name in ("orders", "copy_orders", "a_copy_of"):
        bigquery_syncing.at_source(f"CREATE TABLE {name} (id INT64)")
    parameters = {"source_bigquery_table": "*", "destination_bigquery_dataset": bigquery_syncing.source}
    with pytest.raises(ConfigError, match=r"^source_bigquery_table is the destination table itself: name another$"):
        RunConfig.from_parameters(bigquery_syncing.parameters(destination_bigquery_table="{table}", **parameters))
    run = RunConfig.from_parameters(
        bigquery_syncing.parameters(destination_bigquery_table="copy_{table}", **parameters)
    )
    assert run.selection is not None
    with open_catalog(run.data_source, run.source, run.max_retries, run.selection) as catalog:
        assert [chosen.name for chosen in run.selection.choose(catalog.tables).tables] == ["a_copy_of", "orders"]
        left_out = by_name(catalog.tables)["copy_orders"].left_out
    assert left_out == "it has the name of a destination, copy_{table}: name it to load it"


def test_requests(bigquery_syncing: BigquerySyncing, requests: Counter[str]) -> None:
    names = [f"t{number:02}" for number in range(30)]
    for name in names:
        bigquery_syncing.client.create_table(
            bigquery.Table(
                f"{bigquery_syncing.endpoints.project}.{bigquery_syncing.source}.{name}",
                [bigquery.SchemaField("id", "INT64")],
            )
        )
    requests.clear()
    with catalog_of(bigquery_syncing) as catalog:
        # The clock, and the jobs that run.
        jobs = {"POST queries": 1, "GET jobs": 1}
        assert {name: requests[name] for name in ("GET tables", "GET tables/…", *jobs)} == {
            "GET tables": 1,
            "GET tables/…": 30,
            **jobs,
        }
        requests.clear()

        def plan(table: CatalogTable) -> ReadPlan:
            config = config_of(bigquery_syncing, str(table.name))
            return planned(catalog.session(table, config), config)[1]

        with ThreadPoolExecutor(8) as pool:
            plans = list(pool.map(plan, catalog.tables))
        assert [read.splits[0].table.rpartition("/")[2] for read in plans] == names  # type: ignore[attr-defined]
        assert [read.estimated_rows for read in plans] == [0] * 30
        assert plans[0].costs == "reading the source: 0 bytes, as its metadata says; no maximum_bytes_billed is set"
        assert requests == {}


def test_what_is_not_wanted_is_not_described(bigquery_syncing: BigquerySyncing, requests: Counter[str]) -> None:
    for name in ("a1", "a2", "b1"):
        bigquery_syncing.at_source(f"CREATE TABLE {name} (id INT64)")
    requests.clear()
    assert list(tables_of(bigquery_syncing, "b*")) == ["b1"]
    assert requests["GET tables/…"] == 1


def test_a_table_fails_alone(bigquery_syncing: BigquerySyncing, monkeypatch: pytest.MonkeyPatch) -> None:
    bigquery_syncing.at_source("CREATE TABLE good (id INT64)")
    bigquery_syncing.at_source("CREATE TABLE hidden (id INT64)")
    get_table = bigquery.Client.get_table

    def get(client: bigquery.Client, table: Any, **options: Any) -> bigquery.Table:
        if str(table).endswith(".hidden"):
            raise exceptions.Forbidden("Access Denied", errors=[{"reason": "accessDenied", "message": "Access Denied"}])
        return get_table(client, table, **options)

    monkeypatch.setattr(bigquery.Client, "get_table", get)
    with catalog_of(bigquery_syncing) as catalog:
        tables = by_name(catalog.tables)
        assert (tables["hidden"].kind, tables["hidden"].left_out, tables["hidden"].rows) == ("table", "", None)
        with pytest.raises(
            SourceQueryError, match=r"cannot look at the table .*\.hidden: Access Denied: grant the job's"
        ):
            catalog.session(tables["hidden"], config_of(bigquery_syncing, "hidden"))
        config = config_of(bigquery_syncing, "good")
        planned(catalog.session(tables["good"], config), config)


def test_a_dataset_that_is_not_there(bigquery_syncing: BigquerySyncing) -> None:
    name = bigquery_syncing.source
    with (
        pytest.raises(SourceQueryError) as caught,
        catalog_of(bigquery_syncing, dataset=f"{name}s"),
    ):
        pass
    project = bigquery_syncing.endpoints.project
    assert str(caught.value) == (
        f"source_bigquery_dataset: the dataset {project}.{name}s does not exist; did you mean {name}?"
    )
