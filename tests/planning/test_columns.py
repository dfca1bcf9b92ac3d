"""Which columns are read and written: all of it follows from the parameters, the source's columns and the table."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import EmptySourceError, SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.columns import TableColumns, plan_columns
from sync_pipeline.planning.destination import DestinationDescription, ExistingTable
from sync_pipeline.schema import REQUIRED, Field, Schema
from sync_pipeline.sources.source import SourceDescription
from tests.plans import PARAMETERS, SMART_SYNC, USERS

TABLE = Schema((Field("id", "NUMERIC", REQUIRED), Field("name", "STRING"), Field("updated_at", "TIMESTAMP")))


def destination(table: Schema | None, *, is_replaced: bool = False) -> DestinationDescription:
    existing = ExistingTable(table, TableLayout()) if table is not None else None
    return DestinationDescription("EU", existing, datetime(2025, 1, 1, tzinfo=UTC), is_replaced=is_replaced)


def columns(
    parameters: dict[str, str] | None = None,
    *,
    table: Schema | None = TABLE,
    source: SourceDescription | None = None,
    is_replaced: bool = False,
) -> TableColumns:
    config = SyncConfig.from_parameters(PARAMETERS | (parameters or {}))
    return plan_columns(config, source or SourceDescription(USERS), destination(table, is_replaced=is_replaced))


def shown(schema: Schema) -> str:
    return ", ".join(f"{field.name} {field.type}{' NOT NULL' if field.mode == REQUIRED else ''}" for field in schema)


def transformed(**given: Any) -> dict[str, str]:
    return {"transformation_config": json.dumps(given)}


def test_columns_are_read_as_the_existing_table_has_them() -> None:
    planned = columns()
    assert shown(planned.read) == "id NUMERIC NOT NULL, name STRING, updated_at TIMESTAMP"
    assert planned.schema == planned.read
    assert planned.notes == ("id is read as NUMERIC, its type in the destination",)


@pytest.mark.parametrize(("table", "is_replaced"), [(None, False), (TABLE, True)], ids=["no table", "another table"])
def test_a_new_table_has_the_columns_of_the_source(table: Schema | None, is_replaced: bool) -> None:
    planned = columns({"primary_key": "name"}, table=table, is_replaced=is_replaced)
    assert shown(planned.schema) == "id INT64 NOT NULL, name STRING NOT NULL, updated_at TIMESTAMP"
    assert planned.primary_key == ("name",)


def test_a_column_that_is_left_out_is_neither_read_nor_a_constant() -> None:
    parameters = {"schema_evolution": "ignore"} | transformed(constant_fields={"origin": "shop"})
    planned = columns(parameters, table=Schema(TABLE.fields[:2]))
    assert planned.read.names == planned.schema.names == ("id", "name")
    assert planned.transformation.constant_fields == {}


def test_columns_have_the_names_of_the_destination() -> None:
    planned = columns({"primary_key": "id"} | transformed(field_mappings={"id": "key"}), table=None)
    assert (planned.read.names[0], planned.schema.names[0], planned.primary_key) == ("id", "key", ("key",))


def test_columns_nobody_has_seen_are_those_of_the_table() -> None:
    source = SourceDescription(Schema((Field("id", "STRING"),)), has_dynamic_schema=True)
    assert shown(columns(source=source).read) == "id NUMERIC NOT NULL, name STRING, updated_at TIMESTAMP"
    empty = SourceDescription(Schema(()), has_dynamic_schema=True)
    with pytest.raises(EmptySourceError, match="the source has no rows for this run"):
        columns(source=empty, table=None)
    with pytest.raises(SchemaError, match=r"^too few were looked at$") as caught:
        columns(source=replace(empty, nothing_seen="too few were looked at"), table=None)
    assert not isinstance(caught.value, EmptySourceError)
    # Rows that the source no longer has are still in the table.
    with pytest.raises(SchemaError, match="the source has no rows for this run") as caught:
        columns(source=empty, is_replaced=True)
    assert not isinstance(caught.value, EmptySourceError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(USERS.fields[:2], "updated_at is not among the columns that are loaded", id="missing"),
        pytest.param(
            (USERS.fields[0], Field("updated_at", "DATE", source_type="date")), "updated_at is date", id="date"
        ),
        # Only sources that know a sequence show numbers by their clock.
        pytest.param(
            (USERS.fields[0], Field("updated_at", "INT64", source_type="long")), "updated_at is long", id="numbers"
        ),
    ],
)
def test_smart_sync_needs_timestamps(source: tuple[Field, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=f"^smart_sync_timestamp_column: {message}"):
        columns(SMART_SYNC, source=SourceDescription(Schema(source)), table=None)


def test_policy_tags_would_be_lost_with_the_table() -> None:
    tagged = Schema((*TABLE.fields[:2], Field("updated_at", "TIMESTAMP", policy_tags=("a tag",))))
    with pytest.raises(SchemaError, match=r"^delete_existing_table: updated_at have policy tags"):
        columns(table=tagged, is_replaced=True)
