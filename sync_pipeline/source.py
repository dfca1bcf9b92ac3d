"""What every source does, and the values that pass between launch and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import apache_beam as beam

from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync import SyncInterval


@dataclass(frozen=True)
class SourceDescription:
    """What a source says of itself at launch.

    Attributes:
        schema: the query's columns with the BigQuery types we would choose for them.
        now: the source's own clock, aware, in UTC.
        safe_end: the latest end of an interval below which no row can appear any more.
        primary_key: columns that `source_table_for_schema` declares unique and that the query returns
            unchanged; empty where unknown.
        single_table: every column comes straight from that one table, so its key is the query's key too,
            unless the query repeats rows.
        risks: sentences for the plan.
    """

    schema: Schema
    now: datetime
    safe_end: datetime
    primary_key: tuple[str, ...] = ()
    single_table: bool = False
    risks: tuple[str, ...] = ()


# The outputs of a read.
BATCHES, DEAD_LETTERS = "batches", "dead_letters"


@dataclass(frozen=True)
class DeadLetter:
    """A row that does not fit.

    Attributes:
        columns: the columns whose values do not fit, by their source names.
        reason: why, without the values.
        row: every column that was read, as the source's text; None is NULL.
    """

    columns: tuple[str, ...]
    reason: str
    row: Mapping[str, str | None]


@dataclass(frozen=True)
class Partition:
    """One part of the read, done by one worker on one connection.

    Attributes:
        index: from 1.
        count: how many partitions the read has.
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
        demand: `auto`, or the way that `source_bigquery_read` demands.
        is_sure: every row that it returns lies in the interval.
    """

    sql: str
    schema: Schema
    location: str | None
    default_project: str
    default_dataset: str | None = None
    maximum_bytes_billed: int | None = None
    estimated_bytes: int | None = None
    demand: str = "auto"
    is_sure: bool = False


@dataclass(frozen=True)
class ReadPlan:
    """How the rows will be read.

    Attributes:
        query: the final query, placeholders filled, as it is shown to a person.
        partitions: at least one.
        estimated_rows: from the source's planner, None when it does not say.
        how: a sentence on how the rows are read, where the number of partitions does not tell it.
        costs: a sentence on what reading costs, empty where it costs nothing.
        selection: the same rows for the destination to select, None for a source elsewhere.
    """

    query: str
    partitions: tuple[Partition, ...]
    estimated_rows: int | None = None
    risks: tuple[str, ...] = ()
    how: str = ""
    costs: str = ""
    selection: Selection | None = None


class Source(Protocol):
    """A place rows come from. Building one opens no connection."""

    def describe(self) -> SourceDescription:
        """Return the query's columns and the source's clock. Raises SourceError or SchemaError."""

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        """Return how the columns of `schema`, of the rows in `interval`, will be read."""

    def read(self, schema: Schema) -> beam.PTransform:
        """Return the transform from `Partition`s to two outputs: `BATCHES` and `DEAD_LETTERS`.

        Batches are `pyarrow.RecordBatch`es with `schema.arrow`. Where the run has no dead letter table, a row that does
        not fit raises RecordError.
        """
