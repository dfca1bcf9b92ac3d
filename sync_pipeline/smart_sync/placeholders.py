"""Queries that name the interval by `{start_timestamp}` and `{end_timestamp}`."""

from __future__ import annotations

from sync_pipeline.smart_sync.interval import SyncInterval, timestamp_text

START_PLACEHOLDER, END_PLACEHOLDER = "{start_timestamp}", "{end_timestamp}"


def has_placeholders(query: str) -> bool:
    """Whether `query` asks for the interval by name."""
    return START_PLACEHOLDER in query or END_PLACEHOLDER in query


def fill_placeholders(query: str, interval: SyncInterval, start: str | None = None) -> str:
    """Return `query` with the two placeholders replaced, and nothing else: `'{a,b}'` is good SQL.

    `start` is the text of the start where it is not the interval's own.
    """
    return query.replace(START_PLACEHOLDER, start or timestamp_text(interval.start)).replace(
        END_PLACEHOLDER, timestamp_text(interval.end)
    )
