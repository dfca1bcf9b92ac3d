"""Reports rows that no interval contains, and rows before the default start: no row is silently left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection

from sync_pipeline.smart_sync.interval import BEGINNING, SyncInterval, bound_text
from sync_pipeline.smart_sync.placeholders import fill_placeholders
from sync_pipeline.sources.postgresql.column_types import quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors

# Limits for counting rows that are only reported: the planner's cost and the time. With an index on the column the
# count is cheap; without one, the cost allows a scan of a few hundred MiB.
_MAX_COUNT_COST = 50_000
_LOOK_MILLISECONDS = 10_000

# The microsecond before the earliest timestamp in BigQuery.
BEFORE_EARLIEST = "0001-12-31 23:59:59.999999+00 BC"

# Also true for -infinity and infinity.
_BEYOND_BIGQUERY = "({column} < '0001-01-01 00:00:00+00' OR {column} >= '10000-01-01 00:00:00+00')"


@dataclass(frozen=True)
class Timestamps:
    """The timestamp column of a relation.

    Attributes:
        relation: the relation for the FROM clause: a table, or a subquery with an alias.
        name: the relation's name, for messages.
        may_be_null: whether the column may be NULL; the run does not read such rows.
    """

    relation: str
    name: str
    column: str
    may_be_null: bool


def unread_rows(connection: Connection, timestamps: Timestamps) -> list[str]:
    """Return a warning about rows that no interval contains, if such rows exist or cannot be ruled out."""
    kinds = "NULL, or beyond what BigQuery holds" if timestamps.may_be_null else "beyond what BigQuery holds"
    what = f"{timestamps.column} may be {kinds}, and such"
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM {timestamps.relation} WHERE {_condition(timestamps)}")
        plan = cursor.fetchone()[0][0]["Plan"]
        if plan["Total Cost"] > _MAX_COUNT_COST:
            estimate = f"the server estimates {plan['Plan Rows']:,}"
            return [f"{what} rows are not read. Counting them would take too long; {estimate}"]
        try:
            with _limited(cursor):
                cursor.execute(count_statement(timestamps))
                nulls, others = cursor.fetchone()
        except psycopg2.errors.QueryCanceled:
            return [f"{what} rows are not read. Counting them took too long"]
    return counted_risks(timestamps, nulls, others)


def count_statement(timestamps: Timestamps) -> str:
    """Return the statement that counts the rows that no interval contains: with NULL, and with other values."""
    column = quoted_identifier(timestamps.column)
    counts = f"count(*) FILTER (WHERE {column} IS NULL), count({column})"
    return f"SELECT {counts} FROM {timestamps.relation} WHERE {_condition(timestamps)}"


def _condition(timestamps: Timestamps) -> str:
    column = quoted_identifier(timestamps.column)
    beyond = _BEYOND_BIGQUERY.format(column=column)
    return f"{column} IS NULL OR {beyond}" if timestamps.may_be_null else beyond


def counted_risks(timestamps: Timestamps, nulls: int, others: int) -> list[str]:
    """Return a warning for each kind of rows that no interval contains, from their numbers."""
    sentences = []
    if nulls:
        problem = f"{nulls:,} rows of {timestamps.name} have NULL in {timestamps.column} and are not read"
        sentences.append(f"{problem}: fill it in, or use primary_key with smart_sync_null_timestamps=include")
    if others:
        problem = f"{others:,} rows of {timestamps.name} have a {timestamps.column} that BigQuery cannot hold"
        sentences.append(f"{problem} (infinity, or a year that is not from 1 to 9999) and are not read: correct them")
    return sentences


def text_of_start(
    connection: Connection, query: str, column: str, interval: SyncInterval
) -> tuple[str | None, tuple[str, ...]]:
    """Return the value of `{start_timestamp}` for a run that reads everything, and warnings.

    The value is None for the default start, or an earlier one if rows may lie before it.
    """
    if not interval.is_everything:
        return None, ()
    beginning = bound_text(BEGINNING)
    earlier = fill_placeholders(query, SyncInterval(BEGINNING, BEGINNING, interval.origin), BEFORE_EARLIEST)
    reference = f"q.{quoted_identifier(column)}"
    with translated_errors(), connection.cursor() as cursor:
        try:
            with _limited(cursor):
                cursor.execute(f"SELECT EXISTS (SELECT FROM (\n{earlier}\n) AS q WHERE {reference} <= '{beginning}')")
                (are_there,) = cursor.fetchone()
        except psycopg2.errors.QueryCanceled:
            are_there = True
        except (psycopg2.ProgrammingError, psycopg2.DataError):
            # The query's expression fails for the earlier value.
            problem = f"the query fails with a {{start_timestamp}} before {beginning}"
            return None, (f"{problem}: older rows are not read",)
    return BEFORE_EARLIEST if are_there else None, ()


@contextmanager
def _limited(cursor: Any) -> Iterator[None]:
    """Run a statement with a time limit, in a savepoint: the transaction survives a failure."""
    cursor.execute("SAVEPOINT looking")
    cursor.execute(f"SET LOCAL statement_timeout = {_LOOK_MILLISECONDS}")
    try:
        yield
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT looking")
