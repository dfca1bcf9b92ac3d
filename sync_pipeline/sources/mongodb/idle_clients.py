"""Clients that stay open between the reads of a thread, so that small collections do not pay for connecting."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pymongo
import pymongo.errors
from pymongo.collection import Collection
from pymongo.database import Database

from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import (
    CONNECT_TIMEOUT_SECONDS,
    Document,
    connected_database,
    translated_errors,
)

# What is read, not where from.
_OF_A_READ = frozenset({"collection", "query", "projection", "sample_size", "document_mode", "timestamp_field"})


@dataclasses.dataclass(frozen=True)
class _Client:
    """An open client.

    Attributes:
        closing: closes it.
        login: the server, the database and the login that it is for.
    """

    database: Database[Document]
    closing: contextlib.ExitStack
    login: dict[str, Any]


class _Idle(threading.local):
    """The idle client of a thread, at most one."""

    client: _Client | None = None


_IDLE = _Idle()


@contextlib.contextmanager
def lent(config: MongodbConfig, max_retries: int) -> Iterator[Collection[Document]]:
    """Yield the collection, over the thread's idle client if it has one for this database and login.

    Afterwards the client is idle again, until `close_idle` or the end of the thread. A client is closed if anything
    failed, or if its documents were not all taken.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceQueryError: the server rejected the connection; not retried.
    """
    login = _login(config)
    client = _reused(login) or _opened(config, max_retries, login)
    try:
        with translated_errors(config):
            collection = client.database[config.collection]
        yield collection
    except BaseException:
        client.closing.close()
        raise
    close_idle()
    _IDLE.client = client


def close_idle() -> None:
    """Close the idle client of this thread, if there is one."""
    client, _IDLE.client = _IDLE.client, None
    if client is not None:
        client.closing.close()


def _reused(login: dict[str, Any]) -> _Client | None:
    """Return the thread's idle client; None if there is none whose server answers."""
    if _IDLE.client is None or _IDLE.client.login != login:
        close_idle()
        return None
    client, _IDLE.client = _IDLE.client, None
    try:
        with pymongo.timeout(CONNECT_TIMEOUT_SECONDS):
            client.database.command("ping", read_preference=client.database.read_preference)
    except pymongo.errors.PyMongoError:
        client.closing.close()
        return None
    return client


def _opened(config: MongodbConfig, max_retries: int, login: dict[str, Any]) -> _Client:
    closing = contextlib.ExitStack()
    return _Client(closing.enter_context(connected_database(config, max_retries)), closing, login)


def _login(config: MongodbConfig) -> dict[str, Any]:
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in _OF_A_READ
    }
