from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.collation import check_collation
from sync_pipeline.planning.destination import DestinationDescription, ExistingTable
from sync_pipeline.schema import Field, Schema
from tests.plans import PARAMETERS

SCHEMA = Schema((Field("code", "STRING"), Field("id", "INT64")))
NOW = datetime(2025, 7, 22, tzinfo=UTC)


def check(
    *columns: str,
    collated: tuple[str, ...] | None = None,
    datasets: tuple[str, ...] = (),
    is_replaced: bool = False,
    **parameters: str,
) -> None:
    """Check a table with these collated columns, or a new one."""
    table = None if collated is None else ExistingTable(SCHEMA, TableLayout(), collated=collated)
    description = DestinationDescription("EU", table, NOW, is_replaced, collated_datasets=datasets)
    config = SyncConfig.from_parameters(PARAMETERS | parameters).destination
    check_collation(config, description, SCHEMA, columns, "primary_key")


def test_a_collated_column_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"primary_key: code of .*users has a collation, so texts that differ only"):
        check("id", "code", collated=("CODE",))
    check("id", collated=("code",))
    check("code", collated=("other",))


@pytest.mark.parametrize(
    ("collated", "datasets", "staging"),
    [
        pytest.param(None, ("production",), "", id="new table"),
        pytest.param((), ("production",), "", id="staging table beside it"),
        pytest.param((), ("private",), "private", id="staging table elsewhere"),
        pytest.param(None, ("production",), "private", id="new table, staging elsewhere"),
    ],
)
def test_a_dataset_with_a_default_collation_is_refused(
    collated: tuple[str, ...] | None, datasets: tuple[str, ...], staging: str
) -> None:
    message = f"tables of the dataset {datasets[0]} get its default .* run ALTER SCHEMA `my-project.{datasets[0]}` SET"
    with pytest.raises(SchemaError, match=message):
        check("code", collated=collated, datasets=datasets, staging_dataset=staging)
    check("id", collated=collated, datasets=datasets, staging_dataset=staging)


def test_only_datasets_in_which_tables_are_created_count() -> None:
    check("code", collated=(), datasets=("production",), staging_dataset="private")
