"""`RunPlan`: everything a run has decided at launch, table by table. The workers carry it out and decide nothing."""

from __future__ import annotations

import enum
import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, MAX_PARTITIONS_PER_TABLE
from sync_pipeline.auto_schema.table_options import NO_OPTIONS, TableOptions
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import DestinationConfig, SyncConfig
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval, timestamp_text
from sync_pipeline.sources.source import ReadPlan, Selection

# What `new_run_id` makes, and what `TableSync.name` makes of that.
RUN_ID = re.compile(r"(?P<began>[0-9]{8}T[0-9]{6})_[0-9a-f]{8}")
TABLE_NAME = re.compile(rf"{RUN_ID.pattern}(_[1-9][0-9]*)?")

# In place of a timestamp, for runs that do not depend on one.
NO_START = "none"


class WriteMode(enum.Enum):
    """What publishing does to the rows that are there; the value is how the plan says it."""

    APPEND = "append"
    MERGE = "merge"
    TRUNCATE = "replace all rows"
    REPLACE = "replace the table"


@dataclass(frozen=True)
class Run:
    """What the tables of a run have in common.

    Attributes:
        id: names the run's staged files, staging tables and jobs.
        started_at: the launcher's clock when planning began, aware, in UTC; for names and durations only.
        job_project: the project whose BigQuery jobs publish the rows: always the destination's, as BigQuery takes an id
            once in each project. https://cloud.google.com/bigquery/docs/reference/rest/v2/JobReference
        staging_root: `gs://…/`, under which the runs into each table stage their files.
    """

    id: str
    started_at: datetime
    job_project: str
    staging_root: str


