"""Where rows are staged, and the limits that they must keep. `TableSync.staging_folder` names the folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_TABLE
from sync_pipeline.errors import SourceQueryError
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import Bound


@dataclass(frozen=True)
class StagingTarget:
    """Where rows are staged, and the limits that they must keep.

    Attributes:
        folder: `gs://…/`.
        schema: the columns of the batches and of the files.
        layout: of their table; BigQuery limits the number of its partitions.
        bounds: the limits of the rows' timestamps, None where there are none.
        max_partitions: the most partitions of that table that the rows may belong to.
        is_dead_letters: the rows are for the dead letter table.
        is_keys: they are keys of the source, to find deleted rows.
    """

    folder: str
    schema: Schema
    layout: TableLayout
    bounds: TimestampBounds | None = None
    max_partitions: int = MAX_PARTITIONS_PER_TABLE
    is_dead_letters: bool = False
    is_keys: bool = False


def rows_target(table: TableSync) -> StagingTarget:
    """Return where the rows of the run are staged."""
    return StagingTarget(
        table.staging_folder,
        table.schema,
        table.layout,
        table.bounds,
        table.max_partitions,
        is_keys=table.reads_keys,
    )


def partitions_of(rows: pa.Table, layout: TableLayout) -> frozenset[str | None]:
    """Return the partitions that `rows` belong to; none when the table has no partition column."""
    if layout.partition_field is None:
        return frozenset()
    # An existing table may spell it otherwise, or be partitioned by a column that is not loaded, and so NULL.
    names = {name.lower(): name for name in rows.column_names}
    name = names.get(layout.partition_field.lower())
    if name is None:
        return frozenset({None})
    column = rows.column(name)
    floors = pc.floor_temporal(column, unit=layout.partition_granularity.lower())
    return frozenset(None if floor is None else floor.isoformat() for floor in pc.unique(floors).to_pylist())


def _as_value(moment: Bound, type_: pa.DataType) -> Any:
    """Return a bound as the values of a column: DATE and DATETIME have no time zone, and their wall clock is UTC."""
    if not isinstance(moment, datetime):
        return moment
    if pa.types.is_date(type_):
        return moment.date()
    return moment if type_.tz else moment.replace(tzinfo=None)


def check_bounds(rows: pa.Table, bounds: TimestampBounds) -> None:
    """Raise SourceQueryError when a row's timestamp lies outside the interval.

    A row before the interval was loaded by an earlier run; one after it would hide rows that are still to come.
    """
    column = rows.column(bounds.column)
    after, until = (
        None if moment is None else _as_value(moment, column.type) for moment in (bounds.after, bounds.until)
    )
    extremes = pc.min_max(column)
    first, last = extremes["min"].as_py(), extremes["max"].as_py()
    has_null = (after is not None or bounds.refuses_null) and column.null_count > 0
    is_before = after is not None and first is not None and first <= after
    if has_null or is_before or (last is not None and last > until):
        raise SourceQueryError(bounds.problem)
