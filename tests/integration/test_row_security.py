"""BigQuery hides rows without an error: a run that cannot see all of the destination does not go on from it."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline.errors import SchemaError
from sync_pipeline.planning.row_security import check_answer
from tests.integration.syncing import Syncing

ITEMS = "CREATE TABLE items (id int, name text, updated_at timestamptz)"
ROWS = "SELECT id, name FROM items ORDER BY id, name"
EVERYBODY = "GRANT TO ('allAuthenticatedUsers')"


def loaded(syncing: Syncing) -> None:
    """Load two rows, of which nobody may see the second from then on."""
    syncing.execute(ITEMS)
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z'), (2, 'b', '2024-01-02Z')")
    syncing.smart().succeeded()
    protect(syncing, "GRANT TO ('user:somebody@example.com') FILTER USING (TRUE)")


def protect(syncing: Syncing, policy: str) -> None:
    syncing.query(f"CREATE OR REPLACE ROW ACCESS POLICY visible ON items {policy}")


def unprotect(syncing: Syncing) -> None:
    syncing.query("DROP ALL ROW ACCESS POLICIES ON items")


@pytest.mark.parametrize(
    ("parameters", "policy"),
    [
        pytest.param({}, "GRANT TO ('user:somebody@example.com') FILTER USING (TRUE)", id="append"),
        pytest.param({}, f"{EVERYBODY} FILTER USING (id = 1)", id="append, some rows are seen"),
        pytest.param({"primary_key": "id"}, f"{EVERYBODY} FILTER USING (id = 1)", id="merge"),
        pytest.param(
            {"primary_key": "id", "enable_smart_sync": "false", "postgresql_query": "SELECT * FROM items"},
            f"{EVERYBODY} FILTER USING (id = 1)",
            id="merge without Smart Sync",
        ),
    ],
)
def test_a_destination_with_hidden_rows_is_refused(syncing: Syncing, parameters: dict[str, str], policy: str) -> None:
    loaded(syncing)
    protect(syncing, policy)
    run = syncing.run if "enable_smart_sync" in parameters else syncing.smart
    message = run(**parameters).refused("row access policies hide", syncing.table_id())
    assert "FILTER USING (TRUE)" in message
    unprotect(syncing)
    assert syncing.query(ROWS) == [(1, "a"), (2, "b")]


def test_a_policy_that_shows_all_rows_is_no_hindrance(syncing: Syncing) -> None:
    loaded(syncing)
    protect(syncing, f"{EVERYBODY} FILTER USING (TRUE)")
    syncing.execute("INSERT INTO items VALUES (3, 'c', '2024-01-03Z')")
    assert syncing.smart().succeeded().rows_loaded == 1
    unprotect(syncing)
    assert syncing.query(ROWS) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_table_that_would_lose_its_policies_is_not_replaced(syncing: Syncing) -> None:
    loaded(syncing)
    protect(syncing, f"{EVERYBODY} FILTER USING (TRUE)")
    syncing.run(delete_existing_table="true").refused("delete_existing_table", "row access policies")
    assert syncing.query(ROWS) == [(1, "a"), (2, "b")]


class MaskedJob:
    """A query that was given masked values; the sandbox has no data masking."""

    def __init__(self) -> None:
        self._properties: dict[str, Any] = {"statistics": {"dataMaskingStatistics": {"dataMaskingApplied": True}}}


def test_masked_values_are_refused(bigquery_client: bigquery.Client) -> None:
    with pytest.raises(SchemaError, match=r"data masking hides values of p\.d\.t .*categoryFineGrainedReader"):
        check_answer(bigquery_client, MaskedJob(), "p.d.t", None, "US")
