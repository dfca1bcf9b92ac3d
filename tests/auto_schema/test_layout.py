from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout, chosen_layout, layout_notes, with_declared_key
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import AutoSchemaConfig
from sync_pipeline.schema import KEY_TYPES, PARTITION_GRANULARITIES, REPEATED, REQUIRED, Field, Schema

SCHEMA = Schema(
    (
        Field("id", "INT64", REQUIRED),
        Field("day", "DATE"),
        Field("local", "DATETIME"),
        Field("changed", "TIMESTAMP"),
        Field("note", "STRING"),
        Field("price", "FLOAT64"),
        Field("document", "JSON"),
        Field("raw", "BYTES"),
        Field("clock", "TIME"),
        Field("days", "DATE", REPEATED),
        Field("tags", "STRING", REPEATED),
    )
)
COLUMNS = "id, day, local, changed, note, price, document, raw, clock, days, tags"
RENAMED = {"updated_at": "changed", "comment": "note"}


def auto_schema(field: str = "changed", *, given: bool = True, by: str = "DAY", clustering: str = "") -> Any:
    return AutoSchemaConfig(None, field, given, by, tuple(clustering.split()))


def test_without_auto_schema_a_table_is_plain() -> None:
    assert chosen_layout(SCHEMA, None, RENAMED) == (TableLayout(), [])


@pytest.mark.parametrize(
    ("column", "granularity"),
    [
        (column, granularity)
        for column, type_name in (("day", "DATE"), ("local", "DATETIME"), ("changed", "TIMESTAMP"))
        for granularity in PARTITION_GRANULARITIES[type_name]
    ],
)
def test_partitioning(column: str, granularity: str) -> None:
    layout = TableLayout(column, granularity)
    assert chosen_layout(SCHEMA, auto_schema(column, by=granularity), RENAMED) == (layout, [])


def test_fields_by_their_source_names() -> None:
    layout = TableLayout("changed", "DAY", ("note", "id"))
    assert chosen_layout(SCHEMA, auto_schema("updated_at", clustering="comment id"), RENAMED) == (layout, [])


def test_a_destination_name_comes_before_a_source_name() -> None:
    layout = TableLayout("day", clustering_fields=("note",))
    assert chosen_layout(SCHEMA, auto_schema("day", clustering="note"), {"day": "local", "note": "id"}) == (layout, [])


def test_clustering_finds_columns_in_any_case() -> None:
    layout, _ = chosen_layout(SCHEMA, auto_schema(clustering="ID Note"), RENAMED)
    assert layout.clustering_fields == ("id", "note")


def test_partitioning_finds_columns_in_any_case() -> None:
    layout, _ = chosen_layout(SCHEMA, auto_schema("Changed"), RENAMED)
    assert layout.partition_field == "changed"


@pytest.mark.parametrize(
    ("field", "note"),
    [
        pytest.param("created_at", "the table is not partitioned: it has no column created_at", id="no column"),
        pytest.param("note", "the table is not partitioned: note is STRING, which cannot partition", id="wrong type"),
        pytest.param(
            "days", "the table is not partitioned: days is ARRAY<DATE>, which cannot partition", id="an array"
        ),
    ],
)
def test_the_default_partition_field_may_be_unusable(field: str, note: str) -> None:
    layout, notes = chosen_layout(SCHEMA, auto_schema(field, given=False, clustering="id"), RENAMED)
    assert (layout, notes) == (TableLayout(None, clustering_fields=("id",)), [note])


