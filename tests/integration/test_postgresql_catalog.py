"""The catalog of a PostgreSQL server: which tables it lists, and that their plans are those of the same query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import SourceQueryError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.postgresql.catalog import PostgresqlCatalog
from sync_pipeline.sources.postgresql.relations import GRANT
from sync_pipeline.sources.postgresql.source import open_catalog, open_source
from tests.integration.postgresql_reading import Reader, connect, counted_statements, execute, fresh_database, rows_of
from tests.integration.reading import read_splits
from tests.integration.test_postgresql_types import FAMILIES, OWN_TYPES
from tests.source_questions import described

SHOP = """
    CREATE SCHEMA "Sales.EU";
    CREATE SCHEMA hidden;
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE DOMAIN price AS numeric(10, 2);

    CREATE TABLE orders (
        id bigint GENERATED ALWAYS AS IDENTITY, shop int NOT NULL, total price NOT NULL, moods mood[],
        doubled numeric GENERATED ALWAYS AS (total * 2) STORED, note text, updated_at timestamptz NOT NULL,
        local_at timestamp, PRIMARY KEY (shop, id)
    );
    COMMENT ON COLUMN orders.note IS 'as on the "invoice"; é';
    INSERT INTO orders (shop, total, updated_at) SELECT n % 3, n, '2024-01-01' FROM generate_series(1, 500) AS n;
    CREATE TABLE "Sales.EU"."Größe ""x"".y" ("Id" int PRIMARY KEY, "Ä b.c" text);
    CREATE TABLE empty_table (id int PRIMARY KEY, at timestamptz);
    CREATE TABLE no_columns ();
    CREATE TABLE no_key (id int UNIQUE NOT NULL, at timestamptz NOT NULL);
    CREATE TABLE float_key (id float8 PRIMARY KEY);
    CREATE TABLE spaced_key ("Order Id" int PRIMARY KEY, updated_at timestamptz NOT NULL);
    CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);

    CREATE TABLE events (id int, day date NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (id, day))
        PARTITION BY RANGE (day);
    CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
        PARTITION BY RANGE (day);
    CREATE TABLE events_2024_1 PARTITION OF events_2024 FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
    CREATE TABLE events_2024_2 PARTITION OF events_2024 FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
    INSERT INTO events SELECT n, date '2024-01-01' + n, now() FROM generate_series(1, 300) AS n;

    CREATE TABLE cities (name text PRIMARY KEY, people int NOT NULL NO INHERIT);
    CREATE TABLE ports () INHERITS (cities);
    CREATE TABLE capitals (country text) INHERITS (cities);
    INSERT INTO cities VALUES ('Bern', 1);
    INSERT INTO ports VALUES ('Bern', 2);

    CREATE VIEW order_view AS SELECT id, note FROM orders;
    CREATE MATERIALIZED VIEW totals AS SELECT shop, sum(total) AS total FROM orders GROUP BY shop;
    CREATE MATERIALIZED VIEW not_yet AS SELECT 1 AS one WITH NO DATA;
    CREATE FOREIGN DATA WRAPPER nowhere;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE remote (id int) SERVER elsewhere;

    CREATE TABLE spatial_ref_sys (id int PRIMARY KEY);
    ALTER EXTENSION plpgsql ADD TABLE spatial_ref_sys;
    CREATE TABLE closed (id int, PRIMARY KEY (id)) PARTITION BY LIST (id);
    CREATE TABLE closed_1 PARTITION OF closed FOR VALUES IN (1);
    CREATE TABLE secrets (id int PRIMARY KEY);
    CREATE TABLE hidden.inside (id int PRIMARY KEY);
    CREATE TABLE some_rows (id int PRIMARY KEY);
    ALTER TABLE some_rows ENABLE ROW LEVEL SECURITY;
    ANALYZE;
