"""`Reconciliation`: how a run compares the destination with the source."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.smart_sync.interval import Bound


@dataclass(frozen=True)
class NextRun:
    """What the next run of Smart Sync will do by itself, so that it does not count as a difference.

    Attributes:
        after: it reads the rows with a later timestamp; None if it reads all rows that have one.
        upper_bound: the source's safe upper bound. Every row up to it was committed before the source was read; a later
            row of the destination comes from a run that has read the source later.
        includes_null: whether it reads rows without a timestamp.
        deletes: whether it removes or marks the rows that the source no longer has.
        unmarks: whether it takes the mark from rows that the source has again.
        keeps_versions: whether it appends, so that older versions of rows stay in the destination.
    """

    after: Bound | None
    upper_bound: Bound
    includes_null: bool
    deletes: bool
    unmarks: bool
    keeps_versions: bool


@dataclass(frozen=True)
class Reconciliation:
    """How the destination is compared with the source. Rows are compared by the table's `primary_key`, else whole.

    Attributes:
        repairs: whether the differing rows are corrected.
        max_percent: the most rows of the destination, in percent, that a repair may remove.
        next_run: None without Smart Sync, where nothing tells a row that is new from one that is missing.
        mark: the destination's column of marks, whose rows the source need not have; None without it.
        content: a checksum of the destination when the run looked at it, by which another run that has changed it
            meanwhile is found; None with Smart Sync, where the publishing job's id does that.
    """

    repairs: bool
    max_percent: int
    next_run: NextRun | None
    mark: str | None
    content: str | None
