"""The placeholders `{start_timestamp}` and `{end_timestamp}` in queries."""

from __future__ import annotations

from datetime import datetime

from sync_pipeline.smart_sync.interval import SyncInterval, bound_text

START_PLACEHOLDER, END_PLACEHOLDER = "{start_timestamp}", "{end_timestamp}"
PLACEHOLDERS = (START_PLACEHOLDER, END_PLACEHOLDER)


def has_placeholders(query: str) -> bool:
    """Whether `query` contains a placeholder."""
    return any(placeholder in query for placeholder in PLACEHOLDERS)


def fill_placeholders(query: str, interval: SyncInterval, start: str | None = None) -> str:
    """Return `query` with both placeholders replaced. Other braces, as in `'{a,b}'`, stay.

    `start` replaces the interval's own start.
    """
    return _filled(query, start or bound_text(interval.start), bound_text(interval.end))


def query_at(query: str, moment: datetime) -> str:
    """Return `query` with both placeholders at one moment: a query has the same columns whatever the interval is."""
    return _filled(query, bound_text(moment), bound_text(moment))


def _filled(query: str, start: str, end: str) -> str:
    return query.replace(START_PLACEHOLDER, start).replace(END_PLACEHOLDER, end)
