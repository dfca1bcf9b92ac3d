"""A run without Beam: the product's own parts, called one after the other, so that a test can stop between any two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from google.cloud import bigquery

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.sources import open_source


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


def plan_run(config: SyncConfig, client: bigquery.Client, staging_root: str, launcher_clock: datetime) -> TableSync:
    """Plan a run as the launcher does."""
    return make_plan(config, open_source(config), client, staging_root, launcher_clock)


def stage_run(plan: TableSync, batches: Sequence[pa.RecordBatch]) -> list[StagedFile]:
    """Write each batch to a file of its own."""
    return [file for batch in batches for file in write_batches([batch], rows_target(plan))]
