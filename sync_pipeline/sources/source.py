"""The interface of sources, and the values that they exchange with planning and workers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import apache_beam as beam
import pyarrow as pa

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.interval import Bound, SyncInterval, as_moment
from sync_pipeline.smart_sync.steps import TimestampRange
from sync_pipeline.smart_sync.wall_clock import WallClock


@dataclass(frozen=True)
class SourceClock:
    """The source's clock, the first result of planning.

    Attributes:
        now: the source's own clock, aware, in UTC; for Smart Sync by a sequence, its last number.
        upper_bound: the latest end of an interval at or below which no new row can appear.
        wall_clock: the clock of a timestamp column without a time zone; `now` and `upper_bound` are then its
            readings, written as UTC.
        transport: the encryption of the connection to the source; empty for Google's own clients.
        risks: warnings about the connection and about rows that the interval may miss.
    """

    now: Bound
    upper_bound: Bound
    wall_clock: WallClock | None = None
    transport: str = ""
    risks: tuple[str, ...] = ()

    @property
    def has_numbers(self) -> bool:
        """Whether Smart Sync reads by numbers of a sequence."""
        return isinstance(self.upper_bound, int)

    def as_shown_by(self, wall_clock: WallClock | None) -> SourceClock:
        """Return the clock as the wall clock of the stamps shows it; the same where there is none."""
        if wall_clock is None:
            return self
        now, upper_bound = wall_clock.reading(as_moment(self.now)), wall_clock.passed(as_moment(self.upper_bound))
        return replace(self, now=now, upper_bound=upper_bound, wall_clock=wall_clock)


@dataclass(frozen=True)
class SourceDescription:
    """The columns of the rows that a run reads.

    Attributes:
        schema: the query's columns with the default BigQuery types.
        primary_key: columns that `source_table_for_schema` declares unique and that the query returns unchanged; empty
            if unknown.
        single_table: whether the query reads only that table, and each of its rows once, so that the table's key
            is also the query's key.
        risks: warnings for the plan.
        default_primary_key: columns that identify a row and never change, for a source that updates rows in place.
            Smart Sync merges by them if no primary_key is given; if empty, it appends.
        has_dynamic_schema: whether rows may have columns and types that schema inference has not seen. The run also
            reads the destination's other columns and checks each value, so an existing column keeps its type.
        transformation: the remaining transformation of columns, for a source that selects and hashes fields itself,
            because names of fields and columns may differ.
        nothing_seen: if no column is known, the reason and the remedy; empty if there are no rows.
    """

    schema: Schema
    primary_key: tuple[str, ...] = ()
    single_table: bool = False
    risks: tuple[str, ...] = ()
    default_primary_key: tuple[str, ...] = ()
    has_dynamic_schema: bool = False
    transformation: TransformationConfig | None = None
    nothing_seen: str = ""


class RecordBatchCoder(beam.coders.Coder):
    """Record batches as Arrow streams.

    The steps are fused, so batches are rarely encoded. But Beam estimates the size of some elements, and would pickle
    them without a coder that knows the size.
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as stream:
            stream.write_batch(value)
        return bytes(sink.getvalue().to_pybytes())

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        with pa.ipc.open_stream(encoded) as stream:
            return stream.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)

# The outputs of a read.
BATCHES, DEAD_LETTERS = "batches", "dead_letters"


@dataclass(frozen=True)
class DeadLetter:
    """A rejected row.

    Attributes:
        columns: source names of the columns with invalid values.
        reason: the reason, without values.
        row: the source's text of each column; None is NULL.
        column_of: the column of each name in `row` that differs from its column's name.
    """

    columns: tuple[str, ...]
    reason: str
    row: Mapping[str, str | None]
    column_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadSplit:
    """One split of the read, for one worker on one connection.

    Attributes:
        index: number of the split, from 1.
        count: the number of splits of the read.
        statement: the statement for the source.
    """

    index: int
    count: int
    statement: str


@dataclass(frozen=True)
class Selection:
    """The rows of a source in BigQuery as a query, for query pushdown.

    Attributes:
        sql: the query, with at least the columns of `schema`.
        schema: the source's columns, with their types in the source.
        location: the location of its tables; None if it reads none and can run anywhere.
        default_project, default_dataset: defaults for names without a project or dataset.
        maximum_bytes_billed: BigQuery's limit on the bytes to read; None for no limit.
        estimated_bytes: the estimate of a dry run; None without one.
        declined: why workers have to read the rows even if the query can run; empty if nothing prevents it.
        required: the error if the query cannot run, with `{blocker}` for the reason; empty unless the user requires it.
        is_bounded_by_interval: every row that it returns lies in the interval.
    """

    sql: str
    schema: Schema
    location: str | None
    default_project: str
    default_dataset: str | None = None
    maximum_bytes_billed: int | None = None
    estimated_bytes: int | None = None
    declined: str = ""
    required: str = ""
    is_bounded_by_interval: bool = False


