"""`Deletions`: how a merge finds and treats the rows that the source no longer has."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.source import ReadPlan

# A table with fewer rows counts as one with so many against `Deletions.max_percent`: of ten rows one is 10 %.
SMALL_TABLE_ROWS = 100

# The value of `Deletions.max_percent` that sets no limit.
ALL_PERCENT = 100

# The column of deletes=mark.
MARK = Field("_deleted_at", "TIMESTAMP", description="when a run found that the source no longer has the row")


@dataclass(frozen=True)
class KeyRead:
    """The read of the keys of all rows of the source.

    Attributes:
        read_schema: the key columns, with source names.
        schema: the key columns, with destination names.
        transformation: of the key columns.
    """

    read: ReadPlan
    read_schema: Schema
    schema: Schema
    transformation: TransformationConfig


@dataclass(frozen=True)
class Deletions:
    """How a merge treats rows that the source no longer has.

    Attributes:
        marks: whether they get a time in the column `MARK` instead of being removed.
        max_percent: the most rows of the destination, in percent, that a run may remove or mark; see
            `SMALL_TABLE_ROWS`. Below 100, a run never removes or marks all rows that were there before it.
        keys: None if the destination is new, so that no row can be missing at the source.
    """

    marks: bool
    max_percent: int
    keys: KeyRead | None
