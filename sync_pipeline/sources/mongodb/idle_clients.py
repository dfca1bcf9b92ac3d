"""Clients of MongoDB for the reads of a thread: one serves those that follow each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pymongo
import pymongo.errors
from pymongo.collection import Collection
from pymongo.database import Database

from sync_pipeline.sources.idle import Idle, login_of
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import (
    CONNECT_TIMEOUT_SECONDS,
    Document,
    connected_database,
    translated_errors,
)

# The fields of the configuration that say what to read.
_OF_A_READ = frozenset({"collection", "query", "projection", "sample_size", "document_mode", "timestamp_field"})


@dataclass(frozen=True)
class _Client:
    """An open client; `closing` closes it."""

    database: Database[Document]
    closing: contextlib.ExitStack

    def close(self) -> None:
        self.closing.close()


_IDLE: Idle[_Client] = Idle(_Client.close)


@contextlib.contextmanager
def lent(config: MongodbConfig, max_retries: int) -> Iterator[Collection[Document]]:
    """Yield the collection, over the thread's idle client if it has one for this database and login.

    Afterwards the client is idle again, until `close_idle` or the end of the thread. A client is closed if anything
    failed, or if its documents were not all taken.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection; not retried.
    """
    login = login_of(config, _OF_A_READ)
    client = _reused(login) or _opened(config, max_retries)
    try:
        with translated_errors(config):
            collection = client.database[config.collection]
        yield collection
    except BaseException:
        client.close()
        raise
    _IDLE.keep(client, login)


def close_idle() -> None:
    """Close the idle client of this thread, if there is one."""
    _IDLE.close()


def _reused(login: object) -> _Client | None:
    """Return the thread's idle client; None if there is none whose server answers."""
    client = _IDLE.take(login)
    if client is None:
        return None
    try:
        with pymongo.timeout(CONNECT_TIMEOUT_SECONDS):
            client.database.command("ping", read_preference=client.database.read_preference)
    except pymongo.errors.PyMongoError:
        client.close()
        return None
    return client


def _opened(config: MongodbConfig, max_retries: int) -> _Client:
    closing = contextlib.ExitStack()
    return _Client(closing.enter_context(connected_database(config, max_retries)), closing)
