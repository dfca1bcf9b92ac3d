"""The catalog of a database of MongoDB: its collections of all kinds, in few requests, for many threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pymongo
import pytest
from gridfs import GridFS
from pymongo.monitoring import CommandListener

from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources import open_catalog, open_source
from sync_pipeline.sources.catalog import SourceCatalog
from sync_pipeline.sources.mongodb import connection
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.parameters import COLLECTION_SYNTAX
from sync_pipeline.sources.source import ReadPlan, SourceDescription, SourceSession
from tests.catalogs import Names, by_name, facts
from tests.integration.mongodb_syncing import MongodbSyncing

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Commands(CommandListener):
    """The commands that were sent, by name."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        self.sent[event.command_name] += 1

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    listener = Commands()
    monkeypatch.setattr(connection.pymongo, "MongoClient", partial(pymongo.MongoClient, event_listeners=[listener]))
    return listener


def config_of(syncing: MongodbSyncing, collection: str, **parameters: str) -> SyncConfig:
    written = COLLECTION_SYNTAX.written(TableName("", collection))
    return SyncConfig.from_parameters(syncing.parameters(mongodb_collection=written, **parameters))


@contextmanager
def catalog_of(syncing: MongodbSyncing, glob: str = "*", **parameters: str) -> Iterator[SourceCatalog]:
    server = config_of(syncing, "any", **parameters).source
    assert isinstance(server, MongodbConfig)
    with open_catalog("mongodb", replace(server, collection=glob), 0, Names(glob)) as catalog:
        yield catalog


def tables_of(syncing: MongodbSyncing, glob: str = "*", **parameters: str) -> dict[str, CatalogTable]:
    with catalog_of(syncing, glob, **parameters) as catalog:
        return by_name(catalog.tables)


def planned(session: SourceSession) -> tuple[SourceDescription, ReadPlan]:
    """Return what a first run finds out."""
    interval = None
    if session.query.config.smart_sync is not None:  # type: ignore[attr-defined]
        interval = SyncInterval(LONG_AGO, datetime(2100, 1, 1, tzinfo=UTC), StartOrigin.EVERYTHING)
    description = session.describe(interval)
    return description, session.plan_read(description.schema, interval)


def test_kinds(mongodb_syncing: MongodbSyncing) -> None:
    database = mongodb_syncing.mongodb
    database["orders"].insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    database.create_collection("empty")
    database.create_collection("capped", capped=True, size=4096)
    database.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
    database.create_collection("collated", collation={"locale": "de", "strength": 2})
    database.create_collection("view", viewOn="orders", pipeline=[])
    database.create_collection("series", timeseries={"timeField": "at"})
    database["series"].insert_one({"at": LONG_AGO, "n": 1})
    GridFS(database, "photos").put(b"bytes", filename="one.jpg")
    # Named like GridFS, and something else.
    database["engine.chunks"].insert_one({"n": 1})
    tables = tables_of(mongodb_syncing)
    kinds = facts(tables.values(), lambda table: table.kind)
    # None of the server's own, such as system.views and system.buckets.series.
    assert kinds == {
        "capped": "capped collection",
        "clustered": "collection",
        "collated": "collection",
        "empty": "collection",
        "engine.chunks": "collection",
        "orders": "collection",
        "photos.chunks": "collection",
        "photos.files": "collection",
        "series": "time series",
        "view": "view",
    }
    assert list(tables) == sorted(tables)
    left_out = {name: table.left_out for name, table in tables.items() if table.left_out}
    assert left_out == {
        "photos.chunks": "it is a part of GridFS, which stores files: name it to load it",
        "photos.files": "it is a part of GridFS, which stores files: name it to load it",
        "view": "it is a view, which computes its rows from other collections: name it to load it",
    }
    assert [name for name in tables if not tables[name].key] == ["series", "view"]
    assert tables["orders"].key == ("_id",)
    assert (tables["orders"].rows, tables["empty"].rows, tables["series"].rows) == (2, 0, None)
    assert (tables["orders"].size, tables["empty"].size) == (42, 0)


