"""Generated tables, which one run syncs; `python -m tests.integration.generated_tables` does it with 500."""

from __future__ import annotations

from tests.integration.generated_tables import SELECTED, counted_requests, different, fill
from tests.integration.postgresql_reading import counted_statements
from tests.integration.syncing import Syncing

# The sandbox's BigQuery needs half a second for each table and run.
SYNCED, PLANNED = 15, 500


def test_all_are_synced_and_again_with_nothing_new(syncing: Syncing) -> None:
    fill(syncing, SYNCED)
    for _ in range(2):
        run = syncing.run(**SELECTED)
        assert (run.exit_code, run.errors) == (0, ()), run.everything
        assert different(syncing, SYNCED) == []
    assert syncing.left_over() == []


def test_statements_and_requests_of_planning_do_not_grow_with_the_tables(syncing: Syncing) -> None:
    fill(syncing, PLANNED)
    with counted_statements() as statements, counted_requests() as requests:
        shown = syncing.run(**SELECTED, dry_run="true")
    assert shown.exit_code == 0, shown.everything
    assert f"{PLANNED} tables of postgresql" in shown.printed
    assert len(statements) < 40
    assert len(requests) < 10
