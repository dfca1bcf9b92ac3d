"""The cost of a merge follows the increment, not the table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.merge import publish_merge_sql
from sync_pipeline.schema import REQUIRED, Field, Schema
from tests.integration.syncing import Syncing
from tests.plans import plan

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


ITEMS = Schema((Field("id", "INT64", REQUIRED), Field("day", "DATE", REQUIRED), Field("text", "STRING")))
BY_DAY, BY_ID = TableLayout("day", "DAY"), TableLayout(clustering_fields=("id",))
PRUNED, CLUSTERED = {"pruned_by": ITEMS.field("day")}, {"clustered_by": ITEMS.field("id")}


@pytest.mark.parametrize(
    ("layout", "merge", "growths"),
    [
        pytest.param(replace(BY_DAY, clustering_fields=("id",)), CLUSTERED | PRUNED, (1, 10, 100), id="both"),
        pytest.param(BY_ID, CLUSTERED, (1, 100), id="clustered by the key"),
        pytest.param(BY_DAY, PRUNED | {"primary_key": ("day", "id")}, (1, 100), id="partitioned by a part of the key"),
    ],
)
def test_a_constant_increment_costs_the_same_while_the_table_grows(
    bigquery_client: bigquery.Client, dataset: str, layout: TableLayout, merge: dict[str, Any], growths: tuple[int, ...]
) -> None:
    """Neighbouring keys are changed: of 200 rows, 150 are the newest of the table, and 50 are new."""
    costs = {merged_bytes(bigquery_client, dataset, layout, merge, 500 * growth) for growth in growths}
    assert len(costs) == 1
    assert costs.pop() > 0


def test_the_search_for_scattered_keys_grows_with_the_table(bigquery_client: bigquery.Client, dataset: str) -> None:
    small, large = (merged_bytes(bigquery_client, dataset, BY_DAY, PRUNED, rows) for rows in (500, 5000))
    # By the key and the partition column, and nothing else.
    assert large - small == 4500 * 16


def merged_bytes(client: bigquery.Client, dataset: str, layout: TableLayout, merge: dict[str, Any], rows: int) -> int:
    """Return the bytes of a merge of 200 rows into a table of so many, with 250 of a day."""
    name = f"grown_{rows}"
    table = plan(
        {
            "primary_key": "id",
            "destination_bigquery_project": client.project,
            "destination_bigquery_dataset": dataset,
            "destination_bigquery_table": name,
        },
        schema=ITEMS,
        write_mode=WriteMode.MERGE,
        layout=layout,
        **merge,
    )
    every_row = "SELECT n AS id, DATE_ADD(DATE '2020-01-01', INTERVAL DIV(n, 250) DAY) AS day, 'text' AS text"
    parts = [f"PARTITION BY {layout.partition_field}"] if layout.partition_field else []
    parts += [f"CLUSTER BY {', '.join(layout.clustering_fields)}"] if layout.clustering_fields else []
    for target, clauses, first, last in (
        (table.table_id, " ".join(parts), 0, rows - 1),
        (table.staging_table_id, "", rows - 150, rows + 49),
    ):
        rows_sql = f"{every_row} FROM UNNEST(GENERATE_ARRAY({first}, {last})) AS n"
        client.query_and_wait(f"CREATE OR REPLACE TABLE `{target}` {clauses} AS {rows_sql}")
    job = client.query(publish_merge_sql(table, 200), job_retry=None)
    job.result()
    [(count, distinct)] = client.query_and_wait(f"SELECT COUNT(*), COUNT(DISTINCT id) FROM `{table.table_id}`")
    assert count == distinct == rows + 50
    processed: int = job.total_bytes_processed
    return processed