@dataclass(frozen=True)
class ReadPlan:
    """The plan of a read.

    Attributes:
        query: the query with placeholders filled, for the plan.
        splits: at least one.
        estimated_rows: the source's estimate, None without one.
        estimated_bytes: the source's estimate of these rows' size as it stores them, None without one.
        splitting: the reason for the number of splits, worded to follow it.
        how: a description of the read, if the number of splits is not known; else empty.
        costs: a sentence on the cost of the read; empty if it is free.
        selection: the same rows as a query in BigQuery; None for a source outside BigQuery.
        parallel_reads: how many parts of the read the workers can read at once; None if each split is one.
    """

    query: str
    splits: tuple[ReadSplit, ...]
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    splitting: str = ""
    risks: tuple[str, ...] = ()
    how: str = ""
    costs: str = ""
    selection: Selection | None = None
    parallel_reads: int | None = None


class SplitReader(Protocol):
    """Reads one split of a source on a worker. Workers receive it by pickle.

    Attributes:
        rows: the source's word for rows.
        part: the source's word for a split.
    """

    rows: ClassVar[str] = "rows"
    part: ClassVar[str] = "split"

    def read(self, split: Any) -> Generator[pa.Table | DeadLetter]:
        """Yield the rows of the split: tables of `schema.arrow`, and a `DeadLetter` for each invalid row.

        May retry connecting. After the first rows are yielded, only the runner may repeat the whole bundle. Raises
        SyncError.
        """

    def close_idle(self) -> None:
        """Close what the calling thread keeps open after a read, for the next one of any table of the same source."""
        return


@dataclass(frozen=True)
class TableRead:
    """The read of one table on a worker.

    Attributes:
        batch_size: maximum number of rows in a batch; None for batches as they are read, of some MiB.
        keeps_dead_letters: emit an invalid row to the output `DEAD_LETTERS` instead of raising an error.
        table: its name in the log; empty for the only table of a run.
        counted: what its counters count: rows, or the keys of all rows.
    """

    reader: SplitReader
    batch_size: int | None
    keeps_dead_letters: bool = False
    table: str = ""
    counted: str = "rows"


class SourceSession(Protocol):
    """A connected source during planning. Planning calls each method once, in this order.

    All methods raise ConfigError, SourceError or SchemaError.
    """

    @property
    def clock(self) -> SourceClock:
        """The source's clock. The session reads it first, before any row and before the interval is chosen."""

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        """Return the columns of the rows in `interval`; None means all rows, without Smart Sync."""

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Plan the read of the columns of `schema` for the rows in `interval`.

        `schema` has columns of the description with the types to read them as; with a dynamic schema also columns of
        the destination.
        """


@runtime_checkable
class ReadsKeys(Protocol):
    """A session whose source can read the keys of all rows; `SourceDeclaration.reads_keys` says so."""

    def plan_keys(self, schema: Schema) -> ReadPlan:
        """Plan the read of the key columns in `schema` for all rows of the table, or of the query with its own filter.

        Planning calls this after `plan_read`. A key that the source has during the whole read must be read: so splits
        are ranges of a key column. Raises what the methods of `SourceSession` do.
        """


@runtime_checkable
class FindsTimestamps(Protocol):
    """A session whose source can tell the range of timestamps, so that a long interval is read in steps."""

    def timestamp_range(self, interval: SyncInterval) -> TimestampRange | None:
        """Return the earliest and the latest timestamp of the rows in `interval`; None if no row has one.

        Planning calls this before `describe`, and only for an interval that may be too long. If Smart Sync's column is
        missing, or no timestamp, it returns None: a later step has the error. Raises what the methods of
        `SourceSession` do.
        """


@runtime_checkable
class HoldsReads(Protocol):
    """A source that reads more consistently, or faster, while the launcher keeps something open until the end."""

    def holding(self) -> Source:
        """Return the source for such a launcher. Its plans may need `hold`."""

    def hold(self, read: ReadPlan) -> AbstractContextManager[ReadPlan]:
        """Return the planned read as the workers get it, until the end of which the launcher keeps what it needs."""


@runtime_checkable
class PlansHeldReads(Protocol):
    """A session of one table whose source `HoldsReads`."""

    def holding(self) -> SourceSession:
        """Return the session for a launcher that calls `HoldsReads.hold`."""


@runtime_checkable
class NumbersRows(Protocol):
    """A session whose source can number rows by a sequence, so that Smart Sync reads by these numbers."""

    def last_number(self) -> int:
        """Return the last number that the sequence of Smart Sync's column has given out by now. Raises SourceError."""


class Source(Protocol):
    """A source of rows. Its constructor opens no connection.

    Attributes:
        transform: creates the source's `ReadRows`, whose class name is the namespace of the counters.
    """

    @property
    def transform(self) -> Callable[..., beam.PTransform]: ...

    def connect(self) -> AbstractContextManager[SourceSession]:
        """Connect for planning and read the clock. The launch uses a single connection.

        Between two calls, planning queries the destination, which may take minutes. So hold no locks or transactions.

        Raises:
            ConfigError: a parameter, or what it names, is wrong.
            SourceError: the source cannot be reached or rejects a request.
            SchemaError: its columns are invalid.
        """

    def reader(self, schema: Schema) -> SplitReader:
        """Return the reader of the plan's splits into the columns of `schema`."""
