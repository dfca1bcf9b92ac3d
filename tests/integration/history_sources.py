"""Histories of other sources than PostgreSQL: rows are written, deleted and inserted again, each in one statement."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from google.cloud import bigquery
from pymongo import MongoClient
from pymongo.collection import Collection

from sandbox import Endpoints, mongodb
from sync_pipeline.parameters.config import SyncConfig
from tests.integration.histories import _PARAMETERS, COLUMNS, Mode, Played, World, in_short_steps
from tests.integration.history_sites import Row, Stamp

_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass
class ElsewhereWorld(World):
    """A source that is not PostgreSQL."""

    def prepare(self) -> None:
        """Leave PostgreSQL empty."""

    def config(self, mode: Mode, table: str) -> SyncConfig:
        shared = {name: value for name, value in _PARAMETERS.items() if name != "postgresql_query"}
        config = SyncConfig.from_parameters(
            {
                **shared,
                **dict(mode.value),
                **self.source_parameters(),
                "destination_bigquery_project": self.endpoints.project,
                "destination_bigquery_dataset": self.dataset,
                "destination_bigquery_table": table,
            }
        )
        return in_short_steps(config)

    def source_parameters(self) -> dict[str, str]:
        raise NotImplementedError


@dataclass
class MongodbWorld(ElsewhereWorld):
    """One collection of MongoDB."""

    # Documents are merged by their `_id`.
    modes: ClassVar[tuple[Mode, ...]] = tuple(mode for mode in Mode if mode.merges)

    mongodb: MongoClient[dict[str, Any]] | None = None

    @classmethod
    @contextmanager
    def opened(cls, endpoints: Endpoints, client: bigquery.Client) -> Iterator[Self]:
        with super().opened(endpoints, client) as world, mongodb.connect(endpoints.mongodb_uri) as server:
            world.mongodb = server
            role = {"role": "read", "db": world.database}
            server["admin"].command("grantRolesToUser", endpoints.mongodb_username, roles=[role])
            yield world
            server.drop_database(world.database)
            server["admin"].command("revokeRolesFromUser", endpoints.mongodb_username, roles=[role])

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        assert self.mongodb is not None
        return self.mongodb[self.database]["source"]

    def begin(self, mode: Mode, table: str) -> Played:
        if "source" not in self.collection.database.list_collection_names():
            self.collection.database.create_collection("source")
        return _PlayedInMongodb(self, mode, table)

    def empty_source(self) -> None:
        self.collection.delete_many({})

    def source_parameters(self) -> dict[str, str]:
        return {
            "data_source": "mongodb",
            "mongodb_host": self.endpoints.mongodb_host,
            "mongodb_port": str(self.endpoints.mongodb_port),
            "mongodb_database": self.database,
            "mongodb_collection": "source",
            "mongodb_username": self.endpoints.mongodb_username,
            "mongodb_password": self.endpoints.mongodb_password,
            "transformation_config": '{"field_mappings": {"_id": "id"}}',
        }


class _PlayedInMongodb(Played):
    world: MongodbWorld

    def clock(self) -> datetime:
        # BSON's dates have milliseconds: what is done later has a later one.
        time.sleep(0.002)
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def present(self) -> list[Row]:
        found = self.world.collection.find()
        return [
            (each["_id"], each["version"], each["note"], each["updated_at"] and each["updated_at"].replace(tzinfo=UTC))
            for each in found
        ]

    def insert(self, ids: list[int], stamp: Stamp, _: int | None) -> None:
        values = self._values(stamp)
        self.world.collection.insert_many([{"_id": key, **values} for key in ids])

    def update(self, key: int | None, stamp: Stamp, _: int | None) -> None:
        self.world.collection.update_many({} if key is None else {"_id": key}, {"$set": self._values(stamp)})

    def delete(self, key: int, _: int | None) -> None:
        self.world.collection.delete_one({"_id": key})

    def reinsert(self, key: int, stamp: Stamp) -> None:
        if key and self.world.collection.find_one(key) is None:
            self.insert([key], stamp, None)

    def leave(self, keys: list[int]) -> None:
        self.world.collection.delete_many({"_id": {"$nin": keys}})

    def set_back(self) -> None:
        self.world.collection.update_many({"updated_at": {"$gt": self.clock()}}, {"$set": self._values(Stamp.NOW)})

    def _values(self, stamp: Stamp) -> dict[str, Any]:
        version = self.next_version()
        # The earlier sleep separates the write from a clock that was read before, this one from the next.
        now = self.clock()
        time.sleep(0.002)
        moment = {Stamp.NOW: now, Stamp.NULL: None, Stamp.FUTURE: _FUTURE}[stamp]
        return {"version": version, "note": f"note {version}", "updated_at": moment}


@dataclass
class BigqueryWorld(ElsewhereWorld):
    """One table of BigQuery, which is read by workers."""

    read: ClassVar[str] = "storage_api"

    @classmethod
    @contextmanager
    def opened(cls, endpoints: Endpoints, client: bigquery.Client) -> Iterator[Self]:
        with super().opened(endpoints, client) as world:
            client.create_dataset(world.source_dataset)
            world.execute("CREATE TABLE source (id INT64, version INT64, note STRING, updated_at TIMESTAMP)")
            yield world
            client.delete_dataset(world.source_dataset, delete_contents=True)

    @property
    def source_dataset(self) -> str:
        return f"{self.dataset}_source"

    def execute(self, sql: str) -> list[Row]:
        config = bigquery.QueryJobConfig(default_dataset=f"{self.endpoints.project}.{self.source_dataset}")
        return [tuple(row.values()) for row in self.client.query_and_wait(sql, job_config=config)]

    def begin(self, mode: Mode, table: str) -> Played:
        return _PlayedInBigquery(self, mode, table)

    def empty_source(self) -> None:
        self.execute("TRUNCATE TABLE source")

    def source_parameters(self) -> dict[str, str]:
        return {
            "data_source": "bigquery",
            "source_bigquery_project": self.endpoints.project,
            "source_bigquery_dataset": self.source_dataset,
            "source_bigquery_table": "source",
            "source_bigquery_read": self.read,
        }


@dataclass
class PushdownWorld(BigqueryWorld):
    """One table of BigQuery, whose rows and keys a script moves."""

    read: ClassVar[str] = "query"


class _PlayedInBigquery(Played):
    world: BigqueryWorld

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def present(self) -> list[Row]:
        return self.world.rows(f"{self.world.endpoints.project}.{self.world.source_dataset}.source", COLUMNS) or []

    def insert(self, ids: list[int], stamp: Stamp, _: int | None) -> None:
        self.world.execute(f"INSERT INTO source SELECT id, {self._values(stamp)} FROM UNNEST({ids}) AS id")

    def update(self, key: int | None, stamp: Stamp, _: int | None) -> None:
        self._set("TRUE" if key is None else f"id = {key}", stamp)

    def delete(self, key: int, _: int | None) -> None:
        self.world.execute(f"DELETE FROM source WHERE id = {key}")

    def reinsert(self, key: int, stamp: Stamp) -> None:
        if key and not self.world.execute(f"SELECT id FROM source WHERE id = {key}"):
            self.insert([key], stamp, None)

    def leave(self, keys: list[int]) -> None:
        self.world.execute(f"DELETE FROM source WHERE id NOT IN UNNEST({keys or 'CAST([] AS ARRAY<INT64>)'})")

    def set_back(self) -> None:
        self._set("updated_at > CURRENT_TIMESTAMP()", Stamp.NOW)

    def _set(self, where: str, stamp: Stamp) -> None:
        version, note, moment = self._values(stamp).split(", ")
        self.world.execute(f"UPDATE source SET version = {version}, note = {note}, updated_at = {moment} WHERE {where}")

    def _values(self, stamp: Stamp) -> str:
        version = self.next_version()
        moment = {
            Stamp.NOW: "CURRENT_TIMESTAMP()",
            Stamp.NULL: "CAST(NULL AS TIMESTAMP)",
            Stamp.FUTURE: f"TIMESTAMP '{_FUTURE:%Y-%m-%d}'",
        }[stamp]
        return f"{version}, 'note {version}', {moment}"


WORLDS: Mapping[str, type[ElsewhereWorld]] = {
    "mongodb": MongodbWorld,
    "bigquery": BigqueryWorld,
    "pushdown": PushdownWorld,
}
