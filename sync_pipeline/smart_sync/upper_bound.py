"""The end of an interval: the latest timestamp at or below which no new row can appear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_pipeline.smart_sync.interval import bound_text

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class OpenTransaction:
    """An open transaction of another session. It may still commit rows with its start as their timestamp.

    Attributes:
        started_at: when it began; if unknown, an instant at or after its beginning.
        name: its kind and process id, for the log; never its query.
        start_is_known: False for a prepared transaction: the server reports when it was prepared, not when it began.
    """

    started_at: datetime
    name: str
    start_is_known: bool = True


@dataclass(frozen=True)
class UpperBound:
    """The end of the interval, and warnings about it."""

    end: datetime
    warnings: tuple[str, ...] = ()


def upper_bound(
    now: datetime,
    transactions: Sequence[OpenTransaction],
    *,
    settle: timedelta,
    max_hold: timedelta,
    newest: datetime | None = None,
) -> UpperBound:
    """Return the latest end at or below which no new row can appear.

    Args:
        now: the source's clock, read before `transactions`.
        transactions: all transactions that were open after `now` was read.
        settle: safety margin. A session may have taken its start time and not be visible yet, and applications stamp
            rows a little before they write them.
        max_hold: a transaction open for longer no longer holds the end back; the run warns and continues. If the start
            of a transaction is unknown, it is assumed to lie at most `max_hold` before `started_at`.
        newest: the time up to which a replica has copied the rows; None if the server has all rows.
    """
    end = now if newest is None else min(now, newest)
    holder: OpenTransaction | None = None
    warnings = []
    for transaction in transactions:
        since = f"{transaction.name}, open since {bound_text(transaction.started_at)}"
        if now - transaction.started_at > max_hold:
            warnings.append(
                f"{since}, is older than smart_sync_max_hold_seconds={max_hold.total_seconds():.0f} and no longer "
                "holds the sync back: rows that it commits with timestamps from its beginning WILL BE MISSED. End it, "
                "or use primary_key with smart_sync_lookback_seconds"
            )
            continue
        # In PostgreSQL now() returns the start of the transaction, so a row's timestamp may equal it.
        before = transaction.started_at - _MICROSECOND - (timedelta() if transaction.start_is_known else max_hold)
        if before < end:
            end, holder = before, transaction
    if holder is not None and now - end > settle:
        warnings.insert(0, f"the end is held back to before {holder.name}, open since {bound_text(holder.started_at)}")
    return UpperBound(end - settle, tuple(warnings))
