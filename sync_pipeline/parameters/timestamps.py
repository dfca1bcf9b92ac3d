"""Timestamps in parameters: ISO 8601, with a time zone, or as the reading of a wall clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# In POSIX extended syntax, for the metadata too. A date alone would not say whether its day is included.
TIMESTAMP_PATTERN = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)


def parse_timestamp(text: str) -> datetime:
    """Return the timestamp: aware and in UTC if the text has a time zone, else naive.

    Raises:
        ValueError: `text` is not a timestamp, or has a year that no timestamp of BigQuery has.
    """
    if re.fullmatch(TIMESTAMP_PATTERN, text) is None:
        raise ValueError("write date and time, such as 2025-07-01T00:00:00Z, or without the Z for a wall clock")
    try:
        timestamp = datetime.fromisoformat(text)
        return timestamp if timestamp.tzinfo is None else timestamp.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date or time") from None
