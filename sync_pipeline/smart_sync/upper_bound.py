"""The end of an interval: the latest timestamp below which no row can appear any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_pipeline.smart_sync.interval import timestamp_text

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction of another session that has not ended, and may commit rows stamped with its start.

    Attributes:
        started_at: when it began, or the latest moment by which it must have begun.
        name: for the log: its process and what it is, never its query.
        start_is_known: False for a prepared transaction: the server tells when it was prepared, not when it began.
    """

    started_at: datetime
    name: str
    start_is_known: bool = True


@dataclass(frozen=True)
class UpperBound:
    """The end of the interval, and what is to be said about it."""

    end: datetime
    warnings: tuple[str, ...] = ()


def upper_bound(
    now: datetime, transactions: Sequence[OpenTransaction], *, settle: timedelta, max_hold: timedelta
) -> UpperBound:
    """Return the latest end below which no row can appear any more.

    Args:
        now: the source's clock, read before `transactions` was.
        transactions: all that were open after `now` was read.
        settle: how far to stay behind: a session can have taken its start and not be visible yet, and applications
            stamp rows a little before they write them.
        max_hold: a transaction that has been open for longer does not hold the end back any more, and is warned of.
            Of one whose start is not known it is taken that it was not open for longer before.
    """
    end = now
    holder: OpenTransaction | None = None
    warnings = []
    for transaction in transactions:
        since = f"{transaction.name}, open since {timestamp_text(transaction.started_at)}"
        if now - transaction.started_at > max_hold:
            warnings.append(
                f"{since}, is older than smart_sync_max_hold_seconds={max_hold.total_seconds():.0f} and does not hold "
                "the sync back any more: rows that it commits with a stamp from its beginning WILL BE MISSED. End it, "
                "or use primary_key with smart_sync_lookback_seconds"
            )
            continue
        # Rows stamped with now() carry the very start of their transaction.
        before = transaction.started_at - _MICROSECOND - (timedelta() if transaction.start_is_known else max_hold)
        if before < end:
            end, holder = before, transaction
    if holder is not None and now - end > settle:
        warnings.insert(
            0, f"the end is held back to before {holder.name}, open since {timestamp_text(holder.started_at)}"
        )
    return UpperBound(end - settle, tuple(warnings))
