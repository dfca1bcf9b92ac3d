"""The limit on the rows that a run may take from its table: as a function, and as a condition of its script.

A source that suddenly shows nothing, or little, must not empty a table.
"""

from __future__ import annotations

from sync_pipeline.planning.deletions import ALL_PERCENT, SMALL_TABLE_ROWS


def is_too_many(removed: int, existing: int, before: int, max_percent: int) -> bool:
    """Return whether a run must not remove, or mark, so many rows.

    Args:
        existing: the table's rows; see `SMALL_TABLE_ROWS`.
        before: those that were there before the run. Below 100 percent, not all of them may go.
    """
    is_beyond = removed * 100 > max_percent * max(existing, SMALL_TABLE_ROWS)
    return is_beyond or (max_percent < ALL_PERCENT and takes_all(removed, before))


def takes_all(removed: int, before: int) -> bool:
    """Return whether the removed rows may be all that were there before the run."""
    return 0 < before <= removed


def allowed_sql(removed: str, existing: str, before: str, max_percent: int) -> str:
    """Return the condition that there are rows to remove, and that `is_too_many` is false, for SQL expressions."""
    conditions = [
        f"{removed} > 0",
        f"{removed} * 100 <= {max_percent} * GREATEST({existing}, {SMALL_TABLE_ROWS})",
    ]
    if max_percent < ALL_PERCENT:
        conditions.append(f"({before} = 0 OR {removed} < {before})")
    return " AND ".join(conditions)
