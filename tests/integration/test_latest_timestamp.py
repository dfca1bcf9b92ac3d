"""How far the destination has come is asked of the newest partitions first, and once a launch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import bigquery

from sandbox import Endpoints
from sync_pipeline.auto_schema.ddl import create_table_sql
from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.latest_timestamp import Question, latest_timestamp, latest_timestamps
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import LatestTimestamp
from tests.integration.mongodb_syncing import MongodbSyncing

NOW = datetime(2025, 7, 22, 15, 30, 0, 1, tzinfo=UTC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries for a latest timestamp."""
    queries: list[str] = []
    ask = bigquery.Client.query

    def record(client: bigquery.Client, query: str, **arguments: Any) -> Any:
        if "MAX(" in query:
            queries.append(query)
        return ask(client, query, **arguments)

    monkeypatch.setattr(bigquery.Client, "query", record)
    return queries


@pytest.mark.parametrize(
    ("type_name", "granularity", "ages", "expected", "queries"),
    [
        pytest.param("TIMESTAMP", "DAY", [40, 0], LatestTimestamp(NOW), 1, id="a row of today"),
        pytest.param("TIMESTAMP", "DAY", [40], LatestTimestamp(NOW - timedelta(40)), 2, id="old rows only"),
        pytest.param("DATETIME", "HOUR", [40, 0], LatestTimestamp(NOW), 1, id="a wall clock"),
        pytest.param("DATETIME", "MONTH", [400], LatestTimestamp(NOW - timedelta(400)), 2, id="an old wall clock"),
        pytest.param("TIMESTAMP", "YEAR", [], LatestTimestamp(), 2, id="no row"),
        pytest.param(
            "TIMESTAMP", "MONTH", [40, -50], LatestTimestamp(NOW - timedelta(40), NOW + timedelta(50)), 1, id="future"
        ),
        pytest.param(
            "TIMESTAMP",
            "DAY",
            [40, -50],
            LatestTimestamp(NOW - timedelta(40), NOW + timedelta(50)),
            2,
            id="of the newest partitions all lies in the future",
        ),
        pytest.param("TIMESTAMP", None, [40, 0], LatestTimestamp(NOW), 1, id="not partitioned"),
    ],
)
def test_the_newest_partitions_are_asked_first(
    endpoints: Endpoints,
    bigquery_client: bigquery.Client,
    dataset: str,
    asked: list[str],
    type_name: str,
    granularity: str | None,
    ages: list[int],
    expected: LatestTimestamp,
    queries: int,
) -> None:
    table_id = f"{endpoints.project}.{dataset}.items"
    schema = Schema((Field("updated_at", type_name),))
    layout = TableLayout("updated_at", granularity) if granularity else TableLayout()
    bigquery_client.query(create_table_sql(table_id, schema, layout)).result()
    stamps = [f"'{(NOW - timedelta(days)).replace(tzinfo=None).isoformat(sep=' ')}'" for days in ages]
    values = f"SELECT CAST(stamp AS {type_name}) FROM UNNEST([{', '.join(['NULL', *stamps])}]) AS stamp"
    bigquery_client.query(f"INSERT INTO `{table_id}` {values}").result()
    table = ExistingTable(schema, layout)
    question = Question(table_id, "updated_at", table, NOW)
    assert latest_timestamp(bigquery_client, question, "US") == expected
    assert len(asked) == queries
    # Together with others, a table without a row in its newest partitions gets no answer.
    together = latest_timestamps(bigquery_client, [question, question], "US")
    assert together == ({table_id: expected} if queries == 1 else {})


def test_mongodb_asks_once(mongodb_syncing: MongodbSyncing, asked: list[str]) -> None:
    syncing = mongodb_syncing
    syncing.mongodb["items"].insert_one({"_id": 1, "updated_at": datetime(2024, 1, 1, tzinfo=UTC)})
    syncing.smart().succeeded()
    assert asked == []
    syncing.smart().succeeded()
    assert len(asked) == 1
