"""The server's clock, and how far below it no row can appear any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from psycopg2.extensions import connection as Connection

from sync_pipeline.smart_sync.upper_bound import OpenTransaction, UpperBound, upper_bound
from sync_pipeline.sources.postgresql.connection import translated_errors

# Transactions of this database that could still write, whether they have or not: one that was opened first and
# writes later stamps its rows with the moment it was opened. Not those that never write tables. The text of a
# hidden session's query is the one thing that tells that it is hidden.
_SESSIONS_SQL = """
    SELECT pid, backend_type, state, xact_start, query = '<insufficient privilege>'
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (xact_start IS NOT NULL AND backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')
           OR query = '<insufficient privilege>')
"""

_PREPARED_SQL = "SELECT transaction, prepared FROM pg_prepared_xacts WHERE database = current_database()"

_STANDBY_SQL = "SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()"

# All but its connection string may be seen by everybody. A disabled one may be enabled again.
_SUBSCRIPTIONS_SQL = """
    SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database() ORDER BY s.subname
"""


@dataclass(frozen=True)
class ServerClock:
    """The server's clock (aware, UTC) and the end it allows."""

    now: datetime
    safe: UpperBound


def read_clock(connection: Connection, settle: timedelta, max_hold: timedelta) -> ServerClock:
    """Ask the server, in this order: the clock, then who is open; the rows are read later still.

    In this order a transaction that begins in between can only be seen, never missed.
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
            f"{hidden_sessions} session(s) of other users are hidden from this one: a transaction of theirs that "
            "commits late is covered only by smart_sync_settle_seconds. GRANT pg_read_all_stats to the user"
        )
    if subscriptions:
        warnings.append(
            f"the database subscribes to another ({', '.join(subscriptions)}): rows from there appear late, stamped by "
            "the publisher, whose open transactions cannot be seen. They are covered only by "
            "smart_sync_settle_seconds (or, with primary_key, by smart_sync_lookback_seconds): read from the publisher"
        )
    newest = now
    if is_standby:
        newest = min(now, replayed.astimezone(UTC)) if replayed else now
        warnings.append(
            "the server is a standby: open transactions of the primary cannot be seen, and are covered only by "
            "smart_sync_settle_seconds (or, with primary_key, by smart_sync_lookback_seconds)"
        )
    safe = upper_bound(now, transactions, settle=settle, max_hold=max_hold)
    return ServerClock(now, replace(safe, end=min(safe.end, newest - settle), warnings=(*warnings, *safe.warnings)))
