from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.table_options import TableOptions
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.destination import DestinationDescription, ExistingTable
from sync_pipeline.planning.destination_risks import staging_risks, table_risks
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.schema import STRUCT, Field, Schema
from tests.plans import PARAMETERS, SMART_SYNC, USERS, plan

NOW = datetime(2025, 7, 22, tzinfo=UTC)
BY_DAY = TableLayout("updated_at")
TAGGED = Schema(
    (
        *USERS,
        Field("mail", "STRING", policy_tags=("t",)),
        Field("s", STRUCT, fields=(Field("x", "INT64", policy_tags=("t",)),)),
    )
)


def risks(
    options: TableOptions | None = None,
    *,
    schema: Schema = USERS,
    layout: TableLayout = BY_DAY,
    write_mode: WriteMode = WriteMode.APPEND,
    parameters: dict[str, str] = SMART_SYNC,
    **dataset: Any,
) -> list[str]:
    """Return the risks of a table with those options, or of a new one."""
    table = ExistingTable(schema, layout, options=options) if options is not None else None
    config = SyncConfig.from_parameters(PARAMETERS | parameters)
    description = DestinationDescription("EU", table, NOW, **dataset)
    return list(table_risks(config, description, schema, layout, write_mode))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(risks(TableOptions()), [], id="a table"),
        pytest.param(risks(new_tables_expire=None), [], id="a new table"),
        pytest.param(
            risks(TableOptions(expires=datetime(2030, 1, 2, 3, 4, tzinfo=UTC))),
            ["users expires: BigQuery deletes it at 2030-01-02 03:04 UTC, and the next run after it loads"],
            id="a table that expires",
        ),
        pytest.param(risks(TableOptions(), new_tables_expire=timedelta(days=60)), [], id="an older table"),
        pytest.param(
            risks(new_tables_expire=timedelta(days=60)),
            ["the dataset production deletes its tables 60 day(s) after they are created, so also my-project"],
            id="a new table where tables expire",
        ),
        pytest.param(
            risks(TableOptions(partition_expiration_days=7)),
            ["users expires partitions 7 day(s) after their date: BigQuery deletes rows of older partitions"],
            id="partitions of the table expire",
        ),
        pytest.param(
            risks(partitions_expire=True),
            ["the dataset production expires partitions by age: BigQuery deletes rows of older partitions"],
            id="partitions of a new table expire",
        ),
        pytest.param(risks(TableOptions(), partitions_expire=True), [], id="an older table keeps its partitions"),
        pytest.param(risks(partitions_expire=True, layout=TableLayout()), [], id="no partitions"),
        pytest.param(
            risks(TableOptions(), layout=TableLayout(primary_key=("id",))),
            ["the table declares a primary key, but append keeps every version: BigQuery relies on the key"],
            id="a declared key",
        ),
        pytest.param(risks(TableOptions(), schema=TAGGED), [], id="an existing table with tags"),
        pytest.param(
            risks(schema=TAGGED),
            ["is created with the policy tags of mail, s: the job's service account needs bigquery.tables.setCategory"],
            id="a new table with tags",
        ),
    ],
)
def test_table_risks(found: list[str], expected: list[str]) -> None:
    assert_told(found, expected)


STAGED = ["mail have policy tags, but a staging table in the destination's dataset lacks the tags until"]
MERGED = plan({"primary_key": "id"}, schema=Schema((*USERS, Field("mail", "STRING"))), write_mode=WriteMode.MERGE)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(staging_risks(MERGED, TAGGED), STAGED, id="tags of the destination"),
        pytest.param(staging_risks(MERGED, USERS), [], id="no tags"),
        pytest.param(
            staging_risks(plan(schema=MERGED.schema), TAGGED), [], id="rows that are loaded straight into the table"
        ),
        pytest.param(
            staging_risks(
                plan(
                    {"primary_key": "id", "staging_dataset": "private"},
                    schema=MERGED.schema,
                    write_mode=WriteMode.MERGE,
                ),
                TAGGED,
            ),
            [],
            id="a dataset of their own",
        ),
    ],
)
def test_staging_risks(found: list[str], expected: list[str]) -> None:
    assert_told(list(found), expected)


def assert_told(risks: list[str], fragments: list[str]) -> None:
    assert len(risks) == len(fragments), risks
    for risk, fragment in zip(risks, fragments, strict=True):
        assert fragment in risk
