"""Shared by sources: connecting with retries, mapping of driver errors, positions in a text, checks of column names."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sync_pipeline.errors import SchemaError, SourceError, SourceUnavailableError

_LOGGER = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 30


@dataclass(frozen=True)
class ErrorMapping:
    """The error class and the remedy for a driver's error code."""

    error: type[SourceError]
    remedy: str


def connect_with_retries[Connection](connect: Callable[[], Connection], max_retries: int) -> Connection:
    """Call `connect` and return its result. Retries an unreachable server `max_retries` times, after 1, 2, 4 … seconds.

    Raises:
        SourceUnavailableError: the last attempt failed. Any other error is raised at once.
    """
    for attempt in range(max_retries):
        try:
            return connect()
        except SourceUnavailableError as error:
            wait = min(2**attempt, MAX_BACKOFF_SECONDS)
            _LOGGER.warning("%s; trying again in %d s (%d of %d)", error, wait, attempt + 1, max_retries)
            time.sleep(wait)
    return connect()


def place_of(text: str, position: int) -> str:
    """Return ` at line L, column C`, both from 1, for a position from 0."""
    before = text[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    return f" at line {line}, column {column}"


def check_names(names: Iterable[str]) -> None:
    """Check column names. Raises SchemaError when a query returns no columns, or duplicate names."""
    counts = Counter(names)
    if not counts:
        raise SchemaError("the query returns no columns: select at least one")
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise SchemaError(
            f"the query returns more than one column called {', '.join(repeated)}: name each differently with AS"
        )
