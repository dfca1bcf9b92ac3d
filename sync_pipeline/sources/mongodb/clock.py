"""The server's clock, and the latest end of an interval that every member of a replica set has reached."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo.database import Database

from sync_pipeline.parameters.config import SmartSyncConfig
from sync_pipeline.smart_sync.upper_bound import upper_bound
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection import Document
from sync_pipeline.sources.mongodb.connection_string import address_risks
from sync_pipeline.sources.mongodb.filters import milliseconds
from sync_pipeline.sources.mongodb.transport import protection, transport_risks
from sync_pipeline.sources.source import SourceClock


@dataclass(frozen=True)
class ServerClock:
    """The answer of the server that is read.

    Attributes:
        now: its clock, aware, in UTC.
        newest: the time of the newest write that a read can see; None for a standalone server, where reads see all.
        risks: warnings about what a read may miss.
    """

    now: datetime
    newest: datetime | None
    risks: tuple[str, ...]

    def source_clock(self, source: MongodbConfig, uri: str, smart_sync: SmartSyncConfig | None) -> SourceClock:
        """Return the clock of a run; `uri` is the resolved connection string, or empty."""
        settle = smart_sync.settle if smart_sync else timedelta()
        # The server does not report open transactions.
        safe = upper_bound(self.now, (), settle=settle, max_hold=timedelta(), newest=self.newest)
        return SourceClock(
            now=self.now,
            upper_bound=milliseconds(safe.end).replace(tzinfo=UTC),
            transport=protection(source, uri),
            risks=(*address_risks(source, uri), *transport_risks(source, uri), *(self.risks if smart_sync else ())),
        )


def read_clock(database: Database[Document]) -> ServerClock:
    """Return the clock of the server that reads of the database go to.

    A member of a replica set reports the time of the last majority-committed write; reads do not see later writes.
    """
    hello = database.client.admin.command("hello", read_preference=database.read_preference)
    seen = hello.get("lastWrite", {}).get("majorityWriteDate")
    risks: tuple[str, ...] = ()
    if hello.get("secondary"):
        risk = (
            "a secondary is read, and another one may be further behind: what it has not copied yet is covered only by"
        )
        risks = (f"{risk} smart_sync_settle_seconds and smart_sync_lookback_seconds",)
    newest = seen.replace(tzinfo=UTC) if seen is not None else None
    return ServerClock(hello["localTime"].replace(tzinfo=UTC), newest, risks)
