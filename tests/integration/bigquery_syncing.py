"""Runs from one dataset into another, both of the test's own, by either way."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import bigquery

from sync_pipeline import pipeline
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.sources import open_source
from tests.integration.syncing import TABLE, Syncing

WAYS = ("query", "storage_api")


@dataclass(frozen=True)
class BigquerySyncing(Syncing):
    """Syncs the table `items` of `source` into `items` of `dataset`, by the way that `way` demands.

    `query` and `tables` are about `dataset`; `at_source` runs statements in which `items` is the source's.
    """

    source: str = ""
    way: str = "auto"

    def at_source(self, sql: str) -> list[tuple[Any, ...]]:
        return self._query(sql, self.source)

    def _query(self, sql: str, dataset: str) -> list[tuple[Any, ...]]:
        config = bigquery.QueryJobConfig(default_dataset=f"{self.endpoints.project}.{dataset}")
        # Without a retry: the emulator answers 5xx for what it cannot do.
        job = self.client.query(sql, job_config=config, retry=None, job_retry=None)
        return [tuple(row.values()) for row in job.result(retry=None)]

    def source_table(self, table: str = TABLE) -> bigquery.Table:
        return self.client.get_table(f"{self.endpoints.project}.{self.source}.{table}")

    def by(self, way: str) -> BigquerySyncing:
        return replace(self, way=way)

    def source_parameters(self, given: Container[str]) -> dict[str, str | None]:
        return {
            "data_source": "bigquery",
            "source_bigquery_project": self.endpoints.project,
            "source_bigquery_dataset": self.source,
            "source_bigquery_table": None if "source_bigquery_query" in given else TABLE,
            "source_bigquery_read": self.way,
        }

    def decide(self, **parameters: str | None) -> TableSync:
        """Return what a run would decide now."""
        config = SyncConfig.from_parameters(self.parameters(**parameters))
        root = pipeline.staging_root(PipelineOptions(temp_location=self.folder))
        return make_plan(config, open_source(config), self.client, root, datetime.now(UTC)).tables[0]

    def counters(self, **parameters: str | None) -> dict[str, int]:
        """Run, and return the counters of the workers by name."""
        config = RunConfig.from_parameters(self.parameters(**parameters))
        result = pipeline.run(config, PipelineOptions(temp_location=self.folder))
        assert result is not None
        return {metric.key.metric.name: metric.committed for metric in result.metrics().query()["counters"]}
