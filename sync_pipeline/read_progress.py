"""What a read says of itself while it runs."""

from __future__ import annotations

import logging
import time

from sync_pipeline.source import Partition

_LOGGER = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0


class ReadProgress:
    """Logs one line every few seconds, so that a person sees the read move."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._rows = 0
        self._began = self._logged = time.monotonic()

    def add(self, rows: int) -> None:
        self._rows += rows
        if time.monotonic() - self._logged >= PROGRESS_SECONDS:
            self._log("reading")

    def finish(self) -> None:
        self._log("read")

    def _log(self, verb: str) -> None:
        self._logged = time.monotonic()
        rate = self._rows / max(self._logged - self._began, 1e-3)
        _LOGGER.info(
            "%s partition %d of %d: %s rows%s",
            verb,
            self._partition.index,
            self._partition.count,
            f"{self._rows:,}",
            f", {rate:,.0f} rows/s" if self._rows else "",
        )
