"""Smart Sync by the numbers that a sequence gives to the rows of a table that only gets new ones.

A row gets its number before its transaction commits, so a lower number may appear after a higher one. But a transaction
that has taken a number keeps a lock on the sequence until its end: an idle one too, one without a transaction id, and
one that is prepared. So the run reads the sequence's last number, then the holders of that lock, and waits until these
have ended. From then on all rows up to the number are visible, and no other row can get such a number.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SchemaError, SourceBusyError
from sync_pipeline.printable import named
from sync_pipeline.smart_sync.interval import bound_text
from sync_pipeline.sources.postgresql.clock import ObservedClock
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.shared_connection import SharedConnection
from sync_pipeline.sources.postgresql.wal_position import WalPosition, read_position
from sync_pipeline.sources.source import SourceClock

_LOGGER = logging.getLogger(__name__)

_COLUMN_SQL = """
    SELECT c.oid::regclass::text,
           c.relkind = 'r' AND NOT c.relispartition
               AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
           EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid),
           a.attnotnull, a.attidentity, coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
           EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 7 = 7 AND NOT t.tgisinternal),
           pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.oid = %(table)s AND a.attnum = %(number)s
"""

# Those that belong to the column, and those that its default calls.
_SEQUENCES_SQL = """
    SELECT s.seqrelid, s.seqrelid::regclass::text, s.seqincrement, s.seqcache, s.seqcycle,
           has_sequence_privilege(s.seqrelid, 'SELECT')
    FROM pg_sequence s
    WHERE s.seqrelid IN (
        SELECT d.objid FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.refobjid = %(table)s AND d.refobjsubid = %(number)s AND d.deptype IN ('a', 'i')
      UNION
        SELECT p.refobjid FROM pg_attrdef d
        JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
             AND p.refclassid = 'pg_class'::regclass
        WHERE d.adrelid = %(table)s AND d.adnum = %(number)s)
"""

_DEFAULT = re.compile(r"nextval\('[^()]*'::regclass\)")

_LAST_SQL = "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}"

# nextval() takes the lock before the number, and the transaction gives it back after its rows are visible. A session of
# another user may hide its state, but no lock. Reading a sequence takes the weakest lock.
_HOLDERS_SQL = """
    SELECT l.virtualtransaction, l.pid, a.state, a.xact_start, p.gid, p.prepared
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
         AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.locktype = 'relation' AND l.relation = %(oid)s AND l.granted AND l.mode <> 'AccessShareLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.pid IS DISTINCT FROM pg_backend_pid()
