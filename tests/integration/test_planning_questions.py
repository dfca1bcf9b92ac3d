"""Planning asks each question once, on one connection to the source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from google.cloud import bigquery

from sync_pipeline.sources.mongodb import connection as mongodb_connection
from sync_pipeline.sources.postgresql import connection as postgresql_connection
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing

LATEST = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = "(id INT64, updated_at TIMESTAMP)"


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """What BigQuery is asked: statements, and the tables that are looked at."""
    found: list[str] = []

    def note(method: str) -> Any:
        call = getattr(bigquery.Client, method)

        def noted(client: bigquery.Client, question: Any, *arguments: Any, **options: Any) -> Any:
            found.append(f"{method} {question}")
            return call(client, question, *arguments, **options)

        return mock.patch.object(bigquery.Client, method, noted)

    with note("query"), note("query_and_wait"), note("get_table"), note("get_dataset"):
        yield found


def check(asked: list[str]) -> None:
    assert len(asked) == len(set(asked)), asked
    assert len([question for question in asked if "SELECT MAX(" in question]) == 1


def test_of_postgresql(syncing: Syncing, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz)")
    syncing.query(f"CREATE TABLE items {COLUMNS} AS SELECT 1 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS updated_at")
    asked.clear()
    connect = mock.Mock(wraps=postgresql_connection._connect)
    monkeypatch.setattr(postgresql_connection, "_connect", connect)
    query = "SELECT * FROM items WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"
    plan = syncing.plan(postgresql_base_query=query, enable_auto_schema="true", source_table_for_schema="items")
    assert plan.interval is not None
    assert plan.interval.latest == LATEST
    connect.assert_called_once()
    check(asked)


def test_between_questions_no_transaction_is_open(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz)")
    syncing.query(f"CREATE TABLE items {COLUMNS}")
    states: list[Any] = []

    def look(*arguments: Any, **options: Any) -> Any:
        sql = "SELECT state FROM pg_stat_activity WHERE application_name LIKE '%sync%' AND datname = current_database()"
        states.extend(syncing.execute(sql))
        return query(*arguments, **options)

    query = bigquery.Client.query
    monkeypatch.setattr(bigquery.Client, "query", look)
    syncing.plan()
    assert set(states) == {("idle",)}


def test_of_mongodb(mongodb_syncing: MongodbSyncing, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mongodb_syncing.insert({"_id": 1, "updated_at": datetime(2024, 1, 2, tzinfo=UTC)})
    mongodb_syncing.query(
        "CREATE TABLE items (_id INT64, updated_at TIMESTAMP) AS SELECT 0 AS _id, TIMESTAMP '2024-01-01 00:00:00+00'"
    )
    asked.clear()
    connect = mock.Mock(wraps=mongodb_connection._connect)
    monkeypatch.setattr(mongodb_connection, "_connect", connect)
    plan = mongodb_syncing.plan()
    assert plan.interval is not None
    assert plan.interval.latest == LATEST
    # What was decided is not written over what was asked for.
    assert (plan.config.primary_key, plan.primary_key) == ((), ("_id",))
    connect.assert_called_once()
    check(asked)


@pytest.mark.parametrize("is_query", [True, False])
def test_of_bigquery(bigquery_syncing: BigquerySyncing, asked: list[str], is_query: bool) -> None:
    bigquery_syncing.at_source(f"CREATE TABLE items {COLUMNS}")
    bigquery_syncing.query(f"CREATE TABLE items {COLUMNS} AS SELECT 1, TIMESTAMP '2024-01-01 00:00:00+00'")
    asked.clear()
    interval = "updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"
    query = f"SELECT * FROM {bigquery_syncing.source}.items WHERE {interval}"
    plan = bigquery_syncing.plan(**({"source_bigquery_query": query} if is_query else {}))
    assert plan.interval is not None
    assert plan.interval.latest == LATEST
    check(asked)
