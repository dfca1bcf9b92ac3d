"""What a comparison, a repair and the limit on removed rows must come to, from the rows of source and destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from tests.integration.history_sites import Row, ViolationError

# Missing, different and surplus rows.
Differences = tuple[int, int, int]
NONE: Differences = (0, 0, 0)

_EARLIEST = datetime.min.replace(tzinfo=UTC)

# Rows of somebody else are stamped with a later time.
FUTURE = datetime(2098, 1, 1, tzinfo=UTC)


def latest_of(there: Sequence[Row], end: datetime) -> datetime:
    """Return the timestamp from which the next run starts, when the source's clock shows `end`."""
    return max((row[3] for row in there if row[3] is not None and row[3] <= end), default=_EARLIEST)


def differences(
    source: Sequence[Row], there: Sequence[Row], latest: datetime, *, merges: bool, deletes: bool
) -> Differences:
    """Return how many rows differ, without those that the next run mends.

    Args:
        source, there: id, version, note, updated_at; of the destination's rows also whether they are marked.
        latest: the next run reads the rows that are later, and those without a timestamp if it `merges`.
        deletes: whether it removes or marks the rows that the source does not have.
    """
    counted = Counter(row[:4] for row in there)
    synced = Counter(row for row in source if row[3] is not None and row[3] <= latest)
    if not merges:
        repeated = sum(count - synced[row] for row, count in counted.items() if synced[row])
        return (synced - counted).total(), 0, max(repeated, 0)
    copies = Counter(row[0] for row in there)
    known = {row[0] for row in source}
    unknown = 0 if deletes else sum(count for key, count in copies.items() if key not in known)
    repeated = sum(count - 1 for key, count in copies.items() if key in known)
    wrong = [row for row in synced if row not in counted]
    missing = sum(not copies[row[0]] for row in wrong)
    return missing, len(wrong) - missing, unknown + repeated


def without_later(source: Sequence[Row], there: Sequence[Row], end: datetime) -> tuple[list[Row], list[Row]]:
    """Return both sides without the keys of rows that a run has loaded that read the source after `end`."""
    later = {row[0] for row in there if row[3] is not None and end < row[3] < FUTURE}
    return [row for row in source if row[0] not in later], [row for row in there if row[0] not in later]


def check_deletion(there: Sequence[Row], rows: Collection[int], keys: Collection[int], end: datetime) -> None:
    """Check that a table that a run has changed has the run's rows, and none that the source lacks.

    Args:
        rows: the keys of the rows that the run has read.
        keys: those of the whole source.
        end: of the run's interval; later rows are not judged.
    """
    unmarked = {row[0] for row in there if not row[4]}
    if lost := set(rows) & set(keys) - unmarked:
        raise ViolationError(f"rows that the source lacks are gone, and those of the run are not there: {lost}")
    judged = {row[0] for row in there if row[3] is None or row[3] <= end or row[3] > FUTURE}
    if left := judged & unmarked - set(keys):
        raise ViolationError(f"rows of the run are there, and those that the source lacks are not gone: {left}")


def is_beyond(removed: int, rows: int, max_percent: int, small_table: int) -> bool:
    """Return whether so many rows of a table must stay."""
    return removed > max_percent / 100 * max(rows, small_table) or 0 < rows <= removed
