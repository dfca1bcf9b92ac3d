"""Keeps a run below BigQuery's limits on how often a table may be changed, if several tables of the run share one.

A table takes five changes of its metadata in ten seconds, and a load job is one of them.
https://cloud.google.com/bigquery/quotas#standard_tables
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque

CHANGES, SECONDS = 5, 10.0


class Pace:
    """Lets at most `CHANGES` begin in `SECONDS`, of all threads of the process together."""

    def __init__(self) -> None:
        self._turns: deque[float] = deque(maxlen=CHANGES)
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when one more may begin; they take turns in the order of their calls."""
        with self._lock:
            now = time.monotonic()
            turn = now if len(self._turns) < CHANGES else max(now, self._turns[0] + SECONDS)
            self._turns.append(turn)
        time.sleep(turn - now)


_PACES: defaultdict[str, Pace] = defaultdict(Pace)


def wait_to_change(table_id: str) -> None:
    """Return when this process may change the table once more."""
    _PACES[table_id].wait()