"""


@dataclass(frozen=True)
class Wanted:
    """Chooses tables by schema, except some."""

    schemas: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    similar: frozenset[str] = frozenset()

    def may_choose(self, name: TableName) -> bool:
        return (self.schemas is None or name.schema in self.schemas) and str(name) not in self.excluded

    def matches(self, name: TableName) -> bool:
        return self.may_choose(name) and str(name) not in self.similar


EVERYTHING = Wanted()


@dataclass(frozen=True)
class Shop:
    """A database, the connection of its owner, and the reader's user, who may not read everything."""

    reader: Reader
    owner: Connection
    user: str

    def config(self, name: str = "orders", schema: str = "public", **parameters: str) -> SyncConfig:
        return self.reader.source(f"SELECT * FROM {schema}.{name}", **self._login, **parameters).config

    @contextmanager
    def catalog(self, wanted: Wanted = EVERYTHING) -> Iterator[PostgresqlCatalog]:
        with open_catalog(self.config().source, 0, wanted) as catalog:
            yield catalog

    def tables(self, wanted: Wanted = EVERYTHING) -> Mapping[str, CatalogTable]:
        with self.catalog(wanted) as catalog:
            return {str(table.name): table for table in catalog.tables}

    @property
    def _login(self) -> dict[str, str]:
        return {"postgresql_username": self.user, "postgresql_password": "shop"} if self.user else {}


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints) -> Iterator[Shop]:
    with fresh_database(endpoints) as (reader, connection):
        user = f"{reader.database}_user"
        execute(connection, SHOP)
        execute(connection, f"CREATE ROLE {user} LOGIN PASSWORD 'shop'")
        execute(connection, f'GRANT USAGE ON SCHEMA public, "Sales.EU" TO {user}')
        execute(connection, f'GRANT SELECT ON ALL TABLES IN SCHEMA public, "Sales.EU", hidden TO {user}')
        execute(connection, f"REVOKE SELECT ON secrets, closed FROM {user}")
        yield Shop(reader, connection, user)
        execute(connection, f"DROP OWNED BY {user}; DROP ROLE {user}")


def test_which_tables_a_wildcard_chooses(shop: Shop) -> None:
    other = connect(shop.reader.endpoints, shop.reader.database)
    execute(other, "CREATE TEMPORARY TABLE passing (id int)")
    found = shop.tables()
    other.close()
    assert {name: table.left_out for name, table in found.items()} == {
        'Sales.EU.Größe "x".y': "",
        "hidden.inside": f"the user has no right to SELECT from it: {GRANT}",
        "public.capitals": "",
        "public.cities": "",
        "public.closed": f"the user has no right to SELECT from it: {GRANT}",
        "public.closed_1": "",
        "public.empty_table": "",
        "public.events": "",
        "public.events_2024": "it is a partition, whose rows are read with public.events",
        "public.events_2024_1": "it is a partition, whose rows are read with public.events",
        "public.events_2024_2": "it is a partition, whose rows are read with public.events",
        "public.float_key": "",
        "public.no_columns": "it has no columns",
        "public.no_key": "",
        "public.not_yet": "it is a materialized view without data: REFRESH it",
        "public.order_view": "it is a view, which computes its rows from other tables: name it to load it",
        "public.orders": "",
        "public.ports": "it is an inheritance child, whose rows are read with public.cities",
        "public.remote": "it is a foreign table, which reads another server: name it to load it",
        "public.secrets": f"the user has no right to SELECT from it: {GRANT}",
        "public.some_rows": "",
        "public.spaced_key": "",
        "public.spatial_ref_sys": "it belongs to the extension plpgsql: name it to load it",
        "public.totals": "",
        "public.unlogged": "",
    }
    assert list(found) == sorted(found)


def test_what_is_known_of_a_table(shop: Shop) -> None:
    found = shop.tables()
    orders = found["public.orders"]
    assert (orders.name, orders.kind, orders.rows) == (TableName("public", "orders"), "table", 500)
    assert orders.key == ("shop", "id")
    assert orders.timestamps == {"updated_at": False, "local_at": True}
    assert orders.size is not None
    assert orders.size >= 8192
    assert (found["public.events"].kind, found["public.events"].rows) == ("partitioned table", 300)
    assert found["public.events"].key == ("id", "day")
    assert (found["public.empty_table"].rows, found["public.totals"].rows) == (0, 3)
    assert (found["public.order_view"].rows, found["public.order_view"].size) == (None, None)
    kinds = {"events_2024_1": "partition", "order_view": "view", "totals": "materialized view"}
    kinds["remote"] = "foreign table"
    assert {name: found[f"public.{name}"].kind for name in kinds} == kinds


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("no_key", "", id="the values of a unique index may change"),
        pytest.param("cities", "its inheritance children may repeat the primary key", id="children"),
        pytest.param("float_key", "BigQuery cannot compare id (double precision) of the primary key", id="type"),
        pytest.param("capitals", "", id="a child has none of its own"),
    ],
)
def test_without_a_key(shop: Shop, name: str, reason: str) -> None:
    table = shop.tables()[f"public.{name}"]
    assert (table.key, table.why_no_key) == ((), reason)


