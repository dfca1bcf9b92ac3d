"""Rows that no interval contains, or that lie before the usual beginning: none is left out without a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection

from sync_pipeline.smart_sync.interval import BEGINNING, SyncInterval, timestamp_text
from sync_pipeline.smart_sync.placeholders import fill_placeholders
from sync_pipeline.sources.postgresql.column_types import quoted_identifier
from sync_pipeline.sources.postgresql.connection import translated_errors

# What counting rows that are only reported may cost, as the planner counts, and how long it may take. With an index on
# the column it is next to nothing; without one, a table of some hundred MiB is read.
_MAX_COUNT_COST = 50_000
_LOOK_MILLISECONDS = 10_000

# The microsecond before the first that BigQuery holds.
BEFORE_EARLIEST = "0001-12-31 23:59:59.999999+00 BC"

# Infinity is less, or greater, than every other.
_BEYOND_BIGQUERY = "({column} < '0001-01-01 00:00:00+00' OR {column} >= '10000-01-01 00:00:00+00')"


@dataclass(frozen=True)
class Timestamps:
    """The timestamp column of a relation.

    Attributes:
        relation: what follows FROM: a table, or a query in brackets with an alias.
        name: of the relation, for people.
        may_be_null: NULL can be there, and such rows are not read.
    """

    relation: str
    name: str
    column: str
    may_be_null: bool


def unread_rows(connection: Connection, timestamps: Timestamps) -> list[str]:
    """Return sentences on rows that no interval contains, where there are any or it cannot be known."""
    column = quoted_identifier(timestamps.column)
    beyond = _BEYOND_BIGQUERY.format(column=column)
    unread = f"{column} IS NULL OR {beyond}" if timestamps.may_be_null else beyond
    kinds = "NULL, or beyond what BigQuery holds" if timestamps.may_be_null else "beyond what BigQuery holds"
    what = f"{timestamps.column} may be {kinds}, and such"
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM {timestamps.relation} WHERE {unread}")
        plan = cursor.fetchone()[0][0]["Plan"]
        if plan["Total Cost"] > _MAX_COUNT_COST:
            estimate = f"the server estimates {plan['Plan Rows']:,}"
            return [f"{what} rows are not read; counting them would take too long: {estimate}"]
        try:
            with _limited(cursor):
                cursor.execute(
                    f"SELECT count(*) FILTER (WHERE {column} IS NULL), count({column}) FROM {timestamps.relation} "
                    f"WHERE {unread}"
                )
                nulls, others = cursor.fetchone()
        except psycopg2.errors.QueryCanceled:
            return [f"{what} rows are not read; there was no time to count them"]
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
    """Return what stands for the start where everything is read and the query says where it goes, and a risk.

    It is the usual beginning, and an earlier one where rows may lie before that.
    """
    if not interval.is_everything:
        return None, ()
    beginning = timestamp_text(BEGINNING)
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
            # The query does something with the text that it cannot do with this one.
            problem = f"the query does not take an earlier {{start_timestamp}} than {beginning}"
            return None, (f"{problem}: rows from before that are not read",)
    return BEFORE_EARLIEST if are_there else None, ()


@contextmanager
def _limited(cursor: Any) -> Iterator[None]:
    """Run a statement that may take only so long, and whose failure leaves the transaction as it was."""
    cursor.execute("SAVEPOINT looking")
    cursor.execute(f"SET LOCAL statement_timeout = {_LOOK_MILLISECONDS}")
    try:
        yield
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT looking")
