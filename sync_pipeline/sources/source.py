"""What every source does, and the values that pass between launch and run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Protocol

import apache_beam as beam
import pyarrow as pa

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.smart_sync.wall_clock import WallClock


@dataclass(frozen=True)
class SourceClock:
    """What a source says before anything else is known: the first step of planning.

    Attributes:
        now: the source's own clock, aware, in UTC.
        upper_bound: the latest end of an interval below which no row can appear any more.
        wall_clock: where Smart Sync's column has no time zone, the clock of its stamps; `now` and `upper_bound` are
            readings of it then, written as UTC.
        transport: what protects the connection to the source; empty where Google's own clients do.
        risks: sentences for the plan, on the connection and on what the interval may miss.
    """

    now: datetime
    upper_bound: datetime
    wall_clock: WallClock | None = None
    transport: str = ""
    risks: tuple[str, ...] = ()

    def as_shown_by(self, wall_clock: WallClock | None) -> SourceClock:
        """Return the clock as the wall clock of the stamps shows it; the same where there is none."""
        if wall_clock is None:
            return self
        now, upper_bound = wall_clock.reading(self.now), wall_clock.passed(self.upper_bound)
        return replace(self, now=now, upper_bound=upper_bound, wall_clock=wall_clock)


@dataclass(frozen=True)
class SourceDescription:
    """The columns of the rows that a run reads.

    Attributes:
        schema: the query's columns with the BigQuery types we would choose for them.
        primary_key: columns that `source_table_for_schema` declares unique and that the query returns
            unchanged; empty where unknown.
        single_table: the query reads that one table alone, and none of its rows twice, so that its key is the query's
            key too.
        risks: sentences for the plan.
        default_primary_key: columns that identify a row and never change. Where the source updates rows in place, Smart
            Sync merges by them when no primary_key is given; empty where it appends then.
        has_dynamic_schema: rows may have columns, and values of types, that schema inference has not seen. The
            destination's columns are read too, and each value is checked: an existing column keeps its type.
        transformation: what is left to do with the columns, by their names, where the source itself chooses and hashes
            fields of its rows, whose names need not be columns'.
        nothing_seen: why no column is known, where none is, and what to do.
    """

    schema: Schema
    primary_key: tuple[str, ...] = ()
    single_table: bool = False
    risks: tuple[str, ...] = ()
    default_primary_key: tuple[str, ...] = ()
    has_dynamic_schema: bool = False
    transformation: TransformationConfig | None = None
    nothing_seen: str = (
        "the source has no rows for this run, so that nobody can tell the columns of the table: run again when there "
        "are some"
    )


class RecordBatchCoder(beam.coders.Coder):
    """Record batches as Arrow streams.

    The steps are fused, so batches are hardly ever encoded. But Beam weighs some of its elements, and without a coder
    that knows the size it would pickle them for it.
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
    """A row that does not fit.

    Attributes:
        columns: the columns whose values do not fit, by their source names.
        reason: why, without the values.
        row: every column that was read, as the source's text; None is NULL.
        column_of: names in `row` that are not their column's own, and the column.
    """

    columns: tuple[str, ...]
    reason: str
    row: Mapping[str, str | None]
    column_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadSplit:
    """One part of the read, done by one worker on one connection.

    Attributes:
        index: from 1.
        count: the number of splits of the read.
        statement: what is sent to the source.
    """

    index: int
    count: int
    statement: str


@dataclass(frozen=True)
class Selection:
    """The rows of a source that lies in BigQuery, as a query: where that can run, no worker has to read them.

    Attributes:
        sql: the query; it has at least the columns of `schema`.
        schema: the source's columns, with their types there.
        location: of the tables it reads; None when it reads none, and can run anywhere.
        default_project, default_dataset: where names without a project, or a dataset, are looked up.
        maximum_bytes_billed: BigQuery refuses to read more; None for no limit.
        estimated_bytes: what a dry run says; None where it says nothing.
        declined: why workers have to read the rows even if the query can run; empty if nothing prevents it.
        required: the error if the query cannot run, with `{blocker}` for the reason; empty unless the user requires it.
        is_sure: every row that it returns lies in the interval.
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
    is_sure: bool = False


@dataclass(frozen=True)
class ReadPlan:
    """How the rows will be read.

    Attributes:
        query: the final query, placeholders filled, as it is shown to a person.
        splits: at least one.
        estimated_rows: from the source's planner, None when it does not say.
        splitting: why there are so many splits, as the rest of a sentence.
        how: a sentence on how the rows are read, where the number of splits does not tell it.
        costs: a sentence on what reading costs, empty where it costs nothing.
        selection: the same rows for the destination to select, None for a source elsewhere.
    """

    query: str
    splits: tuple[ReadSplit, ...]
    estimated_rows: int | None = None
    splitting: str = ""
    risks: tuple[str, ...] = ()
    how: str = ""
    costs: str = ""
    selection: Selection | None = None


class SplitReader(Protocol):
    """Reads one split of a source on a worker, where it comes by pickle.

    Attributes:
        rows: what the source calls its rows.
        part: what it calls a split.
    """

    rows: ClassVar[str] = "rows"
    part: ClassVar[str] = "split"

    def read(self, split: Any) -> Generator[pa.Table | DeadLetter]:
        """Yield the rows of the split, in order: tables of `schema.arrow`, and a `DeadLetter` for each invalid row.

        Connecting may be retried; once rows were yielded, the runner has to repeat the whole bundle. Raises SyncError.
        """


@dataclass(frozen=True)
class TableRead:
    """How the rows of one table are read on a worker.

    Attributes:
        batch_size: the largest number of rows in one batch.
        keeps_dead_letters: an invalid row is an element of the output `DEAD_LETTERS`, instead of an error.
    """

    reader: SplitReader
    batch_size: int
    keeps_dead_letters: bool = False


class SourceSession(Protocol):
    """A source while a run is planned. Planning asks in this order, and asks each question once.

    Raises SourceError or SchemaError.
    """

    @property
    def clock(self) -> SourceClock:
        """The source's clock. It was read first of all: no row is read, and no interval chosen, before."""

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        """Return the columns of the rows in `interval`; None is all rows, without Smart Sync."""

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return how the columns of `schema`, of the rows in `interval`, will be read.

        `schema` has columns of the description, each with the type that it is read as, and where the description has a
        dynamic schema, columns of the destination besides.
        """


class Source(Protocol):
    """A place rows come from. Building one opens no connection.

    Attributes:
        transform: makes the source's `ReadRows`, whose name is the namespace of the counters.
    """

    @property
    def transform(self) -> Callable[..., beam.PTransform]: ...

    def connect(self) -> AbstractContextManager[SourceSession]:
        """Connect for planning, and read the clock: one connection serves the whole launch.

        Between two questions the destination is asked, which may take minutes: hold no lock and no transaction open.
        Raises SourceError or SchemaError.
        """

    def reader(self, schema: Schema) -> SplitReader:
        """Return what reads the splits of the plan, into the columns of `schema`."""
