"""Plans for tests: a sync from PostgreSQL whose every part can be chosen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.table_options import NO_OPTIONS
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.planning.deletions import Deletions, KeyRead
from sync_pipeline.planning.plan import Run, TableSync, WriteMode
from sync_pipeline.planning.reconciliation import NextRun, Reconciliation
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.schema import ARROW_TYPES, REPEATED, REQUIRED, Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.parameter_sets import POSTGRESQL

PASSWORD = "hunter2-planted"
PARAMETERS = POSTGRESQL | {"postgresql_password": PASSWORD}
SMART_SYNC = {"enable_smart_sync": "true"}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


INTERVAL = SyncInterval(
    moment("2025-07-22 13:00"),
    moment("2025-07-22 15:00"),
    StartOrigin.DESTINATION,
    latest=moment("2025-07-22 13:00"),
)
USERS = Schema(
    (
        Field("id", "INT64", REQUIRED, source_type="bigint"),
        Field("name", "STRING", source_type="text"),
        Field("updated_at", "TIMESTAMP", source_type="timestamp with time zone"),
    )
)
# A column of every type, and an array of every type that BigQuery has arrays of in Parquet.
EVERY_TYPE = Schema(
    (
        Field("id", "INT64", REQUIRED),
        Field("part", "STRING", REQUIRED),
        Field("updated_at", "TIMESTAMP"),
        *(Field(f"c_{name.lower()}", name) for name in ARROW_TYPES),
        *(Field(f"a_{name.lower()}", name, REPEATED) for name in ARROW_TYPES if name not in ("JSON", "GEOGRAPHY")),
    )
)


def plan(
    parameters: dict[str, str] | None = None,
    *,
    schema: Schema = USERS,
    interval: SyncInterval | None = None,
    write_mode: WriteMode = WriteMode.APPEND,
    **parts: Any,
) -> TableSync:
    """Return the plan of an append on purpose into an existing plain table, but for what is given.

    `parts` are attributes of TableSync, and `run_id`, `started_at`, `job_project` and `staging_root` of its run.
    """
    run = Run(
        parts.pop("run_id", "20250722T150000_0a1b2c3d"),
        parts.pop("started_at", moment("2025-07-22 15:00")),
        parts.pop("job_project", "my-project"),
        parts.pop("staging_root", "gs://bucket/tmp/"),
    )
    mode = SMART_SYNC if interval else {"write_disposition": "WRITE_APPEND"}
    config = SyncConfig.from_parameters(PARAMETERS | mode | (parameters or {}))
    return TableSync(
        **{
            "run": run,
            "number": 0,
            "observed_at": moment("2025-07-22 15:00"),
            "config": config,
            "transformation": config.transformation,
            "read": ReadPlan("SELECT * FROM users", (ReadSplit(1, 1, "SELECT id FROM users"),)),
            "read_schema": schema,
            "schema": schema,
            "interval": interval,
            "location": "EU",
            "creates_table": False,
            "write_mode": write_mode,
            "layout": TableLayout(),
            "required_filter_column": None,
            "alterations": (),
            "primary_key": config.primary_key,
            "timestamp_column": "updated_at" if interval else None,
            "dead_letters": None,
            "notes": (),
            "risks": (),
            "selection": None,
            "way": "",
            "pruned_by": None,
            "clustered_by": None,
            "merge_costs": "",
            "options": NO_OPTIONS,
            "transport": "",
            "loads_all_columns": True,
            "changes_layout": False,
            "ignores_case": False,
            **parts,
        }
    )


def deletions(schema: Schema = USERS, *key: str, marks: bool = False, max_percent: int = 10) -> Deletions:
    """Return that a merge by `key`, or `id`, removes or marks the rows that the source no longer has."""
    keys = Schema(tuple(schema.field(name) for name in key or ("id",)))
    read = ReadPlan("SELECT id FROM users", (ReadSplit(1, 1, "SELECT id FROM users"),))
    return Deletions(marks, max_percent, KeyRead(read, keys, keys, TransformationConfig()))


def reconciliation(
    table: TableSync, *, repairs: bool = False, mark: str | None = None, deletes: bool = False, max_percent: int = 10
) -> Reconciliation:
    """Return how `table` is compared with its source."""
    following = None
    if table.interval is not None:
        following = NextRun(
            after=table.interval.latest,
            upper_bound=table.interval.end,
            includes_null=False,
            deletes=deletes,
            unmarks=deletes and mark is not None,
            keeps_versions=not table.primary_key,
        )
    return Reconciliation(repairs, max_percent, following, mark, None if following is not None else "3 7")


def run_plan(*tables: TableSync) -> RunPlan:
    """Return the plan of one run, the first table's, with all the tables."""
    run = tables[0].run
    return RunPlan(run, tuple(replace(table, run=run, number=number) for number, table in enumerate(tables)))
