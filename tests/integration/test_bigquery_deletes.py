"""Rows that a source in BigQuery no longer has are removed or marked, by either read method."""

from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.sources.bigquery.session import BigquerySession
from tests.integration.bigquery_syncing import WAYS, BigquerySyncing

DELETES: dict[str, str | None] = {"primary_key": "id", "deletes": "remove", "max_deleted_percent": "50"}


@pytest.fixture(params=WAYS)
def syncing(bigquery_syncing: BigquerySyncing, request: pytest.FixtureRequest) -> BigquerySyncing:
    return bigquery_syncing.by(request.param)


def fill(syncing: BigquerySyncing, count: int = 6, *, options: str = "") -> None:
    syncing.at_source(f"CREATE TABLE items (id INT64, name STRING, updated_at TIMESTAMP) {options}")
    syncing.at_source(
        "INSERT INTO items SELECT n, CONCAT('item ', CAST(n AS STRING)), TIMESTAMP '2024-01-01' "
        f"FROM UNNEST(GENERATE_ARRAY(1, {count})) AS n"
    )


def sync(syncing: BigquerySyncing, **parameters: str | None) -> SyncReport:
    """Do what a run does, without Beam."""
    return syncing.publish(syncing.plan(**{**DELETES, **parameters}))


def test_rows_appear_and_disappear_in_one_change(syncing: BigquerySyncing) -> None:
    fill(syncing)
    syncing.smart(**DELETES).succeeded()
    syncing.at_source("DELETE FROM items WHERE id < 3")
    syncing.at_source(
        "INSERT INTO items VALUES (7, 'new', CURRENT_TIMESTAMP()), (NULL, 'no key', TIMESTAMP '2023-01-01')"
    )
    run = syncing.smart(**DELETES).succeeded()
    assert run.report["outcome"] == f"merged 1 rows into {syncing.table_id()}, and removed 2 deleted ones"
    assert syncing.column("SELECT id FROM items ORDER BY id") == [3, 4, 5, 6, 7]
    assert syncing.left_over() == []
    how = "by the script that publishes" if syncing.way == "query" else "by the Storage Read API"
    assert any(f"the key of all rows (id) is read from the source, after the rows, {how}" in note for note in run.notes)
    assert any(note.startswith("for the keys, reading the source: ") for note in run.notes)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT * FROM items WHERE name <> 'hidden'", id="condition"),
        pytest.param(
            "SELECT * FROM items WHERE name <> 'hidden' AND updated_at > '{start_timestamp}' "
            "AND updated_at <= '{end_timestamp}'",
            id="placeholders",
        ),
    ],
)
def test_a_row_that_the_query_no_longer_returns_is_gone(syncing: BigquerySyncing, query: str) -> None:
    fill(syncing)
    sync(syncing, source_bigquery_query=query)
    syncing.at_source("UPDATE items SET name = 'hidden' WHERE id = 2")
    assert sync(syncing, source_bigquery_query=query).rows_deleted == 1
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 3, 4, 5, 6]


def test_a_key_that_is_renamed_hashed_converted_and_constant(syncing: BigquerySyncing) -> None:
    fill(syncing)
    parameters = {
        "primary_key": "tenant,number,name",
        "transformation_config": '{"field_mappings": {"id": "number"}, "hash_fields": ["name"], '
        '"constant_fields": {"tenant": "a"}, "type_overrides": {"id": "STRING"}}',
    }
    sync(syncing, **parameters)
    syncing.at_source("DELETE FROM items WHERE id = 1")
    assert sync(syncing, **parameters).rows_deleted == 1
    assert syncing.query("SELECT number FROM items ORDER BY number") == [(str(n),) for n in range(2, 7)]


def test_deleted_rows_are_marked_until_they_are_back(syncing: BigquerySyncing) -> None:
    """The source and the destination demand a filter on their partitions."""
    options = "PARTITION BY DATE(updated_at) OPTIONS (require_partition_filter = TRUE)"
    fill(syncing, options=options)
    parameters = {"deletes": "mark", "enable_auto_schema": "true"}
    sync(syncing, **parameters)
    gone = "WHERE id = 2 AND updated_at > TIMESTAMP '1900-01-01'"
    syncing.at_source(f"DELETE FROM items {gone}")
    assert sync(syncing, **parameters).rows_deleted == 1
    assert syncing.column("SELECT id FROM items WHERE _deleted_at IS NOT NULL AND updated_at > '1900-01-01'") == [2]
    syncing.at_source("INSERT INTO items VALUES (2, 'item 2', TIMESTAMP '2024-01-01')")
    assert sync(syncing, **parameters).rows_deleted == 0
    assert syncing.column("SELECT COUNT(*) FROM items WHERE _deleted_at IS NULL AND updated_at > '1900-01-01'") == [6]


def test_too_many_deletions_are_refused(syncing: BigquerySyncing) -> None:
    fill(syncing)
    sync(syncing)
    syncing.at_source("TRUNCATE TABLE items")
    run = syncing.smart(**DELETES)
    assert run.exit_code == 1
    assert run.errors[0].startswith("the source has none of the 6 rows")
    assert syncing.column("SELECT COUNT(*) FROM items") == [6]


def test_a_row_that_appears_while_rows_are_read_has_its_key_read(bigquery_syncing: BigquerySyncing) -> None:
    """The session of the keys is opened when its split is read. In a script the order of the statements decides."""
    syncing = bigquery_syncing.by("storage_api")
    fill(syncing)
    sync(syncing)
    plan = syncing.plan(**DELETES)
    assert [file.rows for file in syncing.stage(plan) if file.is_keys] == [6]
    syncing.at_source("INSERT INTO items VALUES (7, 'late', TIMESTAMP '2024-01-01')")
    assert [file.rows for file in syncing.stage(plan) if file.is_keys] == [7]


def test_the_limit_on_bytes_counts_for_the_keys(
    bigquery_syncing: BigquerySyncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the interval may lie in one partition; the keys lie in all of them."""
    syncing = bigquery_syncing.by("query")
    fill(syncing)
    sync(syncing)
    monkeypatch.setattr(BigquerySession, "_estimated_bytes", lambda _, sql: 10 if "`name`" in sql else 1000)
    syncing.plan(**DELETES, maximum_bytes_billed="1000")
    with pytest.raises(ConfigError, match="maximum_bytes_billed is 999, but the query would read 1,000 bytes"):
        syncing.plan(**DELETES, maximum_bytes_billed="999")
