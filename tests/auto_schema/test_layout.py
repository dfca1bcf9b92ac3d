from __future__ import annotations

from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline.auto_schema.ddl import add_columns_sql, create_table_sql, drop_not_null_sql, new_table, set_type_sql
from sync_pipeline.auto_schema.layout import TableLayout, chosen_layout, with_declared_key
from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, check_partitions, partition_groups
from sync_pipeline.bigquery_api.required_filter import required_filter_column
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import string_literal
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


SMALL = Schema(
    (
        Field("id", "INT64", REQUIRED, 'the "key"\nof C:\\users'),
        Field("changed", "TIMESTAMP"),
        Field("tags", "STRING", REPEATED, "it's"),
    )
)


def test_create_table_sql() -> None:
    sql = create_table_sql("my-project.d.t", SMALL, TableLayout("changed", "MONTH", ("id", "changed"), ("id",)))
    assert sql.splitlines() == [
        "CREATE TABLE `my-project.d.t` (",
        '  `id` INT64 NOT NULL OPTIONS(description="the \\"key\\"\\nof C:\\\\users"),',
        "  `changed` TIMESTAMP,",
        '  `tags` ARRAY<STRING> OPTIONS(description="it\'s"),',
        "  PRIMARY KEY (`id`) NOT ENFORCED",
        ")",
        "PARTITION BY TIMESTAMP_TRUNC(`changed`, MONTH)",
        "CLUSTER BY `id`, `changed`",
    ]


def test_create_or_replace_table_sql() -> None:
    sql = create_table_sql("p.d.t", Schema((Field("a`b", "JSON"),)), TableLayout(), create="CREATE OR REPLACE TABLE")
    assert sql == "CREATE OR REPLACE TABLE `p.d.t` (\n  `a\\`b` JSON\n)"


@pytest.mark.parametrize(
    ("layout", "clause"),
    [
        (TableLayout("day", "DAY"), "PARTITION BY `day`"),
        (TableLayout("day", "MONTH"), "PARTITION BY DATE_TRUNC(`day`, MONTH)"),
        (TableLayout("local", "DAY"), "PARTITION BY DATETIME_TRUNC(`local`, DAY)"),
        (TableLayout("local", "HOUR"), "PARTITION BY DATETIME_TRUNC(`local`, HOUR)"),
        (TableLayout("changed", "YEAR"), "PARTITION BY TIMESTAMP_TRUNC(`changed`, YEAR)"),
    ],
)
def test_partition_clause(layout: TableLayout, clause: str) -> None:
    assert create_table_sql("p.d.t", SCHEMA, layout).splitlines()[-1] == clause


def test_alterations() -> None:
    assert add_columns_sql("p.d.t", [Field("a", "INT64", REQUIRED, "x")]) == (
        'ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` INT64 OPTIONS(description="x")'
    )
    assert add_columns_sql("p.d.t", [Field("a", "INT64", REPEATED)]) == (
        "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` ARRAY<INT64>"
    )
    assert set_type_sql("p.d.t", Field("a", "NUMERIC")) == "ALTER TABLE `p.d.t` ALTER COLUMN `a` SET DATA TYPE NUMERIC"
    assert drop_not_null_sql("p.d.t", Field("a", "INT64")) == "ALTER TABLE `p.d.t` ALTER COLUMN `a` DROP NOT NULL"


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        pytest.param("plain 'text' %s {x} `y`", "\"plain 'text' %s {x} `y`\"", id="nothing to escape"),
        pytest.param('"', '"\\""', id="quote"),
        pytest.param("\\", '"\\\\"', id="backslash"),
        pytest.param("a\r\nb", '"a\\r\\nb"', id="newline"),
        pytest.param("", '""', id="empty"),
    ],
)
def test_string_literal(text: str, literal: str) -> None:
    assert string_literal(text) == literal


def test_long_descriptions_are_cut_before_they_are_escaped() -> None:
    sql = create_table_sql("p.d.t", Schema((Field("a", "INT64", description='"' * 1025),)), TableLayout())
    assert sql.count('\\"') == 1024


