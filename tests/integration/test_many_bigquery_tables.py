"""One run copies the tables of a dataset, and the next what changed in it, by either read method."""

from __future__ import annotations

from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.syncing import Run


def run(syncing: BigquerySyncing, **parameters: str | None) -> Run:
    selected = {"source_bigquery_table": "*,seen,!audit", "destination_bigquery_table": None}
    return syncing.run(**{**selected, "smart_sync_settle_seconds": "0", **parameters})


def test_a_dataset(bigquery_syncing: BigquerySyncing) -> None:
    syncing = bigquery_syncing.by("query")
    change = syncing.at_source
    change("CREATE TABLE orders (id INT64, updated_at TIMESTAMP) AS SELECT 1, TIMESTAMP '2024-01-01 00:00:00+00'")
    change("CREATE TABLE nested (id INT64, s STRUCT<a INT64>) AS SELECT 1, STRUCT(2 AS a)")
    change("CREATE TABLE empty (id INT64)")
    change("CREATE TABLE audit (id INT64)")
    change(f"CREATE VIEW seen AS SELECT id FROM {syncing.source}.orders")
    first = run(syncing)
    assert (first.exit_code, first.errors) == (0, ()), first.everything
    assert syncing.tables() == ["empty", "nested", "orders", "seen"]
    assert syncing.query("SELECT id, s.a FROM nested") == [(1, 2)]
    change("INSERT INTO orders VALUES (1, TIMESTAMP '2024-01-02 00:00:00+00'), (2, NULL)")
    change("DELETE FROM nested WHERE TRUE")
    change("INSERT INTO audit VALUES (1)")
    change("CREATE TABLE added (id INT64) AS SELECT 1")
    second = run(syncing.by("storage_api"))
    assert (second.exit_code, second.errors) == (0, ()), second.everything
    assert syncing.query("SELECT id, updated_at IS NULL FROM orders ORDER BY 1, 2") == [
        (1, False),
        (1, False),
        (2, True),
    ]
    assert syncing.query("SELECT id FROM seen ORDER BY 1") == [(1,), (1,), (2,)]
    assert syncing.query("SELECT COUNT(*) FROM nested UNION ALL SELECT COUNT(*) FROM empty") == [(0,), (0,)]
    assert syncing.query("SELECT id FROM added") == [(1,)]
    assert syncing.left_over() == []