def test_dates_by_which_smart_sync_could_read(mongodb_syncing: MongodbSyncing) -> None:
    database = mongodb_syncing.mongodb
    date = {"updated_at": LONG_AGO}
    database["dates"].insert_many([{"_id": 1, "made": LONG_AGO, "n": 1, **date}, {"_id": 2, "made": "x", **date}])
    database["some"].insert_many([{"_id": 1, **date}, {"_id": 2, "updated_at": None}, {"_id": 3}])
    database["mixed"].insert_many([{"_id": 1, **date}, {"_id": 2, "updated_at": "2020"}, {"_id": 3}])
    database["lists"].insert_one({"_id": 1, "updated_at": [LONG_AGO]})
    database["path"].insert_many([{"_id": 1, "meta": date}, {"_id": 2}])
    deep = {"at": LONG_AGO, "c": {"too deep": LONG_AGO}, "": 1, "$n": 1}
    database["deep"].insert_one({"_id": 1, "a": {"b": deep, "empty": {}}, "": {"": 2}, "x.y": 1})
    database["lists in path"].insert_one({"_id": 1, "meta": [date]})
    database["some lists in path"].insert_many([{"_id": 1, "meta": [date]}, {"_id": 2, "meta": date}])
    database.create_collection("empty")
    # Only what is written now counts.
    database["new"].insert_many([{"_id": 0, "updated_at": 5}, *({"_id": number, **date} for number in range(1, 101))])
    database["long"].insert_many([{"_id": number, **date} for number in range(1, 101)])
    database["long"].insert_one({"_id": 101, "updated_at": 5})
    tables = tables_of(mongodb_syncing)
    assert facts(tables.values(), lambda table: table.timestamps) == {
        "dates": {"updated_at": True},
        "deep": {"a_b_at": True},
        "empty": {},
        "lists": {},
        "lists in path": {},
        "long": {},
        "mixed": {},
        "new": {"updated_at": True},
        "path": {"meta_updated_at": True},
        "some": {"updated_at": True},
        "some lists in path": {},
    }


def test_names(mongodb_syncing: MongodbSyncing) -> None:
    names = ["a.b", "a.b.c", "fälle", "日本", "with space", "UPPER", "upper", "star*", "x" * 120]
    for name in names:
        mongodb_syncing.mongodb[name].insert_one({"_id": 1, "name": name})
    with catalog_of(mongodb_syncing) as catalog:
        tables = by_name(catalog.tables)
        assert list(tables) == sorted(names)
        for name, table in tables.items():
            assert (table.name.schema, table.name.name) == ("", name)
            description, read = planned(catalog.session(table, config_of(mongodb_syncing, name)))
            assert description.schema.names == ("_id", "name")
            assert (read.estimated_rows, len(read.splits)) == (1, 1)


def test_sessions_find_what_a_connection_of_their_own_finds(mongodb_syncing: MongodbSyncing) -> None:
    database = mongodb_syncing.mongodb
    database["items"].insert_many([{"_id": n, "updated_at": LONG_AGO, "n": {"m": n}} for n in range(50)])
    database.create_collection("empty")
    database.create_collection("capped", capped=True, size=4096)
    database["capped"].insert_one({"updated_at": LONG_AGO})
    database.create_collection("view", viewOn="items", pipeline=[{"$match": {"_id": {"$gt": 10}}}])
    database.create_collection("series", timeseries={"timeField": "updated_at"})
    database["series"].insert_one({"updated_at": LONG_AGO, "n": 1})
    variants: list[dict[str, str]] = [
        {},
        {"enable_smart_sync": "true"},
        {"num_partitions": "4"},
        {"mongodb_query": '{"_id": {"$gt": 20}}', "mongodb_document_mode": "true"},
    ]
    with catalog_of(mongodb_syncing) as catalog:
        for table in catalog.tables:
            for variant in variants:
                config = config_of(mongodb_syncing, table.name.name, **variant)
                with open_source(config).connect() as session:
                    alone, alone_clock = planned(session), session.clock
                together = catalog.session(table, config)
                description, read = planned(together)
                assert (description, read.query, read.risks) == (alone[0], alone[1].query, alone[1].risks)
                assert read.estimated_rows == alone[1].estimated_rows
                # With num_partitions the bounds are random.
                assert len(read.splits) == len(alone[1].splits)
                assert together.clock.now <= alone_clock.now
                assert (together.clock.transport, together.clock.risks) == (alone_clock.transport, alone_clock.risks)


def test_a_selection(mongodb_syncing: MongodbSyncing) -> None:
    for name in ("orders", "order lines", "straße", "audit"):
        mongodb_syncing.mongodb[name].insert_one({"_id": 1, "updated_at": LONG_AGO})
    mongodb_syncing.mongodb.create_collection("view", viewOn="orders", pipeline=[])
    mongodb_syncing.mongodb.create_collection("view 2", viewOn="orders", pipeline=[])
    parameters = {"mongodb_collection": "*,view,!audit", "destination_bigquery_table": "of_{table}"}
    run = RunConfig.from_parameters(mongodb_syncing.parameters(**parameters))
    assert run.selection is not None
    found = {}
    with open_catalog(run.data_source, run.source, run.max_retries, run.selection) as catalog:
        for chosen in run.selection.choose(catalog.tables).tables:
            assert chosen.table is not None
            implied = {"enable_smart_sync": True, "smart_sync_null_timestamps": "include"} if chosen.table.key else {}
            config = chosen.config(implied)
            description, _ = planned(catalog.session(chosen.table, config))
            found[config.destination.table] = description.schema.names
    names = ("_id", "updated_at")
    assert found == {"of_order lines": names, "of_orders": names, "of_straße": names, "of_view": names}