def test_a_key_that_bigquery_names_otherwise(shop: Shop) -> None:
    table = shop.tables()["public.spaced_key"]
    assert (table.key, table.columns) == (("Order Id",), ("Order Id", "updated_at"))


def test_partitions_whose_table_is_not_chosen_are_chosen_themselves(shop: Shop) -> None:
    found = shop.tables(Wanted(frozenset({"public"}), frozenset({"public.events", "public.events_2024"})))
    assert {name: table.left_out for name, table in found.items() if "events" in name} == {
        "public.events_2024_1": "",
        "public.events_2024_2": "",
    }
    assert found["public.events_2024_1"].key == ("id", "day")


def test_a_table_that_is_only_described_reads_no_partitions(shop: Shop) -> None:
    found = shop.tables(Wanted(similar=frozenset({"public.events"})))
    assert found["public.events_2024"].left_out == ""
    assert found["public.events_2024_1"].left_out == "it is a partition, whose rows are read with public.events_2024"


def test_an_unlogged_table_of_a_standby_is_left_out(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_pipeline.sources.postgresql.clock._STANDBY_SQL", "SELECT true, now()")
    found = shop.tables()
    assert (
        found["public.unlogged"].left_out
        == "it is an unlogged table, whose rows a standby does not have: read the primary"
    )
    assert found["public.orders"].left_out == ""


def test_a_table_without_the_right_cannot_be_planned(shop: Shop) -> None:
    with shop.catalog() as catalog:
        table = next(table for table in catalog.tables if str(table.name) == "public.secrets")
        with pytest.raises(SourceQueryError) as caught:
            catalog.session(table, shop.config("secrets"))
    assert str(caught.value) == (
        'the user has no right to SELECT from "public"."secrets": GRANT SELECT on it, and USAGE on its schema'
    )


def test_hidden_rows_and_repeated_keys_are_risks(shop: Shop) -> None:
    with shop.catalog() as catalog:
        tables = {str(table.name): table for table in catalog.tables}
        hidden = catalog.session(tables["public.some_rows"], shop.config("some_rows")).describe(None)
        [risk] = hidden.risks
        assert risk.startswith('row-level security of "public"."some_rows" applies to the user')
        cities = catalog.session(tables["public.cities"], shop.config("cities", primary_key="name")).describe(None)
        [risk] = cities.risks
        assert risk.startswith('the query also reads the child tables of "public"."cities" (public.capitals, public')
        assert (cities.primary_key, cities.single_table) == (("name",), False)


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "events",
        "events_2024_1",
        "cities",
        "capitals",
        "empty_table",
        "float_key",
        "spaced_key",
        "order_view",
        "totals",
        "unlogged",
        '"Größe ""x"".y"',
    ],
)
def test_a_table_is_described_like_its_query(shop: Shop, name: str) -> None:
    schema = '"Sales.EU"' if "Größe" in name else "public"
    parameters = {"enable_auto_schema": "true", "source_table_for_schema": f"{schema}.{name}"}
    config = shop.config(name, schema, **parameters)
    expected = described(shop.reader.source(f"SELECT * FROM {schema}.{name}", **shop._login, **parameters))
    with shop.catalog() as catalog:
        table = next(table for table in catalog.tables if table.name.name == name.strip('"').replace('""', '"'))
        session = catalog.session(table, config)
        assert session.describe(None) == expected
        batches = read_splits(
            shop.reader.source("", postgresql_query="SELECT 1", **shop._login),
            expected.schema,
            session.plan_read(expected.schema, None).splits,
        )
        rows = [row for batch in batches for row in rows_of(batch)]
    assert len(rows) == execute(shop.owner, f"SELECT count(*) FROM {schema}.{name}")[0][0]


