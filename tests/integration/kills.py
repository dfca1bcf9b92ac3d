"""Kills a run after any of its calls, within the process of the test: no later call takes effect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from google.cloud import bigquery


class KilledError(BaseException):
    """The process of a run is no more. No `except Exception` of the product sees it, as none would in earnest."""


class Life:
    """A process that ends right after so many calls, of all its clients together."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._lock = threading.Lock()

    def call(self, function: Callable[[], Any]) -> Any:
        with self._lock:
            if self._calls <= 0:
                raise KilledError
            self._calls -= 1
            is_last = self._calls == 0
        try:
            answer = function()
            if is_last:
                await_end(answer)
        finally:
            if is_last:
                raise KilledError
        return answer


def await_end(answer: Any) -> None:
    """Wait until a job has ended: it does not need the process that began it, and its effect is to be seen."""
    if isinstance(answer, bigquery.QueryJob | bigquery.LoadJob):
        while not answer.done():
            time.sleep(0.005)


class Intercepted:
    """An object whose methods are called by `call`, which may do something else."""

    def __init__(self, target: Any, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._target = target
        self._call = call

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if not callable(attribute):
            return attribute
        return lambda *arguments, **options: self._call(lambda: attribute(*arguments, **options))


class DyingClient(Intercepted):
    """A BigQuery client whose process ends right after so many calls: no later one arrives, not even to clean up."""

    def __init__(self, client: bigquery.Client, calls: int) -> None:
        super().__init__(client, Life(calls).call)
