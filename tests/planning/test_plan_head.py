"""The first two lines of a plan, as a person reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.errors import SchemaError
from sync_pipeline.planning.billed_queries import BilledQuery
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.plan_head import duration_text, head_lines
from sync_pipeline.planning.run_plan import FailedTable
from sync_pipeline.smart_sync.interval import StartOrigin
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import INTERVAL, deletions, plan, reconciliation, run_plan

ROWS = ReadPlan("SELECT 1", (ReadSplit(1, 1, "SELECT 1"),), 200_000, 56 * 2**20)
ABOUT = "about 200,000 rows (56.0 MiB) from PostgreSQL"
USERS = "my-project.production.users"
MERGED = plan({"primary_key": "id"}, read=ROWS, interval=INTERVAL, write_mode=WriteMode.MERGE)
BACKFILL = replace(INTERVAL, origin=StartOrigin.BACKFILL)
COMPARED = replace(MERGED, reconciliation=reconciliation(MERGED))


@pytest.mark.parametrize(
    ("table", "line"),
    [
        pytest.param(MERGED, f"Merge {ABOUT} into {USERS} by id.", id="merge"),
        pytest.param(
            replace(MERGED, deletions=deletions()),
            f"Merge {ABOUT} into {USERS} by id, and remove deleted rows.",
            id="merge and remove",
        ),
        pytest.param(
            replace(MERGED, creates_table=True, source_table="public.users"),
            f"Merge about 200,000 rows (56.0 MiB) from public.users in PostgreSQL into the new table {USERS} by id.",
            id="new table",
        ),
        pytest.param(plan(read=ROWS), f"Append {ABOUT} to {USERS}.", id="append"),
        pytest.param(
            plan(read=ROWS, write_mode=WriteMode.TRUNCATE), f"Replace all rows of {USERS} by {ABOUT}.", id="truncate"
        ),
        pytest.param(
            plan(read=ROWS, write_mode=WriteMode.REPLACE), f"Replace the table {USERS} by {ABOUT}.", id="replace"
        ),
        pytest.param(
            plan(read=ROWS, write_mode=WriteMode.TRUNCATE, creates_table=True),
            f"Load {ABOUT} into the new table {USERS}.",
            id="first load",
        ),
        pytest.param(
            plan(read=ROWS, interval=BACKFILL),
            f"Load an interval again: replace its rows in {USERS} by {ABOUT}.",
            id="backfill",
        ),
        pytest.param(COMPARED, f"Compare {ABOUT} with {USERS} by id, and change nothing.", id="reconcile"),
        pytest.param(
            replace(COMPARED, reconciliation=reconciliation(MERGED, repairs=True)),
            f"Compare {ABOUT} with {USERS} by id, and correct the rows that differ.",
            id="repair",
        ),
        pytest.param(
            plan(), f"Append rows (the source does not estimate how many) from PostgreSQL to {USERS}.", id="unknown"
        ),
    ],
)
def test_what_will_happen(table: TableSync, line: str) -> None:
    assert head_lines(run_plan(table))[0] == line


TIME = "Time: about 5 s here, at 60 MiB/s as in the benchmark; on Dataflow, some minutes more to start."


@pytest.mark.parametrize(
    ("table", "line"),
    [
        pytest.param(MERGED, f"{TIME} Cost in BigQuery: none, loads are free.", id="loads"),
        pytest.param(
            replace(MERGED, billed=(BilledQuery("merge", 2**41, "x", is_least=True),)),
            f"{TIME} Cost in BigQuery: queries over at least 2.0 TiB, $12.50 on demand (US: $6.25 per TiB).",
            id="a merge",
        ),
        pytest.param(
            replace(MERGED, billed=(BilledQuery("rows", None, "x"),)),
            f"{TIME} Cost in BigQuery: not known before.",
            id="no estimate",
        ),
        pytest.param(
            plan(),
            "Time: unknown, as the source does not estimate all sizes. Cost in BigQuery: none, loads are free.",
            id="no size",
        ),
    ],
)
def test_time_and_cost(table: TableSync, line: str) -> None:
    assert head_lines(run_plan(table))[1] == line


def test_several_tables() -> None:
    other = plan({"destination_bigquery_table": "b"}, read=ROWS, write_mode=WriteMode.TRUNCATE)
    both = replace(run_plan(MERGED, other), failed=(FailedTable("public.geo", SchemaError("no")),))
    assert head_lines(both)[0] == (
        "Sync 2 tables of PostgreSQL with my-project.production (1 merged, 1 reloaded, 1 that cannot be planned): "
        "about 400,000 rows (112.0 MiB)."
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
