"""Kills a run after any of its calls, within the process of the test: no later call takes effect."""

from __future__ import annotations

from typing import Any

from google.cloud import bigquery


class KilledError(BaseException):
    """The process of a run is no more. No `except Exception` of the product sees it, as none would in earnest."""


class DyingClient:
    """A BigQuery client whose process ends right after so many calls: no later one arrives, not even to clean up."""

    def __init__(self, client: bigquery.Client, calls: int) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            if self._calls <= 0:
                raise KilledError
            self._calls -= 1
            try:
                answer = attribute(*arguments, **options)
            finally:
                if self._calls == 0:
                    raise KilledError
            return answer

        return call
