"""Planning: queries source and destination and makes all decisions before the read. Never writes.

Each step builds on the previous ones and queries everything once:
clock → destination → interval → columns → writing → reading → plan.
"""

from __future__ import annotations

from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.destination import describe_destination
from sync_pipeline.planning.interval import plan_interval, question_of
from sync_pipeline.planning.latest_timestamp import latest_timestamp
from sync_pipeline.planning.lookups import Lookups
from sync_pipeline.planning.plan import DEFAULT_CONNECTIONS, Run
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.planning.staging_names import new_run_id
from sync_pipeline.planning.table_plan import TableStart, plan_table
from sync_pipeline.smart_sync.interval import LatestTimestamp
from sync_pipeline.sources.source import Source


def make_plan(
    config: SyncConfig,
    source: Source,
    client: bigquery.Client,
    staging_root: str,
    started_at: datetime,
    max_source_connections: int = DEFAULT_CONNECTIONS,
    execution: str = "",
) -> RunPlan:
    """Plan a run of one sync. Raises the errors of `plan_table`.

    Args:
        staging_root: see `Run`.
        started_at: the launcher's clock, only for names and durations.
        execution: see `Run`.
    """
    run = Run(new_run_id(started_at), started_at, client.project, staging_root, max_source_connections, execution)
    with source.connect() as session:
        clock = session.clock
        destination = describe_destination(client, config.destination)
        question = question_of(config, clock, destination)
        latest = LatestTimestamp() if question is None else latest_timestamp(client, question, destination.location)
        start = TableStart(config, clock, destination, plan_interval(config, session, destination, latest))
        return RunPlan(run, (plan_table(client, session, start, Lookups(client, run), run, 0),))