"""

# Seconds between two looks at the lock.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0

# Maximum number of transactions that a message names.
_MAX_NAMED = 3


@dataclass(frozen=True)
class NumberedColumn:
    """A column whose values a sequence gives out in ascending order.

    Attributes:
        sequence: the sequence's name as SQL.
        is_always: GENERATED ALWAYS AS IDENTITY, without a trigger that may change the value: nobody else gives out
            values, except by OVERRIDING SYSTEM VALUE or COPY.
        changed: how many updates and deletes of the table the server has counted.
    """

    name: str
    oid: int
    sequence: str
    is_always: bool
    changed: int = 0

    @property
    def risk(self) -> str:
        """The warning about rows that no run reads."""
        risk = (
            f"rows are read once, by the number that {self.sequence} gives to {self.name}: a run sees no update and no "
            "delete, so the table must only get new rows"
        )
        if self.changed:
            risk += f" (the server has counted {self.changed:,} updates and deletes of it)"
        if self.is_always:
            return risk
        return (
            f"{risk}; and {self.name} is not GENERATED ALWAYS AS IDENTITY, or a trigger may change it: a row that is "
            "committed with a number that its transaction did not take itself (an explicit value, or one that an "
            "application fetched before) may be missed"
        )

    def last(self, connection: Connection) -> int:
        """Return the last number that the sequence has given out."""
        with translated_errors(), connection.cursor() as cursor:
            cursor.execute(_LAST_SQL.format(sequence=self.sequence))
            (number,) = cursor.fetchone()
        return int(number)


def numbered_column(
    connection: Connection, name: str, origin: tuple[int, int], observed: ObservedClock
) -> NumberedColumn:
    """Return how the values of a column are numbered.

    Args:
        origin: the table and the column's number that it comes from unchanged, or 0.

    Raises:
        SchemaError: nothing tells which values are still to come.
    """
    table_oid, number = origin
    found = None
    if table_oid:
        with translated_errors(), connection.cursor() as cursor:
            cursor.execute(_COLUMN_SQL, {"table": table_oid, "number": number})
            found = cursor.fetchone()
            cursor.execute(_SEQUENCES_SQL, {"table": table_oid, "number": number})
            sequences = cursor.fetchall()
    if observed.is_standby:
        raise _refusal(name, "the server is a standby, which does not show who has taken a number: read the primary")
    if found is None:
        raise _refusal(name, "it does not come unchanged from a table")
    table, is_plain, is_subscribed, is_not_null, identity, default, has_trigger, updated, deleted = found
    if not is_plain:
        raise _refusal(name, f"{table} is a view or foreign table, or has partitions or children, or is one")
    if is_subscribed:
        raise _refusal(name, f"{table} gets its rows by logical replication: read the publisher")
    if len(sequences) > 1:
        raise _refusal(name, f"it has several sequences ({', '.join(sorted(row[1] for row in sequences))})")
    if not sequences or not (identity or _DEFAULT.fullmatch(default)):
        raise _refusal(name, "it has no sequence of its own, neither as identity nor as its default")
    if not is_not_null:
        raise _refusal(name, "it may be NULL: declare it NOT NULL")
    [(oid, sequence, increment, cache, cycles, may_select)] = sequences
    if cache > 1:
        raise _refusal(name, f"{sequence} has CACHE {cache}, so that sessions use numbers out of order: set CACHE 1")
    if cycles or increment < 0:
        raise _refusal(name, f"{sequence} {'cycles' if cycles else 'descends'}: later rows would get lower numbers")
    if increment > 1 and identity != "a":
        raise _refusal(
            name,
            f"{sequence} has INCREMENT {increment}, and applications may give out the numbers between: use "
            "GENERATED ALWAYS AS IDENTITY",
        )
    if not may_select:
        raise _refusal(name, f"the user may not read {sequence}: GRANT SELECT ON SEQUENCE {sequence} to it")
    return NumberedColumn(name, oid, sequence, identity == "a" and not has_trigger, updated + deleted)


def _refusal(name: str, reason: str) -> SchemaError:
    return SchemaError(
        f"smart_sync_timestamp_column: {name} has numbers, and nothing tells which of them are still to come, so rows "
        f"would be lost: {reason}; or use a timestamp column"
    )


def number_clock(
    shared: SharedConnection, column: NumberedColumn, max_hold: timedelta
) -> tuple[SourceClock, WalPosition | None]:
    """Return the clock of a sequence: its last number, when every transaction that may have taken it has ended.

    The position is that of the server after these transactions, which each read has to see.

    Raises:
        SourceBusyError: such a transaction has not ended within `max_hold`.
    """
    with shared.transaction() as connection:
        number = column.last(connection)
        awaited = _holders(connection, column)
    if awaited:
        names = _names(awaited)
        _LOGGER.info("waiting for transactions that have taken a number of %s: %s", column.sequence, names)
    pause, deadline = _FIRST_PAUSE, time.monotonic() + max_hold.total_seconds()
    while awaited:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _still_open(column, awaited, max_hold)
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        # A transaction of its own, because the statistics of sessions do not change within one.
        with shared.transaction() as connection:
            holders = _holders(connection, column)
        # One that has ended may have been prepared, and servers before version 14 then show another id.
        may_be_prepared = not awaited.keys() <= holders.keys()
        awaited = {
            key: holder for key, holder in holders.items() if key in awaited or (may_be_prepared and holder.is_prepared)
        }
    with shared.transaction() as connection:
        position = read_position(connection)
    return SourceClock(number, number, risks=(column.risk,)), position


@dataclass(frozen=True)
class Holder:
    """A transaction that may have taken a number.

    Attributes:
        pid: of its session; None if it is prepared.
        state, began: None if they are hidden from the user.
        prepared: when it was prepared, None if it is not.
    """

    pid: int | None
    state: str | None = None
    began: datetime | None = None
    gid: str | None = None
    prepared: datetime | None = None

    def __str__(self) -> str:
        if self.is_prepared:
            since = "" if self.prepared is None else f", since {bound_text(self.prepared)}"
            return f"the prepared transaction {self.gid!r}{since}"
        hidden = "hidden from this user"
        shown = hidden if self.began is None else f"{self.state or 'active'}, open since {bound_text(self.began)}"
        return f"the session with pid {self.pid} ({shown})"

    @property
    def is_prepared(self) -> bool:
        return self.pid is None


def _holders(connection: Connection, column: NumberedColumn) -> Mapping[str, Holder]:
    """Return the transactions that may have taken a number, by their ids."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_HOLDERS_SQL, {"oid": column.oid})
        return {key: Holder(*values) for key, *values in cursor.fetchall()}


def _names(holders: Mapping[str, Holder]) -> str:
    return named([str(holder) for holder in holders.values()], _MAX_NAMED)


def _still_open(column: NumberedColumn, awaited: Mapping[str, Holder], max_hold: timedelta) -> SourceBusyError:
    return SourceBusyError(
        f"smart_sync_timestamp_column: transactions that have taken a number of {column.sequence} did not end within "
        f"smart_sync_max_hold_seconds={max_hold.total_seconds():.0f}: {_names(awaited)}. "
        "Rows that they commit would be missed, so nothing was loaded. Commit them or end them "
        "(pg_terminate_backend(pid), ROLLBACK PREPARED), or raise the limit"
    )