CLUSTERING = "BIGNUMERIC, BOOL, DATE, DATETIME, GEOGRAPHY, INT64, NUMERIC, RANGE, STRING, TIMESTAMP"


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        pytest.param(
            auto_schema("created_at"),
            [f"partition_field: the destination has no column created_at; its columns are {COLUMNS}"],
            id="no partition column",
        ),
        pytest.param(
            auto_schema("note"),
            ["partition_field: note is STRING: use a DATE, DATETIME or TIMESTAMP column"],
            id="partition by STRING",
        ),
        pytest.param(
            auto_schema("days"),
            ["partition_field: days is ARRAY<DATE>: use a DATE, DATETIME or TIMESTAMP column"],
            id="partition by an array",
        ),
        pytest.param(
            auto_schema("day", by="HOUR"),
            [
                "partition_granularity: a DATE column such as day can be partitioned by DAY, MONTH, YEAR, not by HOUR",
            ],
            id="DATE by HOUR",
        ),
        pytest.param(
            auto_schema("day", by="HOUR", given=False),
            [
                "partition_granularity: a DATE column such as day can be partitioned by DAY, MONTH, YEAR, not by HOUR",
            ],
            id="DATE by HOUR, by default",
        ),
        pytest.param(
            auto_schema(clustering="nobody"),
            [f"clustering_fields: the destination has no column nobody; its columns are {COLUMNS}"],
            id="no clustering column",
        ),
        *(
            pytest.param(
                auto_schema(clustering=f"id {column}"),
                [f"clustering_fields: {column} is {type_name}: BigQuery clusters by {CLUSTERING}"],
                id=f"cluster by {type_name}",
            )
            for column, type_name in (
                ("price", "FLOAT64"),
                ("document", "JSON"),
                ("raw", "BYTES"),
                ("clock", "TIME"),
                ("tags", "ARRAY<STRING>"),
            )
        ),
        pytest.param(
            auto_schema("note", clustering="price nobody"),
            [
                "partition_field: note is STRING: use a DATE, DATETIME or TIMESTAMP column",
                f"clustering_fields: price is FLOAT64: BigQuery clusters by {CLUSTERING}",
                f"clustering_fields: the destination has no column nobody; its columns are {COLUMNS}",
            ],
            id="all together",
        ),
    ],
)
def test_refusal(config: AutoSchemaConfig, problems: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        chosen_layout(SCHEMA, config, RENAMED)
    assert str(caught.value).splitlines() == problems


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (TableLayout(), "neither partitioned nor clustered"),
        (TableLayout("a", "HOUR"), "partitioned by a (HOUR)"),
        (TableLayout(clustering_fields=("a", "b")), "clustered by a, b"),
        (TableLayout("a", "DAY", ("b",), ("c",)), "partitioned by a (DAY), clustered by b"),
    ],
)
def test_a_layout_as_text(layout: TableLayout, text: str) -> None:
    assert str(layout) == text


# https://cloud.google.com/bigquery/docs/information-schema-table-constraints#limitations
@pytest.mark.parametrize("type_name", sorted(KEY_TYPES))
def test_a_key_is_declared_where_bigquery_takes_the_declaration(type_name: str) -> None:
    layout = with_declared_key(TableLayout(), ("id",), Schema((Field("id", type_name, REQUIRED),)))
    assert layout.primary_key == (() if type_name in {"BYTES", "TIME"} else ("id",))


@pytest.mark.parametrize(("columns", "is_declared"), [(16, True), (17, False)])
def test_a_declared_key_has_at_most_sixteen_columns(columns: int, is_declared: bool) -> None:
    schema = Schema(tuple(Field(f"k{number}", "INT64", REQUIRED) for number in range(columns)))
    assert bool(with_declared_key(TableLayout(), schema.names, schema).primary_key) is is_declared


@pytest.mark.parametrize(
    ("wanted", "existing", "names"),
    [
        pytest.param(TableLayout("a"), TableLayout("a"), [], id="the same"),
        pytest.param(TableLayout("a", "DAY", ("b",)), TableLayout("A", "DAY", ("B",)), [], id="in another spelling"),
        pytest.param(TableLayout(), TableLayout("a", "DAY", ("b",)), [], id="nothing is asked for"),
        pytest.param(TableLayout("a"), TableLayout(), ["partition_field"], id="partitioning"),
        pytest.param(TableLayout("a", "MONTH"), TableLayout("a", "DAY"), ["partition_field"], id="granularity"),
        pytest.param(
            TableLayout(clustering_fields=("a", "b")),
            TableLayout(clustering_fields=("b", "a")),
            ["clustering_fields"],
            id="the order of clustering",
        ),
        pytest.param(
            TableLayout("a", "DAY", ("b",)), TableLayout("c"), ["partition_field", "clustering_fields"], id="both"
        ),
    ],
)
def test_layout_notes(wanted: TableLayout, existing: TableLayout, names: list[str]) -> None:
    assert layout_notes(wanted, existing) == [
        f"{name}: the existing table is {existing} and stays so; rebuild it with delete_existing_table=true"
        for name in names
    ]