def test_new_table() -> None:
    resource = new_table("p.d.t", SMALL, TableLayout("changed", "HOUR", ("id",), ("id",))).to_api_repr()
    assert resource["timePartitioning"] == {"type": "HOUR", "field": "changed"}
    assert resource["clustering"] == {"fields": ["id"]}
    assert resource["tableConstraints"] == {"primaryKey": {"columns": ["id"]}}
    assert [field["name"] for field in resource["schema"]["fields"]] == ["id", "changed", "tags"]


def test_new_plain_table() -> None:
    resource = new_table("p.d.t", SMALL, TableLayout()).to_api_repr()
    assert not {"timePartitioning", "clustering", "tableConstraints", "rangePartitioning"} & {
        name for name, value in resource.items() if value
    }


def partitions(number: int) -> frozenset[str | None]:
    return frozenset([None, *map(str, range(number - 1))])


@pytest.mark.parametrize(
    ("field", "granularity", "remedy"),
    [
        ("changed", "HOUR", "set partition_granularity=DAY for a new table, or "),
        ("changed", "DAY", "set partition_granularity=MONTH for a new table, or "),
        ("day", "DAY", "set partition_granularity=MONTH for a new table, or "),
        ("local", "MONTH", "set partition_granularity=YEAR for a new table, or "),
        ("day", "YEAR", ""),
    ],
)
def test_too_many_partitions(field: str, granularity: str, remedy: str) -> None:
    layout = TableLayout(field, granularity)
    check_partitions(partitions(MAX_PARTITIONS_PER_JOB), SCHEMA, layout, MAX_PARTITIONS_PER_JOB)
    with pytest.raises(SchemaError) as caught:
        check_partitions(partitions(MAX_PARTITIONS_PER_JOB + 1), SCHEMA, layout, MAX_PARTITIONS_PER_JOB)
    assert str(caught.value) == (
        f"the rows belong to more than 4,000 partitions of {field} by {granularity}, BigQuery's limit for one job: "
        f"{remedy}load a shorter interval per run"
    )


def test_partitions_are_grouped_as_one_job_can_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_pipeline.auto_schema.partitions.MAX_PARTITIONS_PER_JOB", 3)
    assert partition_groups(frozenset({"2", None, "1", "5", "4"})) == [{"1", "2", None}, {"4", "5"}]
    assert partition_groups(frozenset({None})) == [{None}]
    assert partition_groups(frozenset()) == []


@pytest.mark.parametrize(
    ("partitioning", "filtered", "expected"),
    [
        pytest.param({}, False, None, id="plain"),
        pytest.param({"timePartitioning": {"type": "DAY", "field": "day"}}, False, None, id="no filter demanded"),
        pytest.param({"timePartitioning": {"type": "DAY", "field": "day"}}, True, "day", id="by a column"),
        pytest.param({"timePartitioning": {"type": "DAY"}}, True, "_PARTITIONTIME", id="by the time of loading"),
        pytest.param({"rangePartitioning": {"field": "id", "range": {}}}, True, "id", id="by ranges of integers"),
    ],
)
def test_demanded_column(partitioning: dict[str, Any], filtered: bool, expected: str | None) -> None:
    reference = {"projectId": "p", "datasetId": "d", "tableId": "t"}
    table = bigquery.Table.from_api_repr(
        {"tableReference": reference, "requirePartitionFilter": filtered, **partitioning}
    )
    assert required_filter_column(table) == expected


# https://cloud.google.com/bigquery/docs/information-schema-table-constraints#limitations
@pytest.mark.parametrize("type_name", sorted(KEY_TYPES))
def test_a_key_is_declared_where_bigquery_takes_the_declaration(type_name: str) -> None:
    layout = with_declared_key(TableLayout(), ("id",), Schema((Field("id", type_name, REQUIRED),)))
    assert layout.primary_key == (() if type_name in {"BYTES", "TIME"} else ("id",))


@pytest.mark.parametrize(("columns", "is_declared"), [(16, True), (17, False)])
def test_a_declared_key_has_at_most_sixteen_columns(columns: int, is_declared: bool) -> None:
    schema = Schema(tuple(Field(f"k{number}", "INT64", REQUIRED) for number in range(columns)))
    assert bool(with_declared_key(TableLayout(), schema.names, schema).primary_key) is is_declared
