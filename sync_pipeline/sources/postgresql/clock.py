"""The server's clock, and the latest timestamp at or below which no new row can appear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg2.extensions import connection as Connection

from sync_pipeline.smart_sync.upper_bound import OpenTransaction, upper_bound
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.wal_position import UNGUARDED, WalPosition, read_position
from sync_pipeline.sources.source import SourceClock

# Transactions of this database that may still write, even if they have not yet: rows get the start of the transaction
# as their timestamp, however late it writes them. Excludes backends that never write tables. A session that this user
# may not see can only be recognised by its query text.
_SESSIONS_SQL = """
    SELECT pid, backend_type, state, xact_start, query = '<insufficient privilege>'
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (xact_start IS NOT NULL AND backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')
           OR query = '<insufficient privilege>')
"""

_PREPARED_SQL = "SELECT transaction, prepared FROM pg_prepared_xacts WHERE database = current_database()"

_STANDBY_SQL = "SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()"

# Every user can read these columns. Includes disabled subscriptions, because they may be enabled again.
_SUBSCRIPTIONS_SQL = """
    SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database() ORDER BY s.subname
"""


@dataclass(frozen=True)
class ObservedClock:
    """What the server showed at one moment; each table derives its own upper bound from it.

    Attributes:
        now: the server's clock, in UTC, read before `transactions`.
        newest: the time up to which a standby has replayed; None if it has replayed nothing, or is no standby.
        warnings: sentences about rows that no upper bound covers.
        position: what later servers must have, read after `transactions`; None if the server does not tell it.
    """

    now: datetime
    transactions: Sequence[OpenTransaction]
    is_standby: bool
    newest: datetime | None
    warnings: tuple[str, ...]
    position: WalPosition | None

    def clock(self, settle: timedelta, max_hold: timedelta) -> SourceClock:
        """Return the clock with the upper bound for these settings; see `smart_sync.upper_bound`."""
        safe = upper_bound(self.now, self.transactions, settle=settle, max_hold=max_hold, newest=self.newest)
        return SourceClock(self.now, safe.end, risks=(*self.warnings, *safe.warnings))


def observe_clock(connection: Connection) -> ObservedClock:
    """Read the server's clock, then its open transactions. The run reads the rows after both.

    With this order, a transaction that begins in between is seen and never missed.
    """
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now = cursor.fetchone()[0].astimezone(UTC)
        cursor.execute(_STANDBY_SQL)
        is_standby, replayed = cursor.fetchone()
        cursor.execute(_SESSIONS_SQL)
        sessions = cursor.fetchall()
        cursor.execute(_PREPARED_SQL)
        prepared = cursor.fetchall()
        cursor.execute(_SUBSCRIPTIONS_SQL)
        subscriptions = [name for (name,) in cursor.fetchall()]
    position = read_position(connection)
    transactions = [
        OpenTransaction(started.astimezone(UTC), f"the {kind} with pid {pid} ({state or 'active'})")
        for pid, kind, state, started, hidden in sessions
        if not hidden
    ]
    transactions += [
        OpenTransaction(moment.astimezone(UTC), f"the prepared transaction {xid}", start_is_known=False)
        for xid, moment in prepared
    ]
    warnings = []
    hidden_sessions = sum(hidden for *_, hidden in sessions)
    if hidden_sessions:
        warnings.append(
            f"{hidden_sessions} session(s) of other users are hidden from this user: only smart_sync_settle_seconds "
            "covers a transaction of theirs that commits late. GRANT pg_read_all_stats to the user"
        )
    if subscriptions:
        warnings.append(
            f"the database subscribes to another ({', '.join(subscriptions)}): its rows arrive late, with timestamps "
            "of the publisher, whose open transactions are not visible here. Only smart_sync_settle_seconds covers "
            "them (or, with primary_key, smart_sync_lookback_seconds). Read from the publisher instead"
        )
    if position is None:
        warnings.append(UNGUARDED)
    newest = None
    if is_standby:
        newest = replayed.astimezone(UTC) if replayed else None
        warnings.append(
            "the server is a standby: open transactions of the primary are not visible here. Only "
            "smart_sync_settle_seconds covers them (or, with primary_key, smart_sync_lookback_seconds)"
        )
    return ObservedClock(now, transactions, is_standby, newest, tuple(warnings), position)
