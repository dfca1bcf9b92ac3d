from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.repeated_append import append_risks, check_append
from tests.planning.test_columns import TABLE
from tests.plans import INTERVAL, plan, reconciliation

# It is not asked unless a platform may attempt the run several times.
NO_CLIENT = cast(Any, None)
EMPTY = ExistingTable(TABLE, TableLayout())
WITH_ROWS = replace(EMPTY, has_rows=True)
BY_DEFAULT = {"write_disposition": ""}


def test_rows_that_are_there_end_an_append_of_all_rows() -> None:
    with pytest.raises(ConfigError) as caught:
        check_append(NO_CLIENT, plan(BY_DEFAULT), WITH_ROWS)
    assert str(caught.value) == (
        "write_disposition is not given, and my-project.production.users has rows, to which this run would append all "
        "rows of the source again: give write_disposition=WRITE_TRUNCATE to replace the rows, WRITE_APPEND to append "
        "on purpose, primary_key to merge, or enable_smart_sync=true to load only what is new"
    )


@pytest.mark.parametrize(
    ("table", "existing"),
    [
        pytest.param(plan(BY_DEFAULT), None, id="no table"),
        pytest.param(plan(BY_DEFAULT), EMPTY, id="an empty table"),
        pytest.param(plan(), WITH_ROWS, id="on purpose"),
        pytest.param(plan(interval=INTERVAL), WITH_ROWS, id="Smart Sync"),
        pytest.param(plan(BY_DEFAULT | {"primary_key": "id"}, write_mode=WriteMode.MERGE), WITH_ROWS, id="merge"),
        pytest.param(plan(BY_DEFAULT, write_mode=WriteMode.TRUNCATE), WITH_ROWS, id="replaced rows"),
        pytest.param(plan(BY_DEFAULT, write_mode=WriteMode.REPLACE), WITH_ROWS, id="a replaced table"),
        pytest.param(plan(BY_DEFAULT, reconciliation=reconciliation(plan())), WITH_ROWS, id="a comparison"),
    ],
)
def test_other_runs_go_on(table: TableSync, existing: Any) -> None:
    assert check_append(NO_CLIENT, table, existing) is table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param(
            plan(BY_DEFAULT), ["the next run ends with an error", "primary_key", "WRITE_TRUNCATE"], id="by default"
        ),
        pytest.param(plan(), ["each run appends all rows again"], id="on purpose"),
        pytest.param(plan(BY_DEFAULT | {"delete_existing_table": "true"}), [], id="a table that the next run replaces"),
        pytest.param(plan(interval=INTERVAL), [], id="Smart Sync"),
        pytest.param(plan(BY_DEFAULT, write_mode=WriteMode.TRUNCATE), [], id="replaced rows"),
    ],
)
def test_the_plan_tells_what_the_next_run_does(table: TableSync, words: list[str]) -> None:
    risks = list(append_risks(table))
    assert len(risks) == bool(words)
    assert all(word in risks[0] for word in words)


def test_runs_that_fill_an_empty_table_share_an_id() -> None:
    first, second = plan(BY_DEFAULT), plan(BY_DEFAULT, run_id="20250722T150001_ffffffff")
    assert first.publish_id == second.publish_id is not None
    # A table that was emptied after an earlier run is filled again.
    assert not first.publishes_once
    assert plan().publish_id is None
    # Its earlier attempt has published, whenever that ended.
    assert replace(first, is_published=True).publishes_once
