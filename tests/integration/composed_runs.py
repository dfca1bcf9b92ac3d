"""A run without Beam: the product's own parts, called one after the other, so that a test can stop between any two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from google.cloud import bigquery

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import SyncPlan
from sync_pipeline.publishing.staging import StagedFile, _OpenFile, rows_target
from sync_pipeline.sources import open_source
from sync_pipeline.sources.postgresql.connection import connected
from sync_pipeline.sources.postgresql.copy_read import copy_batches
from sync_pipeline.transforms.batches import transform_batch


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


def plan_run(config: SyncConfig, client: bigquery.Client, staging_root: str, launcher_clock: datetime) -> SyncPlan:
    """Plan a run as the launcher does."""
    return make_plan(config, open_source(config), client, staging_root, launcher_clock)


def read_run(plan: SyncPlan) -> list[pa.RecordBatch]:
    """Read all partitions of a plan, as they are to be staged."""
    source = open_source(plan.config)
    batches = []
    for partition in plan.read.splits:
        with connected(source.connection, plan.config.max_retries) as connection:
            read = copy_batches(connection, partition.statement, plan.read_schema, plan.config.batch_size)
            batches += [transform_batch(batch, plan.config.transformation, plan.schema) for batch in read]
    return batches


def stage_run(plan: SyncPlan, batches: Sequence[pa.RecordBatch]) -> list[StagedFile]:
    """Write each batch to a file of its own."""
    files = []
    for batch in batches:
        file = _OpenFile(rows_target(plan))
        file.add(batch)
        files.append(file.close())
    return files
