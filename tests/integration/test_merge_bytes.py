"""The cost of a merge follows the increment, not the table."""

from __future__ import annotations

from tests.integration.syncing import Syncing

DAYS, ROWS_A_DAY, CHANGED = 1000, 20, 1000
PADDING = "x" * 200


def test_a_merge_is_billed_for_the_keys_and_the_partitions_that_change(syncing: Syncing) -> None:
    """https://cloud.google.com/bigquery/docs/estimate-costs#on-demand-query-size-calculation."""
    rows = DAYS * ROWS_A_DAY
    syncing.query("CREATE TABLE items (id INT64, day DATE, padding STRING, updated_at TIMESTAMP) PARTITION BY day")
    syncing.query(
        f"INSERT INTO items SELECT n, DATE_ADD(DATE '2020-01-01', INTERVAL MOD(n, {DAYS}) DAY), '{PADDING}', "
        f"TIMESTAMP '2023-01-01' FROM UNNEST(GENERATE_ARRAY(0, {rows - 1})) AS n"
    )
    # The rows of fifty days change; they move to one day that the table has not.
    syncing.execute(
        "CREATE TABLE items AS SELECT n AS id, date '2024-01-01' AS day, 'new' AS padding, "
        f"timestamptz '2024-01-01Z' AS updated_at FROM generate_series(0, {rows - 1}) AS n WHERE n % {DAYS} < 50"
    )
    whole_table = syncing.table().num_bytes
    run = syncing.smart(primary_key="id").succeeded()
    assert (run.rows_read, run.rows_loaded) == (CHANGED, CHANGED)
    [job] = [
        job
        for job in syncing.client.list_jobs()
        if (job.labels or {}).get("sync_run") == run.report["run_id"].lower()
        and job.job_id.endswith("-r0")
        and job.job_type == "query"
    ]
    keys_and_days = rows * 16
    touched = 50 * ROWS_A_DAY * (8 + 8 + 8 + 2 + len(PADDING))
    staged = CHANGED * (8 + 8 + 8 + 2 + len("new"))
    # The staged rows are read for their keys, for their partitions, and to be merged.
    assert job.total_bytes_processed <= keys_and_days + touched + 3 * staged < whole_table / 5
    assert f"the merge reads the key and day of all rows: {keys_and_days / 1024:.1f} KiB" in run.everything
