"""The read of keys: it finds every document that is there from its beginning to its end, as one too few is deleted.

- Keys are read from the primary, whatever the connection string prefers, and with majority read concern. A primary that
  has been replaced, or has just been elected, may show an older state than the member from which rows were read. So the
  primary first makes a linearizable read: a majority confirms that it is the primary, and knows all earlier writes. The
  read of the keys follows in one causally consistent session, and sees at least that on any member.
  https://www.mongodb.com/docs/manual/reference/read-concern-linearizable/
- Keys are read by the index on `_id` (`Find.arguments`). In any other index, an update may move a document past the
  cursor; an `_id` never changes.
- In a sharded cluster, documents that move to another shard are deleted after `orphanCleanupDelaySecs`, when no cursor
  needs them; but a new primary does not know its predecessor's cursors. So each read ends within that time.
  https://www.mongodb.com/docs/manual/core/sharding-balancer-administration/#range-migration-procedure
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from sync_pipeline.errors import ConfigError, SchemaError, SourceBusyError, SourceUnavailableError
from sync_pipeline.sources.mongodb.bson_types import ID
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import TIME_IS_UP, Document, translated_errors
from sync_pipeline.sources.mongodb.filters import Filter
from sync_pipeline.sources.mongodb.index_operators import chooses_index
from sync_pipeline.sources.mongodb.schema_scan import CollectionKind
from sync_pipeline.sources.source import DeadLetter

# How long a majority may take to confirm the primary.
_CONFIRMATION_MILLISECONDS = 60_000

# The default of orphanCleanupDelaySecs.
ORPHAN_SECONDS = 900

_SECONDARY_ALONE = (
    "{parameter} reads from the primary, as a secondary may not have all documents yet, but the connection leads to a "
    "secondary alone: name the replica set's members in mongodb_connection_string, without directConnection"
)


@dataclass(frozen=True)
class _Server:
    """What answers: a member of a replica set, a router of a sharded cluster, or a server alone, if it is neither."""

    is_primary: bool
    is_member: bool
    is_router: bool


def check_keys(
    collection: Collection[Document],
    kind: CollectionKind,
    query: Filter,
    parameter: str = "deletes",
    otherwise: str = "use deletes=keep, or replace all rows",
) -> None:
    """Check that a read can find all documents of the query.

    Args:
        parameter: the parameter that asks for it.
        otherwise: the remedy of a user for whom it cannot.

    Raises:
        ConfigError: the connection leads to no primary.
        SchemaError: a read of the collection, or by the query's index, may miss a document.
    """
    if kind.name != "collection":
        noun = {"view": "a view", "timeseries": "a time series"}.get(kind.name, "not known to be a collection")
        remedy = "grant listCollections on the database" if not kind.name else otherwise
        raise SchemaError(
            f"{parameter}: {collection.name} is {noun}, and only of a collection a read is sure to find each document: "
            f"{remedy}"
        )
    if chooses_index(query):
        raise SchemaError(
            f"{parameter}: mongodb_query uses $text or $near, whose index is not sure to show each document while "
            f"others write: {otherwise}"
        )
    if not _server(collection).is_primary:
        raise ConfigError([_SECONDARY_ALONE.format(parameter=parameter)])


@contextlib.contextmanager
def key_session(
    collection: Collection[Document], config: MongodbConfig, purpose: str
) -> Iterator[tuple[Collection[Document], ClientSession | None, float | None]]:
    """Yield the collection as keys are read from it, the session to read in, and how many seconds the read may take.

    A server alone needs no session, and only a sharded cluster limits the time.

    Args:
        purpose: what reads what, for messages.

    Raises:
        SourceUnavailableError: there is no primary, or no majority confirms it.
    """
    with translated_errors(config, is_reading=True):
        server = _server(collection)
    if not server.is_primary:
        raise SourceUnavailableError(f"MongoDB: {purpose} from the primary, and there is none: run the job again")
    keys = collection.with_options(read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority"))
    if not (server.is_member or server.is_router):
        yield keys, None, None
        return
    with collection.database.client.start_session(causal_consistency=True) as session:
        with translated_errors(config, is_reading=True):
            _confirm_primary(keys, session, purpose)
        yield keys, session, ORPHAN_SECONDS if server.is_router else None


def in_time(
    parts: Generator[pa.Table | DeadLetter], seconds: float | None, purpose: str
) -> Iterator[pa.Table | DeadLetter]:
    """Yield the parts of a read. Raises SourceBusyError if it takes longer than `seconds`."""
    began = time.monotonic()

    def check() -> None:
        if seconds is not None and time.monotonic() - began > seconds:
            raise SourceBusyError(
                f"MongoDB: {purpose} in splits, and one took longer than {seconds:,} seconds, after which a sharded "
                "cluster may delete documents that have moved to another shard: set a larger num_partitions"
            )

    for part in parts:
        check()
        yield part
    # The answer that there are no more documents may have come too late as well.
    check()


def _server(collection: Collection[Document]) -> _Server:
    hello = collection.database.client.admin.command("hello", read_preference=ReadPreference.PRIMARY)
    return _Server(
        is_primary=bool(hello.get("isWritablePrimary")),
        is_member="setName" in hello,
        is_router=hello.get("msg") == "isdbgrid",
    )


def _confirm_primary(keys: Collection[Document], session: ClientSession, purpose: str) -> None:
    confirming = keys.with_options(read_concern=ReadConcern("linearizable"))
    try:
        confirming.find_one({}, {ID: 1}, session=session, max_time_ms=_CONFIRMATION_MILLISECONDS)
    except TIME_IS_UP:
        raise SourceUnavailableError(
            f"MongoDB: {purpose} from the primary, and no majority of the replica set confirms which member that is: "
            "run the job again"
        ) from None