def test_every_type_is_described_like_its_query(endpoints: Endpoints) -> None:
    declared = [family.declared for family in FAMILIES] + [
        *("mood", "whole", "label", "price", "price_of_price", "tags", "pair", "pair_domain", "odd.money", "odd.date"),
        *("ltree", "hstore", "json", "jsonb", "int[]", "numeric(5,2)[]", "price[]", "pair[]", "mood[]", "hstore[]"),
        *("int4range", "bit(3)", "interval(3)", "timestamp(0)", "timestamptz(3)", "tsvector", "point", "pg_lsn"),
        *("numeric(1000,-1000)", "numeric(1000,1000)", "numeric(1,1)", "oid[]", "bytea[]", "regclass"),
    ]
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, OWN_TYPES)
        columns = ", ".join(f"c{index} {type_}" for index, type_ in enumerate(declared))
        execute(connection, f"CREATE TABLE all_types ({columns}, r int NOT NULL, PRIMARY KEY (c2))")
        options = {"enable_auto_schema": "true", "source_table_for_schema": "public.all_types"}
        source = reader.source("SELECT * FROM public.all_types", **options)
        with open_catalog(source.config.source, 0, EVERYTHING) as catalog, source.connect() as of_query:
            [table] = catalog.tables
            session = catalog.session(table, source.config)
            assert session.table.columns == tuple(of_query.columns.columns)
            description = session.describe(None)
            assert description == of_query.describe(None)
            statements = [plan.plan_read(description.schema, None).splits[0].statement for plan in (session, of_query)]
        assert [text.split("\nFROM")[0] for text in statements[:1]] == [statements[1].split("\nFROM")[0]]
        assert table.key == ("c2",)


def test_tables_that_parameters_name_are_read_as_workers_read_them(shop: Shop) -> None:
    parameters = {
        "data_source": "postgresql",
        "postgresql_host": shop.reader.endpoints.postgresql_host,
        "postgresql_port": str(shop.reader.endpoints.postgresql_port),
        "postgresql_database": shop.reader.database,
        "postgresql_username": shop.user,
        "postgresql_password": "shop",
        "postgresql_table": "public.*,public.order_view,!public.closed*",
        "destination_bigquery_project": shop.reader.endpoints.project,
        "destination_bigquery_dataset": "d",
        "max_retries": "0",
    }
    run = RunConfig.from_parameters(parameters)
    assert run.selection is not None
    counts = {}
    with open_catalog(run.source, run.max_retries, run.selection) as catalog:
        for chosen in run.selection.choose(catalog.tables).tables:
            assert chosen.table is not None
            config = chosen.config({})
            session = catalog.session(chosen.table, config)
            schema = session.describe(None).schema
            batches = read_splits(open_source(config), schema, session.plan_read(schema, None).splits)
            counts[chosen.name] = sum(batch.num_rows for batch in batches)
    assert counts == {
        "public.capitals": 0,
        "public.cities": 2,
        "public.empty_table": 0,
        "public.events": 300,
        "public.float_key": 0,
        "public.no_key": 0,
        "public.order_view": 500,
        "public.orders": 500,
        "public.some_rows": 0,
        "public.spaced_key": 0,
        "public.totals": 3,
        "public.unlogged": 0,
    }


INTERVAL = SyncInterval(
    datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC), StartOrigin.DESTINATION, None
)
SMART = {
    "enable_smart_sync": "true",
    "smart_sync_timestamp_column": "updated_at",
    "primary_key": "id",
    "smart_sync_null_timestamps": "include",
}
INFINITE = (
    '2 rows of "public"."table_007" have a updated_at that BigQuery cannot hold (infinity, or a year that is not from '
    "1 to 9999) and are not read: correct them"
)


@pytest.fixture(scope="module")
def many(endpoints: Endpoints) -> Iterator[Shop]:
    """200 tables, with rows that no interval contains in one of them."""
    with fresh_database(endpoints) as (reader, connection):
        for number in range(200):
            execute(
                connection,
                f"""CREATE TABLE table_{number:03} (id int PRIMARY KEY, note text, updated_at timestamp);
                    INSERT INTO table_{number:03} VALUES (1, 'x', '2024-01-15'), (2, 'y', NULL)""",
            )
        execute(connection, "INSERT INTO table_007 VALUES (3, 'z', 'infinity'), (4, 'z', '-infinity')")
        yield Shop(reader, connection, "")