@dataclass(frozen=True)
class TableSync:
    """Everything decided at launch for one table.

    Attributes:
        run: that it is a part of.
        number: its place among the tables of the run, from 0: what elements carry to say which table they are about.
        observed_at: BigQuery's clock just before the destination was looked at; see `publish_id`.
        config: what was asked for, unchanged; what was decided has attributes of its own.
        transformation: what is done with the columns that are read.
        read: how the rows are read.
        read_schema: the columns that are read, by their source names.
        schema: the columns that are written.
        interval: what Smart Sync reads, None without it.
        location: of the destination's dataset.
        creates_table: the destination does not exist.
        write_mode: what happens to the rows that are there.
        layout: of the table as it is, or will be.
        required_filter_column: BigQuery refuses statements that do not filter by it; None where it needs none.
        alterations: statements that make the table fit the columns, before the rows are published.
        primary_key: by which rows are merged, of the destination's names; empty where they are not.
        timestamp_column: Smart Sync's, by its name in the destination; None without it.
        loads_all_columns: the existing table has no columns besides those that are written.
        changes_layout: the table that is replaced is partitioned or clustered otherwise.
        ignores_case: the dataset does not tell names of tables apart that differ in case.
        dead_letters: where rows that do not fit go; None fails the run instead.
        notes: sentences worth a reader's while; `risks` are those that may surprise.
        selection: the rows as a query, where BigQuery moves them by itself and the workers read none; else None.
        way: why the rows go that way, for a source that has two; else empty.
        pruned_by: the destination's partition column where a merge leaves partitions out by it; else None.
        merge_costs: a sentence on what a merge costs, empty where there is none.
        options: of the existing table, which one in its place has as well.
        transport: what protects the connection to the source, empty where it is not ours.
    """

    run: Run
    number: int
    observed_at: datetime
    config: SyncConfig
    transformation: TransformationConfig
    read: ReadPlan
    read_schema: Schema
    schema: Schema
    interval: SyncInterval | None
    location: str
    creates_table: bool
    write_mode: WriteMode
    layout: TableLayout
    required_filter_column: str | None
    alterations: tuple[str, ...]
    primary_key: tuple[str, ...]
    timestamp_column: str | None
    dead_letters: DeadLetterTable | None
    notes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    selection: Selection | None = None
    way: str = ""
    pruned_by: Field | None = None
    merge_costs: str = ""
    options: TableOptions = NO_OPTIONS
    transport: str = ""
    loads_all_columns: bool = True
    changes_layout: bool = False
    ignores_case: bool = False

    @property
    def table_id(self) -> str:
        return self.config.destination.table_id

    @property
    def destination_identity(self) -> str:
        """The destination's id, the same for all names that are one table."""
        return self.table_id.lower() if self.ignores_case else self.table_id

    @property
    def run_id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        """What the table's files, tables and jobs of this run are named by: the first table's by the run alone."""
        return f"{self.run.id}_{self.number}" if self.number else self.run.id

    @property
    def staging_root(self) -> str:
        """Where all runs into this table stage their files.

        Readable, and different for every table: a run removes what earlier runs left in its own tables' folders only.
        """
        readable = re.sub("[^A-Za-z0-9_.-]", "_", self.table_id)
        return f"{self.run.staging_root}{readable}-{hashlib.sha256(self.table_id.encode()).hexdigest()[:8]}/"

    @property
    def staging_folder(self) -> str:
        """Where the run stages its files; its name tells from which timestamp the run started, and which run it is."""
        return f"{self.staging_root}start={self.staging_start},run={self.name}/"

    @property
    def staging_start(self) -> str:
        """The timestamp the run started from as text that sorts by time; the empty destination comes first of all."""
        if self.publish_id is None or self.interval is None:
            return NO_START
        latest = self.interval.latest
        return "0" if latest is None else timestamp_text(latest).removesuffix("+00").replace(" ", "T").replace(":", "")

    @property
    def staging_table_id(self) -> str:
        return staging_table_id(self.config.destination, self.name)

    @property
    def kms_key(self) -> str | None:
        """The key of the tables that the run creates, but for dead letters; None for their dataset's default."""
        return self.config.destination.kms_key or self.options.kms_key

    @property
    def replacement_options(self) -> Mapping[str, str]:
        """The options of a table that takes the destination's place, as expressions of GoogleSQL."""
        return replace(self.options, kms_key=self.kms_key).sql(self.layout)

    @property
    def replacement_table_id(self) -> str:
        """The table that is built beside the destination, to take its place."""
        return self._beside("_replacement")

    @property
    def replaced_table_id(self) -> str:
        """What the destination is called while its replacement takes its place."""
        return self._beside("_replaced")

    def _beside(self, kind: str) -> str:
        destination = self.config.destination
        return f"{destination.project}.{destination.dataset}.{kind}_{self.name}"

    @property
    def needs_staging_table(self) -> bool:
        """Whether one load job cannot publish: JSON is parsed on the way; a query merges rows, or replaces a table.

        A load job that replaces all rows has to load all columns, and each of its partitions counts towards the 30,000
        that load jobs may change a day. https://cloud.google.com/bigquery/quotas#partitioned_tables
        """
        if self.schema.rebuilt_columns or self.write_mode in (WriteMode.MERGE, WriteMode.REPLACE):
            return True
        is_partial = not self.loads_all_columns or self.layout.partition_field is not None
        return self.write_mode is WriteMode.TRUNCATE and not self.creates_table and is_partial

    @property
    def max_partitions(self) -> int:
        """The most partitions of the destination the run may write to: a MERGE is one statement, rows can be parted."""
        return MAX_PARTITIONS_PER_JOB if self.write_mode is WriteMode.MERGE else MAX_PARTITIONS_PER_TABLE

    @property
    def bounds(self) -> TimestampBounds | None:
        """What the timestamps of the rows must keep to; None without Smart Sync."""
        if self.interval is None or self.timestamp_column is None:
            return None
        smart_sync = self.config.smart_sync
        if self.write_mode is WriteMode.MERGE or (smart_sync is not None and smart_sync.include_null_timestamps):
            return TimestampBounds(self.timestamp_column, None, self.interval.end)
        interval = self.interval
        return TimestampBounds(self.timestamp_column, interval.after, interval.end, interval.is_everything)

    @property
    def publish_id(self) -> str | None:
        """Return the id that the publishing job shares with other runs of the same sync from the same timestamp.

        BigQuery takes an id once, so one of them publishes. None where every run publishes all it has read.
        """
        if self.interval is None or self.write_mode not in (WriteMode.APPEND, WriteMode.MERGE):
            return None
        latest = "empty" if self.interval.latest is None else timestamp_text(self.interval.latest)
        identity = "\n".join((self.destination_identity, self.timestamp_column or "", latest))
        return f"sync-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class RunPlan:
    """Everything decided at launch. Raises ConfigError when two tables have one destination.

    Attributes:
        tables: at least one; the number of each is its place.
    """

    run: Run
    tables: tuple[TableSync, ...]

    def __post_init__(self) -> None:
        if [table.number for table in self.tables] != list(range(len(self.tables))):
            raise ValueError("the number of a table is its place in the plan")
        # Of two runs from one timestamp one publishes, and so it would be with two tables of a run.
        counts = Counter(table.destination_identity for table in self.tables)
        repeated = [table_id for table_id, count in counts.items() if count > 1]
        if repeated:
            raise ConfigError([f"{table_id} is the destination of more than one table" for table_id in repeated])


def staging_table_id(destination: DestinationConfig, name: str) -> str:
    """Return a staging table, which lies beside the destination unless another dataset was given.

    `name`: see `TableSync.name`.
    """
    return f"{destination.project}.{destination.staging_dataset or destination.dataset}._staging_{name}"


def new_run_id(started_at: datetime) -> str:
    """Return a name that sorts by time and that no other run has: `20250722T150000_1f0c9a7b`."""
    return f"{started_at:%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}"
