"""Queries the latest timestamps of destinations, for Smart Sync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched, groupby
from typing import Any

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import PublishError, PublishUnavailableError, SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.row_security import check_answer, has_masked_values, has_row_policies
from sync_pipeline.schema import NUMBER_TYPE, TIMESTAMP_TYPES, Field
from sync_pipeline.smart_sync.interval import Bound, LatestTimestamp, bound_literal, is_later

# How far back the first query reaches: only a few partitions, but longer than most tables go without a new row.
NEWEST = {
    "HOUR": timedelta(days=2),
    "DAY": timedelta(days=7),
    "MONTH": timedelta(days=62),
    "YEAR": timedelta(days=366),
}


# Tables that one query asks; BigQuery allows 1,000. https://cloud.google.com/bigquery/quotas#query_jobs
TABLES_A_QUERY = 200


@dataclass(frozen=True)
class Question:
    """A request for the latest timestamp of a table.

    Attributes:
        column: the timestamp column, in any case.
        now: the source's clock, aware, in UTC, or the last number of its sequence. Later ones do not count.
        types: the types that the column may have.
    """

    table_id: str
    column: str
    table: ExistingTable
    now: Bound
    types: tuple[str, ...] = TIMESTAMP_TYPES

    @property
    def field(self) -> Field:
        """The timestamp column. Raises SchemaError if the table lacks it, or it has another type."""
        field = self.table.schema.find(self.column)
        if field is None or not self.can_be_asked:
            raise SchemaError(
                f"smart_sync_timestamp_column: {self.column} is {field.type_name if field else 'not'} in "
                f"{self.table_id}: Smart Sync needs it as {' or '.join(self.types)}, to find the latest timestamp"
            )
        return field

    @property
    def can_be_asked(self) -> bool:
        """Whether the table has the column, with a type of timestamps."""
        field = self.table.schema.find(self.column)
        return field is not None and field.type in self.types

    @property
    def since(self) -> datetime | None:
        """The start of the newest partitions; None if the table is not partitioned by the column."""
        layout = self.table.layout
        if (layout.partition_field or "").lower() != self.field.name.lower() or not isinstance(self.now, datetime):
            return None
        return self.now - NEWEST[layout.partition_granularity]

    def sql(self, since: datetime | None) -> str:
        """Return the query for the latest timestamp that is not in the source's future, and the latest of all.

        With `since`, reads only partitions from then on. If they contain a row that is not in the future, the result is
        the same as for the whole table. Both results are TIMESTAMPs, or numbers.
        """
        # Literals, because BigQuery prunes partitions only by constants.
        timestamp, filters = f"t.{quoted(self.field.name)}", ""
        if since is not None:
            filters = f"\nWHERE {timestamp} >= {self._literal(since)}"
        elif self.table.required_filter_column:
            filters = f"\nWHERE {always_true_filter(f't.{quoted(self.table.required_filter_column)}')}"
        latest, last = f"MAX(IF({timestamp} <= {self._literal(self.now)}, {timestamp}, NULL))", f"MAX({timestamp})"
        if self.field.type not in ("TIMESTAMP", NUMBER_TYPE):
            latest, last = f"TIMESTAMP({latest})", f"TIMESTAMP({last})"
        return f"SELECT {latest} AS latest, {last} AS last\nFROM {quoted(self.table_id)} AS t{filters}"

    def answer(self, latest: Bound | None, last: Bound | None) -> LatestTimestamp:
        """Return the latest timestamp; `latest` and `last` are the results of `sql`."""
        return LatestTimestamp(value=latest, future=last if last is not None and is_later(last, self.now) else None)

    def _literal(self, moment: Bound) -> str:
        return bound_literal(moment, self.field.type)


def latest_timestamp(client: bigquery.Client, question: Question, location: str) -> LatestTimestamp:
    """Return a table's latest timestamp.

    Only an empty table, or one with NULL in every row, gives None. Any failure, including hidden rows, is an error,
    because treating the table as empty would load everything again. Raises SchemaError or PublishError.
    """

    def ask(since: datetime | None) -> tuple[Bound | None, Bound | None]:
        [row], job = _run(
            client, question.sql(since), f"ask {question.table_id} for its latest {question.column}", location
        )
        check_answer(client, job, question.table_id, question.table.required_filter_column, location)
        return row[0], row[1]

    since = question.since
    latest, last = ask(since)
    if latest is None and since is not None:
        latest, last = ask(None)
    return question.answer(latest, last)


def latest_timestamps(
    client: bigquery.Client, questions: Sequence[Question], location: str
) -> dict[str, LatestTimestamp]:
    """Return the latest timestamps of tables by their ids, asked together in few queries.

    Leaves out the tables whose answer needs a query of its own, `latest_timestamp`: those of a query that failed or
    from which rows or values may have been hidden, and those whose newest partitions have no row.
    """
    answers = {}
    # One query has one type of answers.
    by_kind = sorted(questions, key=lambda question: isinstance(question.now, int))
    batches = (
        batch
        for _, kind in groupby(by_kind, key=lambda question: isinstance(question.now, int))
        for batch in batched(kind, TABLES_A_QUERY, strict=False)
    )
    for batch in batches:
        for (latest, last), question in zip(_answers(client, batch, location), batch, strict=False):
            if latest is not None or question.since is None:
                answers[question.table_id] = question.answer(latest, last)
    return answers


def together_sql(questions: Sequence[Question]) -> str:
    """Return one query with a row for each question: its number, and the results of its own query."""
    parts = (
        f"SELECT {number} AS number, * FROM (\n{question.sql(question.since)}\n)"
        for number, question in enumerate(questions)
    )
    return "\nUNION ALL\n".join(parts)


def _answers(
    client: bigquery.Client, batch: Sequence[Question], location: str
) -> list[tuple[Bound | None, Bound | None]]:
    """Return the two results of each table, in order; nothing if they are not certain."""
    try:
        rows, job = _run(client, together_sql(batch), "ask tables for their latest timestamps", location)
    except PublishUnavailableError:
        raise
    except PublishError:
        return []
    if has_row_policies(job) or has_masked_values(job):
        return []
    return [(row[1], row[2]) for row in sorted(rows, key=lambda row: int(row[0]))]


def _run(client: bigquery.Client, sql: str, action: str, location: str) -> tuple[list[Any], Any]:
    """Return the rows of a query, and its finished job. Raises PublishError."""
    with translated_errors(action):
        job = client.query(
            sql, job_config=bigquery.QueryJobConfig(use_query_cache=False), location=location, retry=REQUEST_RETRY
        )
        rows = list(job.result())
        job.reload(retry=REQUEST_RETRY)
    return rows, job
