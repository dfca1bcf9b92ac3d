"""The user's SELECT, limited to an interval: by its placeholders, or by a condition on the timestamp column. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.parameters.config import SmartSyncConfig
from sync_pipeline.smart_sync.interval import EARLIEST, Bound, SyncInterval, bound_text
from sync_pipeline.smart_sync.placeholders import fill_placeholders, has_placeholders, query_at


@dataclass(frozen=True)
class IntervalQuery:
    """A SELECT. With Smart Sync its rows have a timestamp, and `text` may have placeholders."""

    text: str
    smart_sync: SmartSyncConfig | None

    @property
    def fills_placeholders(self) -> bool:
        """Whether the query has placeholders for the interval's bounds."""
        return self.smart_sync is not None and has_placeholders(self.text)

    def at(self, moment: datetime) -> str:
        """Return the query for a description of its columns, which are the same for every interval."""
        return self.text if self.smart_sync is None else query_at(self.text, moment)

    def of(self, interval: SyncInterval | None, start: str | None = None) -> str:
        """Return the query with placeholders filled; `start` replaces the interval's start."""
        return self.text if interval is None else fill_placeholders(self.text, interval, start)

    @property
    def timestamp_column(self) -> str | None:
        return self.smart_sync.timestamp_column if self.smart_sync else None

    def condition(self, interval: SyncInterval | None) -> str:
        """Return the condition on the rows' timestamps, with `{column}` for the column; empty for all rows."""
        if interval is None or self.smart_sync is None or interval.is_unbounded:
            return ""
        condition = f"{_after(interval)}{{column}} <= {_literal(interval.end)}"
        return f"{condition} OR {{column}} IS NULL" if self.smart_sync.include_null_timestamps else condition

    def conditions(self, interval: SyncInterval | None, refer: Callable[[str], str]) -> tuple[str, ...]:
        """Return the conditions on the query's rows, empty for all rows.

        `refer` returns the reference to a column from a statement around the query.
        """
        condition = self.condition(interval)
        if self.smart_sync is None or self.fills_placeholders or not condition:
            return ()
        return (condition.format(column=refer(self.smart_sync.timestamp_column)),)


def _after(interval: SyncInterval) -> str:
    """Return the condition on the start, with AND; empty where the first run reads all numbers, which have no start."""
    if interval.after is not None:
        return f"{{column}} > {_literal(interval.after)} AND "
    return f"{{column}} >= {_literal(EARLIEST)} AND " if isinstance(interval.end, datetime) else ""


def _literal(bound: Bound) -> str:
    """Return a bound for the source's SQL; an index finds a number that has no quotes whatever type the column has."""
    return f"'{bound_text(bound)}'" if isinstance(bound, datetime) else bound_text(bound)
