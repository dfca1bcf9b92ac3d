"""Whole runs from a MongoDB database of the test's own into a dataset of the test's own."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from tests.integration.syncing import TABLE, Syncing


@dataclass(frozen=True)
class MongodbSyncing(Syncing):
    """Syncs collections of `mongodb`. Each keyword argument of its methods is a template parameter."""

    mongodb: Database[dict[str, Any]]

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        """The collection that is read, as the administrator has it."""
        return self.mongodb[TABLE]

    def insert(self, *documents: dict[str, Any]) -> None:
        self.collection.insert_many(list(documents))

    def source_parameters(self, given: Container[str]) -> dict[str, str | None]:
        del given
        return {
            "data_source": "mongodb",
            "mongodb_host": self.endpoints.mongodb_host,
            "mongodb_port": str(self.endpoints.mongodb_port),
            "mongodb_database": self.database,
            "mongodb_collection": TABLE,
            "mongodb_username": self.endpoints.mongodb_username,
            "mongodb_password": self.endpoints.mongodb_password,
        }

    def rows(self, columns: str = "*", order: str = "_id") -> list[tuple[Any, ...]]:
        """Return the destination's rows, in the order of `order`."""
        return self.query(f"SELECT {columns} FROM items ORDER BY {order}")
