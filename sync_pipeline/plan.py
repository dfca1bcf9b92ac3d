"""`SyncPlan`: everything a run has decided at launch. The workers carry it out and decide nothing."""

from __future__ import annotations

import enum
import textwrap
import uuid
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.config import SyncConfig
from sync_pipeline.layout import TableLayout, create_table_sql
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync import SyncInterval
from sync_pipeline.sources.source import ReadPlan


class WriteMode(enum.Enum):
    """What publishing does to the rows that are there; the value is how the plan says it."""

    APPEND = "append"
    TRUNCATE = "replace all rows"
    REPLACE = "replace the table"


@dataclass(frozen=True)
class SyncPlan:
    """Everything decided at launch.

    Attributes:
        run_id: names the run's staged files, staging table and jobs.
        started_at: when the plan was made, aware, in UTC.
        config: what was asked for.
        read: how the rows are read.
        read_schema: the columns that are read, by their source names.
        schema: the columns that are written.
        interval: what Smart Sync reads, None without it.
        job_project: the project whose BigQuery jobs load the rows.
        location: of the destination's dataset.
        creates_table: the destination does not exist.
        write_mode: what happens to the rows that are there.
        layout: of the table as it is, or will be.
        staging_folder: `gs://…/`, where the run stages its files.
        notes: sentences worth a reader's while; `risks` are those that may surprise.
    """

    run_id: str
    started_at: datetime
    config: SyncConfig
    read: ReadPlan
    read_schema: Schema
    schema: Schema
    interval: SyncInterval | None
    job_project: str
    location: str
    creates_table: bool
    write_mode: WriteMode
    layout: TableLayout
    staging_folder: str
    notes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()

    @property
    def table_id(self) -> str:
        return self.config.destination.table_id

    @property
    def staging_table_id(self) -> str:
        destination = self.config.destination
        return f"{destination.project}.{destination.dataset}._staging_{self.run_id}"

    @property
    def needs_staging_table(self) -> bool:
        """Whether one load job cannot publish: JSON is parsed on the way, and a table is replaced by a query."""
        return bool(self.schema.json_columns) or self.write_mode is WriteMode.REPLACE

    def lines(self) -> list[str]:
        """Return the plan in a few single lines, for the log."""
        rows = "unknown" if self.read.estimated_rows is None else f"about {self.read.estimated_rows:,}"
        lines = [
            f"plan: run {self.run_id}: {self.config.data_source} to {self.table_id}, {self._publishing()}",
            f"plan: {len(self.schema)} columns, {rows} rows, {len(self.read.partitions)} partition(s)",
        ]
        if self.interval:
            lines.append(f"plan: interval {self.interval}: {self.interval.origin.value}")
        if self.creates_table:
            lines.append(f"plan: the table will be created, {self.layout}")
        return lines + [f"plan: note: {note}" for note in self.notes] + [f"plan: risk: {risk}" for risk in self.risks]

    def render(self) -> str:
        """Return the plan as a page for a person; `dry_run=true` prints it."""
        sections = [
            ("Sync", f"{self.config.data_source} to {self.table_id} in {self.location} (run {self.run_id})"),
            ("Interval", self._interval()),
            ("Query", self.read.query),
            (
                "Rows",
                "unknown"
                if self.read.estimated_rows is None
                else f"about {self.read.estimated_rows:,}, as the source's planner estimates",
            ),
            ("Reading", f"{len(self.read.partitions)} partition(s), at most {self.config.batch_size:,} rows a batch"),
            ("Columns", _column_table(self)),
            ("Table", self._table()),
            ("Publishing", self._publishing()),
            ("Notes", "\n".join(f"- {note}" for note in self.notes) or "none"),
            ("Risks", "\n".join(f"- {risk}" for risk in self.risks) or "none seen"),
        ]
        return "\n".join(f"{title}\n{textwrap.indent(text, '    ')}" for title, text in sections)

    def _interval(self) -> str:
        if self.interval is None:
            return "none: Smart Sync is off, the whole query is read"
        assert self.config.smart_sync is not None
        return f"{self.config.smart_sync.timestamp_column} in {self.interval}\nstart: {self.interval.origin.value}"

    def _table(self) -> str:
        if self.creates_table or self.write_mode is WriteMode.REPLACE:
            return create_table_sql(
                self.table_id, self.schema, self.layout, replace=self.write_mode is WriteMode.REPLACE
            )
        return f"exists, {self.layout}"

    def _publishing(self) -> str:
        if self.needs_staging_table:
            why = "JSON columns are parsed" if self.schema.json_columns else "the table is replaced"
            return f"{self.write_mode.value}: one load job into a staging table, then one query job, as {why}"
        return f"{self.write_mode.value}: one load job"


def new_run_id(started_at: datetime) -> str:
    """Return a name that sorts by time and that no other run has: `20250722T150000_1f0c9a7b`."""
    return f"{started_at:%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}"


def _column_table(plan: SyncPlan) -> str:
    sources = [f"{field.name} {field.source_type}".strip() for field in plan.read_schema]
    sources += ["constant"] * (len(plan.schema) - len(sources))
    targets = [
        f"{field.name} {field.type_name}{' NOT NULL' if field.mode == 'REQUIRED' else ''}" for field in plan.schema
    ]
    width = max(map(len, sources))
    return "\n".join(f"{source:<{width}}  ->  {target}" for source, target in zip(sources, targets, strict=True))
