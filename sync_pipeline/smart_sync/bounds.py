"""Bounds that the timestamps or numbers of an interval's rows must lie within."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.smart_sync.interval import Bound
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER


@dataclass(frozen=True)
class TimestampBounds:
    """The bounds of every row that a run reads: `after` < timestamp <= `until`.

    A row beyond `until` would move the destination's latest timestamp past rows that are not visible yet. A row at or
    before `after` was loaded by an earlier run. A merge may load such rows again, and rows without a timestamp: there
    `after` is None.

    Attributes:
        refuses_null: whether a row without a timestamp is rejected even if `after` is None.
    """

    column: str
    after: Bound | None
    until: Bound
    refuses_null: bool = False

    @property
    def problem(self) -> str:
        """The error message for a query that returns a row outside the bounds."""
        return (
            f"the query returns rows whose {self.column} is NULL or outside the interval: it must select "
            f"{self.column} > '{START_PLACEHOLDER}' AND {self.column} <= '{END_PLACEHOLDER}' on the same column that "
            "it returns"
        )
