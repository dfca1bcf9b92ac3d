"""Smart Sync: which interval of the timestamp column a run reads. Pure: clocks and answers are arguments.

A run reads the half-open interval (start, end]. `start` is the latest timestamp the destination holds, so
what was loaded before is not read again; `end` comes from the source's own clock, so nothing depends on the
launcher's. https://en.wikipedia.org/wiki/ISO_31-11: "(" excludes, "]" includes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START_PLACEHOLDER = "{start_timestamp}"
END_PLACEHOLDER = "{end_timestamp}"

# Where "all historical data" begins when the destination holds none.
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)


class StartOrigin(enum.Enum):
    """Where the start of an interval came from; the value is the sentence shown in the plan."""

    DESTINATION = "latest timestamp in the destination"
    EVERYTHING = "the destination is empty and sync_all_on_empty_table=true"
    FALLBACK = "the destination is empty and sync_all_on_empty_table=false: fallback_days back from the end"
    REPLACED = "delete_existing_table=true: the table is loaded anew"


@dataclass(frozen=True)
class SyncInterval:
    """(start, end]: `start` was loaded before, `end` is included. Both are aware, in UTC, to the microsecond."""

    start: datetime
    end: datetime
    origin: StartOrigin

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a SyncInterval needs time zone aware timestamps")

    @property
    def is_empty(self) -> bool:
        return self.end <= self.start

    def __str__(self) -> str:
        return f"({timestamp_text(self.start)}, {timestamp_text(self.end)}]"


@dataclass(frozen=True)
class LatestTimestamp:
    """What the destination answered.

    Attributes:
        value: the latest timestamp that is not in the source's future; None when there is none.
        future: the latest timestamp of all when it lies in the source's future, else None.
    """

    value: datetime | None = None
    future: datetime | None = None


def resolve_interval(
    latest: datetime | None,
    source_now: datetime,
    *,
    sync_all_on_empty_table: bool,
    fallback_days: int,
    table_is_replaced: bool = False,
) -> SyncInterval:
    """Return the interval to read.

    Args:
        latest: the destination's latest timestamp, not later than `source_now`; None for an empty table.
        source_now: the source's clock, which becomes the end.
        sync_all_on_empty_table: with no latest timestamp, read everything rather than the last days.
        fallback_days: how many days before the end to start when not reading everything.
        table_is_replaced: the destination's rows go away, so what it holds does not count.

    An end that lies before the start (the source's clock was set back) gives an empty interval, not an error:
    the rows come with a later run.
    """
    if latest is not None and not table_is_replaced:
        return SyncInterval(latest, max(latest, source_now), StartOrigin.DESTINATION)
    if sync_all_on_empty_table:
        origin = StartOrigin.REPLACED if table_is_replaced else StartOrigin.EVERYTHING
        return SyncInterval(BEGINNING, source_now, origin)
    return SyncInterval(source_now - timedelta(days=fallback_days), source_now, StartOrigin.FALLBACK)


def has_placeholders(query: str) -> bool:
    """Whether `query` asks for the interval by name."""
    return START_PLACEHOLDER in query or END_PLACEHOLDER in query


def fill_placeholders(query: str, interval: SyncInterval) -> str:
    """Return `query` with the two placeholders replaced, and nothing else: `'{a,b}'` is good SQL."""
    return query.replace(START_PLACEHOLDER, timestamp_text(interval.start)).replace(
        END_PLACEHOLDER, timestamp_text(interval.end)
    )


def timestamp_text(timestamp: datetime) -> str:
    """Return `2025-07-22 13:00:00.000000+00`: microseconds and the offset, whatever the session's time zone."""
    return timestamp.astimezone(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix(":00")