def test_requests(mongodb_syncing: MongodbSyncing, commands: Commands) -> None:
    for number in range(100):
        mongodb_syncing.mongodb[f"c{number:03}"].insert_one({"_id": number, "updated_at": LONG_AGO})
    with catalog_of(mongodb_syncing) as catalog:
        assert {name: commands.sent[name] for name in ("listCollections", "hello", "ping", "find", "count")} == {
            "listCollections": 1,
            "hello": 1,
            "ping": 1,
            "find": 0,
            "count": 0,
        }
        # The size, and a look at some documents.
        assert commands.sent["aggregate"] == 200
        commands.sent.clear()

        def plan(table: CatalogTable) -> tuple[SourceDescription, ReadPlan]:
            return planned(catalog.session(table, config_of(mongodb_syncing, table.name.name)))

        with ThreadPoolExecutor(8) as pool:
            plans = list(pool.map(plan, catalog.tables))
        assert [read.query.split(":")[0].split(".")[1] for _, read in plans] == [f"c{n:03}" for n in range(100)]
        # Schema inference alone.
        assert commands.sent == {"aggregate": 100}


def test_what_is_not_wanted_is_not_looked_at(mongodb_syncing: MongodbSyncing, commands: Commands) -> None:
    for number in range(5):
        mongodb_syncing.mongodb[f"c{number}"].insert_one({"_id": number})
    assert list(tables_of(mongodb_syncing, "c3")) == ["c3"]
    assert commands.sent["aggregate"] == 2


def test_an_error_of_one_session_is_its_own(mongodb_syncing: MongodbSyncing) -> None:
    mongodb_syncing.mongodb["good"].insert_one({"_id": 1, "updated_at": LONG_AGO})
    mongodb_syncing.mongodb["bad"].insert_one({"_id": 1, "updated_at": "2020"})
    with catalog_of(mongodb_syncing) as catalog:
        tables = by_name(catalog.tables)
        sessions = {
            name: catalog.session(table, config_of(mongodb_syncing, name, enable_smart_sync="true"))
            for name, table in tables.items()
        }
        with pytest.raises(SchemaError, match="updated_at is string in the documents and never a date"):
            planned(sessions["bad"])
        planned(sessions["good"])
        mongodb_syncing.mongodb["good"].drop()
        wrong = config_of(mongodb_syncing, "good", mongodb_query='{"$nope": 1}')
        # The driver's error is translated in the session, as it is raised in a thread of planning.
        with pytest.raises(SourceQueryError, match=r"unknown top level operator.*correct mongodb_query"):
            planned(catalog.session(tables["good"], wrong))


def test_a_database_that_is_not_there(mongodb_syncing: MongodbSyncing) -> None:
    with pytest.raises(
        SourceQueryError, match=r"mongodb_database: database .* has no collection that the user can see"
    ):
        tables_of(mongodb_syncing)


def test_a_user_who_may_read_some_collections(mongodb_syncing: MongodbSyncing) -> None:
    database, syncing = mongodb_syncing.mongodb, mongodb_syncing
    database["mine"].insert_one({"_id": 1, "updated_at": LONG_AGO})
    database["other"].insert_one({"_id": 1})
    resource = {"db": database.name, "collection": "mine"}
    database.command("createRole", "few", privileges=[{"resource": resource, "actions": ["find"]}], roles=[])
    database.command("createUser", "few", pwd="pw", roles=["few"])
    host = f"{syncing.endpoints.mongodb_host}:{syncing.endpoints.mongodb_port}"
    access = {
        "mongodb_connection_string": f"mongodb://few:pw@{host}/?authSource={database.name}",
        "mongodb_username": None,
        "mongodb_password": None,
        "mongodb_host": None,
        "mongodb_port": None,
    }
    tables = tables_of(syncing, **access)  # type: ignore[arg-type]
    # Neither its kind nor its size is known, so nobody knows either whether it repeats an _id.
    assert facts(tables.values(), lambda table: (table.kind, table.key, table.rows)) == {
        "mine": ("collection", (), None)
    }
    assert tables["mine"].timestamps == {"updated_at": True}
    database.command("dropUser", "few")
    database.command("dropRole", "few")
