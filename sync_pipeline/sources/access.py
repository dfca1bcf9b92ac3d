"""What sources do alike to reach their rows: connect with patience, understand errors, look at columns' names."""

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
    """What a driver's error code means to us.

    Attributes:
        quotes_data: the server's text may hold a value of a row, and is not shown.
    """

    error: type[SourceError]
    remedy: str
    quotes_data: bool = False


def connect_with_retries[Connection](connect: Callable[[], Connection], max_retries: int) -> Connection:
    """Return what `connect` returns; while the server cannot be reached, try `max_retries` times more.

    It waits 1, 2, 4 … seconds between. Raises SourceUnavailableError of the last attempt, and any other error at once.
    """
    for attempt in range(max_retries):
        try:
            return connect()
        except SourceUnavailableError as error:
            wait = min(2**attempt, MAX_BACKOFF_SECONDS)
            _LOGGER.warning("%s; trying again in %d s (%d of %d)", error, wait, attempt + 1, max_retries)
            time.sleep(wait)
    return connect()


def check_names(names: Iterable[str]) -> None:
    """Raise SchemaError when a query returns no columns, or several of one name."""
    counts = Counter(names)
    if not counts:
        raise SchemaError("the query returns no columns: select at least one")
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise SchemaError(
            f"the query returns more than one column called {', '.join(repeated)}: name each differently with AS"
        )
