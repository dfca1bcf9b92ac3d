"""The placeholders `{start_timestamp}` and `{end_timestamp}` in queries."""

from __future__ import annotations

from sync_pipeline.smart_sync.interval import SyncInterval, timestamp_text

START_PLACEHOLDER, END_PLACEHOLDER = "{start_timestamp}", "{end_timestamp}"
PLACEHOLDERS = (START_PLACEHOLDER, END_PLACEHOLDER)


def has_placeholders(query: str) -> bool:
    """Whether `query` contains a placeholder."""
    return any(placeholder in query for placeholder in PLACEHOLDERS)


def fill_placeholders(query: str, interval: SyncInterval, start: str | None = None) -> str:
    """Return `query` with both placeholders replaced. Other braces, as in `'{a,b}'`, stay.

    `start` replaces the interval's own start.
    """
    return query.replace(START_PLACEHOLDER, start or timestamp_text(interval.start)).replace(
        END_PLACEHOLDER, timestamp_text(interval.end)
    )