def plan_all(shop: Shop, threads: int = 1) -> list[tuple[str, ...]]:
    with shop.catalog() as catalog, ThreadPoolExecutor(threads) as pool:
        sessions = [catalog.session(table, shop.config(table.name.name, **SMART)) for table in catalog.tables]

        def plan(session: Any) -> tuple[str, ...]:
            description = session.describe(INTERVAL)
            read = session.plan_read(description.schema, INTERVAL)
            return (*description.risks, read.splits[0].statement)

        return list(pool.map(plan, sessions))


def test_statements_do_not_grow_with_the_tables(many: Shop) -> None:
    began = datetime.now(UTC)
    with counted_statements() as sent:
        plans = plan_all(many)
    assert datetime.now(UTC) - began < timedelta(seconds=5)
    assert len(plans) == 200
    # Of them, two count rows that no interval contains, in 100 tables each.
    assert len([statement for statement in sent if "UNION ALL" in statement and "count(" in statement]) == 2
    assert len(sent) < 35, sent
    assert [risks[0] for risks in plans if len(risks) > 1] == [INFINITE]


def test_eight_threads_plan_at_once(many: Shop) -> None:
    assert plan_all(many, threads=8) == plan_all(many)


def test_a_locked_table_stops_no_other(many: Shop) -> None:
    other = connect(many.reader.endpoints, many.reader.database)
    other.autocommit = False
    execute(other, "LOCK TABLE table_003 IN ACCESS EXCLUSIVE MODE")
    try:
        plans = plan_all(many)
    finally:
        other.close()
    assert len(plans) == 200
    assert [risks[0] for risks in plans if len(risks) > 1] == [
        '"public"."table_003" is locked: rows whose updated_at no interval contains could not be counted',
        INFINITE,
    ]


def test_a_failed_transaction_leaves_the_connection_usable(many: Shop) -> None:
    with many.catalog() as catalog:
        table = catalog.tables[0]
        config = many.config(table.name.name)
        lost = catalog.session(table, replace(config, source=replace(config.source, partition_column="missing")))
        schema = lost.describe(None).schema
        with pytest.raises(SourceQueryError, match=r"^partition_column: missing is not among the columns"):
            lost.plan_read(schema, None)
        other = catalog.session(table, replace(config, source=replace(config.source, partition_column="id")))
        assert other.plan_read(schema, None).splitting.startswith("one is enough")


def test_the_clock_follows_the_table_s_own_settings(many: Shop) -> None:
    execute(many.owner, f"ALTER DATABASE {many.reader.database} SET timezone = 'Asia/Tokyo'")
    try:
        with many.catalog() as catalog:
            table = catalog.tables[0]
            plain = catalog.session(table, many.config(table.name.name)).clock
            local = catalog.session(table, many.config(table.name.name, **SMART)).clock
            given = {**SMART, "smart_sync_time_zone": "UTC", "smart_sync_settle_seconds": "60"}
            settled = catalog.session(table, many.config(table.name.name, **given)).clock
    finally:
        execute(many.owner, f"ALTER DATABASE {many.reader.database} RESET timezone")
    assert plain.wall_clock is None
    assert local.wall_clock is not None
    assert local.wall_clock.zone == "Asia/Tokyo"
    assert local.now - plain.now == timedelta(hours=9)
    assert settled.now == plain.now
    assert settled.now - settled.upper_bound >= timedelta(seconds=60)


def test_a_large_table_is_split_as_its_query_is(many: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(many.owner, "CREATE TABLE large AS SELECT n AS id, repeat('x', 50) AS note FROM generate_series(1, 9000) n")
    execute(many.owner, "ALTER TABLE large ADD PRIMARY KEY (id); ANALYZE large")
    monkeypatch.setattr("sync_pipeline.sources.postgresql.splits.SPLIT_BYTES", 200_000)
    try:
        with many.catalog() as catalog:
            table = next(table for table in catalog.tables if table.name.name == "large")
            source = many.reader.source("SELECT * FROM large")
            session = catalog.session(table, source.config)
            schema = session.describe(None).schema
            plan = session.plan_read(schema, None)
            assert len(plan.splits) > 2
            rows = [row for batch in read_splits(source, schema, plan.splits) for row in rows_of(batch)]
    finally:
        execute(many.owner, "DROP TABLE large")
    assert sorted(rows) == [(number, "x" * 50) for number in range(1, 9001)]
