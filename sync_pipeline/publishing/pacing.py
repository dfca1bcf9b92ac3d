"""Keeps the requests of a run's threads below BigQuery's limits on how often something may be done."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque


class Pace:
    """Lets at most `count` things begin in `seconds`, of all threads of the process together."""

    def __init__(self, count: int, seconds: float) -> None:
        self._turns: deque[float] = deque(maxlen=count)
        self._seconds = seconds
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when one more may begin; threads take turns in the order of their calls."""
        with self._lock:
            now = time.monotonic()
            is_full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._seconds) if is_full else now
            self._turns.append(turn)
        time.sleep(turn - now)


# A project creates at most ten tables a second, and deletes as many. BigQuery refuses more, and the client then repeats
# the requests, later and later. https://cloud.google.com/bigquery/quotas#api_request_quotas
_CREATIONS, _DELETIONS = Pace(10, 1), Pace(10, 1)

# A table takes five changes of its metadata in ten seconds, and a load job is one of them.
# https://cloud.google.com/bigquery/quotas#standard_tables
_CHANGES: defaultdict[str, Pace] = defaultdict(lambda: Pace(5, 10))
_CHANGES_LOCK = threading.Lock()


def wait_to_create() -> None:
    """Return when this process may create one more table."""
    _CREATIONS.wait()


def wait_to_delete() -> None:
    """Return when this process may delete one more table."""
    _DELETIONS.wait()


def wait_to_change(table_id: str) -> None:
    """Return when this process may change a table once more that several tables of the run share."""
    with _CHANGES_LOCK:
        pace = _CHANGES[table_id]
    pace.wait()
