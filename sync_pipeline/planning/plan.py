"""`TableSync`: all decisions about one table of a run, made at launch. Workers only carry them out."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, MAX_PARTITIONS_PER_TABLE
from sync_pipeline.auto_schema.table_options import TableOptions
from sync_pipeline.bigquery_api.own_tables import KEYS, REPLACED, REPLACEMENT
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.planning.billed_queries import BilledQuery
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.deletions import MARK, Deletions, KeyRead
from sync_pipeline.planning.reconciliation import Reconciliation
from sync_pipeline.planning.staging_names import NO_START, folder_name, staging_table_id, start_name
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import SyncInterval, bound_text, is_later
from sync_pipeline.sources.source import ReadPlan, Selection

# The default of max_source_connections.
DEFAULT_CONNECTIONS = 8


class WriteMode(enum.Enum):
    """What publishing does to existing rows. The value is the text in the plan."""

    APPEND = "append"
    MERGE = "merge"
    TRUNCATE = "replace all rows"
    REPLACE = "replace the table"


@dataclass(frozen=True)
class Run:
    """The common values of all tables of a run.

    Attributes:
        id: the run's id, part of the names of its staged files, staging tables and jobs.
        started_at: the launcher's clock at the start of planning, aware, in UTC; only for names and durations.
        job_project: the project of the publishing jobs. Always the destination's, because job ids are unique only in a
            project. https://cloud.google.com/bigquery/docs/reference/rest/v2/JobReference
        staging_root: `gs://…/`, the folder of all staged files; empty for a dry run without one.
        max_source_connections: how many connections to the source all workers together may open at once.
        execution: the platform's id of what it may attempt several times, each a run; empty where it has none.
    """

    id: str
    started_at: datetime
    job_project: str
    staging_root: str
    max_source_connections: int = DEFAULT_CONNECTIONS
    execution: str = ""


@dataclass(frozen=True)
class TableSync:
    """The plan of one table, decided at launch.

    Attributes:
        run: the run that it belongs to.
        number: its index among the tables of the run, from 0. Elements carry it to identify their table.
        observed_at: BigQuery's clock just before the destination was queried; see `publish_id`.
        config: the given configuration, unchanged. Decisions are separate attributes.
        transformation: the transformation of the columns to read.
        read: the plan of the read.
        read_schema: the columns to read, with source names.
        schema: the columns to write.
        interval: Smart Sync's interval, None without it.
        location: the location of the destination's dataset.
        creates_table: whether the destination does not exist.
        write_mode: what happens to existing rows.
        layout: the current or future layout of the table.
        required_filter_column: the column that BigQuery requires statements to filter by, or None.
        alterations: DDL statements that reconcile the table before publishing.
        primary_key: the key of a merge or of a comparison, with destination names; empty to append, or to compare whole
            rows.
        timestamp_column: the destination's name of Smart Sync's timestamp column; None without it.
        loads_all_columns: whether the run writes all columns of the existing table.
        changes_layout: whether the replaced table has another partitioning or clustering.
        ignores_case: whether the dataset ignores case in names of tables.
        dead_letters: the table for rejected rows; None fails the run instead.
        notes: sentences for information; `risks` are warnings.
        selection: the rows as a query, with query pushdown; None if workers read the rows.
        way: the reason for the read method, for a source with two; else empty.
        pruned_by: the partition column that prunes partitions in a merge; else None.
        clustered_by: the key column that prunes blocks in a merge; else None.
        merge_costs: a sentence on the cost of a merge, else empty.
        options: options of the existing table that a replacement takes over.
        transport: the encryption of the connection to the source; empty for connections of Google's clients.
        has_distinct_keys: whether the rows that the run reads have each key of the merge once.
        source_table: the table's name at the source, or the name of a query; empty in a run of one sync.
        source_bytes: the source's estimate of the table's size; None if unknown.
        mode_reason: why the table is synced in its mode; empty if the parameters say so.
        deletions: how a merge treats rows that the source no longer has; None if it keeps them.
        reconciliation: how the table is compared with the source, instead of being loaded; None to load it.
        billed: the queries of the run that BigQuery bills.
        reads_keys: whether this is the read of the table's keys; see `of_keys`.
        is_published: whether an earlier attempt of the run's execution has filled the table, which was empty.
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
    notes: tuple[str, ...]
    risks: tuple[str, ...]
    selection: Selection | None
    way: str
    pruned_by: Field | None
    clustered_by: Field | None
    merge_costs: str
    options: TableOptions
    transport: str
    loads_all_columns: bool
    changes_layout: bool
    ignores_case: bool
    has_distinct_keys: bool = False
    source_table: str = ""
    source_bytes: int | None = None
    mode_reason: str = ""
    deletions: Deletions | None = None
    reconciliation: Reconciliation | None = None
    billed: tuple[BilledQuery, ...] = ()
    reads_keys: bool = False
    is_published: bool = False

    @property
    def table_id(self) -> str:
        return self.config.destination.table_id

    @property
    def destination_identity(self) -> str:
        """The destination's id, in lower case if the dataset ignores case."""
        return self.table_id.lower() if self.ignores_case else self.table_id

    @property
    def run_id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        """The name part of this run's files, tables and jobs for the table; for the first table, just the run's id."""
        return f"{self.run.id}_{self.number}" if self.number else self.run.id

    @property
    def staging_root(self) -> str:
        """The folder of all runs into this table.

        Distinct for each table, because a run deletes orphaned files only in its own tables' folders.
        """
        readable = re.sub("[^A-Za-z0-9_.-]", "_", self.table_id)
        return f"{self.run.staging_root}{readable}-{hashlib.sha256(self.table_id.encode()).hexdigest()[:8]}/"

    @property
    def staging_folder(self) -> str:
        """The folder of this run's staged files. Its name contains the run's start and id."""
        return f"{self.staging_root}{folder_name(self.staging_start, self.name)}"

    @property
    def staging_start(self) -> str:
        """The timestamp that the run started from, as text that sorts by time; an empty destination sorts first.

        A backfill that any number of other runs may overtake has none, and neither has a comparison.
        """
        if (
            self.reconciliation is not None
            or self.publish_id is None
            or self.interval is None
            or (self.is_backfill and not self.may_move_latest)
        ):
            return NO_START
        return start_name(self.interval.latest)

    @property
    def staging_table_id(self) -> str:
        return staging_table_id(self.config.destination, self.name)

    @property
    def keys_table_id(self) -> str:
        """The staging table of the source's keys."""
        return staging_table_id(self.config.destination, self.name, KEYS)

    @property
    def keys(self) -> KeyRead | None:
        """The read of the source's keys, with which the destination's are compared; None without it."""
        return self.deletions.keys if self.deletions is not None else None

    @property
    def of_keys(self) -> TableSync | None:
        """The read of the source's keys, as a table that is read and staged like the rows.

        None without it, and if BigQuery selects the keys as it does the rows. Files of both lie in one folder. The keys
        are those of all timestamps, so they have no bounds.
        """
        keys = self.keys
        if keys is None or self.selection is not None:
            return None
        return replace(
            self,
            read=keys.read,
            read_schema=keys.read_schema,
            schema=keys.schema,
            transformation=keys.transformation,
            layout=TableLayout(),
            timestamp_column=None,
            dead_letters=None,
            deletions=None,
            reads_keys=True,
        )

    @property
    def table_schema(self) -> Schema:
        """The columns of a new table: those to write, and the one that publishing adds itself."""
        if self.deletions is None or not self.deletions.marks:
            return self.schema
        return Schema((*self.schema, MARK))

    @property
    def kms_key(self) -> str | None:
        """The key of tables that the run creates, except dead letters; None for the dataset's default."""
        return self.config.destination.kms_key or self.options.kms_key

    @property
    def replacement_options(self) -> Mapping[str, str]:
        """The options of a replacement table, as GoogleSQL expressions."""
        return replace(self.options, kms_key=self.kms_key).sql(self.layout)

    @property
    def replacement_table_id(self) -> str:
        """The table that is built to replace the destination."""
        return self._beside(REPLACEMENT)

    @property
    def replaced_table_id(self) -> str:
        """The temporary name of the destination during its replacement."""
        return self._beside(REPLACED)

    @property
    def temporary_table_ids(self) -> tuple[str, ...]:
        """The tables that the run deletes at its end. A replaced table is not one: it may hold the only rows."""
        replacement = (self.replacement_table_id,) if self.write_mode is WriteMode.REPLACE else ()
        keys = (self.keys_table_id,) if self.of_keys is not None else ()
        return (*replacement, self.staging_table_id, *keys)

    def _beside(self, kind: str) -> str:
        destination = self.config.destination
        return f"{destination.project}.{destination.dataset}.{kind}_{self.name}"

    @property
    def needs_staging_table(self) -> bool:
        """Whether one load job cannot publish: JSON columns need parsing, and merges and replacements need a query.

        A load job that replaces all rows must load all columns, and each of its partitions counts towards the limit of
        30,000 modifications per day. https://cloud.google.com/bigquery/quotas#partitioned_tables
        """
        if self.schema.rebuilt_columns or self.write_mode is WriteMode.REPLACE or self.replaces_interval:
            return True
        if self.reconciliation is not None:
            return True
        if self.write_mode is WriteMode.MERGE:
            return not self.is_first_load
        is_partial = not self.loads_all_columns or self.layout.partition_field is not None
        return self.write_mode is WriteMode.TRUNCATE and not self.creates_table and is_partial

    @property
    def is_first_load(self) -> bool:
        """Whether one load job can do the merge: the table is new, and the rows have each key and the table's columns.

        Other first runs must be kept from the table by the shared job id.
        """
        return (
            self.creates_table
            and self.has_distinct_keys
            and self.publish_id is not None
            and self.table_schema == self.schema
        )

    @property
    def max_partitions(self) -> int:
        """Maximum number of partitions that the run may write to. A MERGE is one statement; other modes use several."""
        is_one_job = self.write_mode is WriteMode.MERGE and self.reconciliation is None
        return MAX_PARTITIONS_PER_JOB if is_one_job else MAX_PARTITIONS_PER_TABLE

    @property
    def bounds(self) -> TimestampBounds | None:
        """The bounds of the rows' timestamps; None without Smart Sync, and for a comparison of all rows."""
        if self.interval is None or self.interval.is_unbounded or self.timestamp_column is None:
            return None
        smart_sync = self.config.smart_sync
        if self.write_mode is WriteMode.MERGE or (smart_sync is not None and smart_sync.include_null_timestamps):
            return TimestampBounds(self.timestamp_column, None, self.interval.end)
        interval = self.interval
        return TimestampBounds(self.timestamp_column, interval.after, interval.end, interval.is_everything)

    @property
    def more_is_left(self) -> bool:
        """Whether the source has rows after the interval that the next run can load."""
        return self.interval is not None and self.interval.more_is_left

    @property
    def is_backfill(self) -> bool:
        """Whether the run loads an interval again that the user has named."""
        return self.interval is not None and self.interval.is_backfill

    @property
    def replaces_interval(self) -> bool:
        """Whether the run deletes the destination's rows of the interval: a backfill that does not merge."""
        return self.is_backfill and self.write_mode is WriteMode.APPEND and self.reconciliation is None

    @property
    def appends_all(self) -> bool:
        """Whether each run of the sync appends all rows of the source, because nothing tells which ones are loaded."""
        return self.write_mode is WriteMode.APPEND and self.interval is None and self.reconciliation is None

    @property
    def fills_empty_table(self) -> bool:
        """Whether the run must not append to rows: it appends all, and nobody asked for that again and again."""
        return self.appends_all and not self.config.destination.write_disposition_given

    @property
    def may_move_latest(self) -> bool:
        """Whether a backfill deletes the row with the destination's latest timestamp, or may append later ones.

        Smart Sync continues from that timestamp, so no run may append rows that has started from it.
        """
        interval = self.interval
        if interval is None or not self.replaces_interval:
            return False
        return interval.latest is None or not is_later(interval.latest, interval.end)

    @property
    def publish_id(self) -> str | None:
        """Return the publishing job's id, shared by all runs of the sync that start from the same timestamp.

        BigQuery accepts an id once, so only one of them publishes. None if every run publishes what it has read.
        Backfills share an id with others of the same interval, or, if they may move the latest timestamp, with the runs
        that start from it. A repair shares the id of the runs that start from the latest timestamp. Runs that fill an
        empty table share one, as each would append all rows.
        """
        interval = self.interval
        if self.reconciliation is not None and (interval is None or not self.reconciliation.repairs):
            return None
        if interval is None or self.write_mode not in (WriteMode.APPEND, WriteMode.MERGE):
            return self._id_of_append
        if self.is_backfill and not self.may_move_latest and self.reconciliation is None:
            return self._id_from(str(interval))
        return self.id_from_latest

    @property
    def id_from_latest(self) -> str:
        """Return the publishing job's id of the runs of Smart Sync that start from the latest timestamp."""
        assert self.interval is not None, "only an interval starts from a timestamp"
        latest = self.interval.latest
        return self._id_from("empty" if latest is None else bound_text(latest))

    def _id_from(self, start: str) -> str:
        return _hashed_id(self.destination_identity, self.timestamp_column or "", start)

    @property
    def _id_of_append(self) -> str | None:
        """Return the publishing job's id of an append of all rows that must not happen twice; None for all others.

        It fills an empty table, or the platform may attempt it again. Others replace or merge rows, so that another
        attempt has the same effect, or append on purpose.
        """
        if self.fills_empty_table:
            return _hashed_id(self.destination_identity, "empty table")
        if not self.run.execution or self.write_mode is not WriteMode.APPEND:
            return None
        return _hashed_id(self.destination_identity, "execution", self.run.execution)

    @property
    def publishes_once(self) -> bool:
        """Whether the run must not publish after any other run under its `publish_id`, whenever that ended."""
        is_for_good = self.is_published or not self.fills_empty_table
        return self.interval is None and self.publish_id is not None and is_for_good


def _hashed_id(*identity: str) -> str:
    return f"sync-{hashlib.sha256('\n'.join(identity).encode()).hexdigest()[:32]}"
