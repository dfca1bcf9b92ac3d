from __future__ import annotations

from sync_pipeline.planning.billed_queries import BilledQuery
from sync_pipeline.planning.run_estimate import BYTES_PER_SECOND, START_SECONDS, RunEstimate, bytes_of, estimate_run
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import INTERVAL, plan, run_plan

SPLITS = (ReadSplit(1, 1, "SELECT 1"),)
KNOWN = ReadPlan("SELECT 1", SPLITS, 1000, 10 * BYTES_PER_SECOND)


def test_estimates_are_sums() -> None:
    billed = (BilledQuery("merge", 7, "x", is_least=True), BilledQuery("keys", 4, "x"))
    two = run_plan(plan(read=KNOWN, billed=billed), plan({"destination_bigquery_table": "b"}, read=KNOWN))
    size, seconds = 20 * BYTES_PER_SECOND, START_SECONDS + 20
    assert estimate_run(two) == RunEstimate(2000, True, size, seconds, 11, True)


def test_what_the_source_does_not_estimate() -> None:
    two = run_plan(plan(read=KNOWN), plan({"destination_bigquery_table": "b"}))
    assert estimate_run(two) == RunEstimate(1000, False, None, None, 0, False)


def test_the_size_of_a_table_is_that_of_all_its_rows() -> None:
    assert bytes_of(plan(source_bytes=5)) == 5
    assert bytes_of(plan(source_bytes=5, interval=INTERVAL)) is None
    assert bytes_of(plan(source_bytes=5, read=KNOWN)) == 10 * BYTES_PER_SECOND
