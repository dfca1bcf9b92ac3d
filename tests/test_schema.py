from __future__ import annotations

import pyarrow as pa
import pytest
from google.cloud.bigquery import PolicyTagList, SchemaField
from google.cloud.bigquery.enums import TimestampPrecision

from sync_pipeline.googlesql import quoted
from sync_pipeline.schema import (
    ARROW_TYPES,
    CLUSTERING_TYPES,
    EXPLICIT_CASTS,
    INTERVAL,
    KEY_TYPES,
    LOSSLESS_CASTS,
    NULLABLE,
    PARTITION_GRANULARITIES,
    RANGE,
    REPEATED,
    REQUIRED,
    STRUCT,
    Field,
    Schema,
    numeric_type,
    without_policy_tags,
)

SCHEMA = Schema(
    (
        Field("id", "INT64", REQUIRED, "the key"),
        Field("Note", "JSON"),
        Field("tags", "STRING", REPEATED),
        Field("documents", "JSON", REPEATED),
    )
)


@pytest.mark.parametrize(
    ("type_name", "arrow"),
    [
        ("BOOL", pa.bool_()),
        ("INT64", pa.int64()),
        ("FLOAT64", pa.float64()),
        ("NUMERIC", pa.decimal128(38, 9)),
        ("BIGNUMERIC", pa.decimal256(76, 38)),
        ("STRING", pa.string()),
        ("BYTES", pa.binary()),
        ("DATE", pa.date32()),
        ("TIME", pa.time64("us")),
        ("DATETIME", pa.timestamp("us")),
        ("TIMESTAMP", pa.timestamp("us", "UTC")),
        ("JSON", pa.string()),
        ("GEOGRAPHY", pa.string()),
    ],
)
def test_arrow_types(type_name: str, arrow: pa.DataType) -> None:
    assert ARROW_TYPES[type_name] == arrow
    assert Field("a", type_name).arrow_type == arrow
    assert Field("a", type_name, REPEATED).arrow_type == pa.list_(arrow)


NESTED = Schema(
    (
        Field(
            "price", "NUMERIC", parameters="10, 2", policy_tags=("projects/p/locations/eu/taxonomies/1/policyTags/2",)
        ),
        Field("code", "STRING", parameters="20"),
        Field("period", RANGE, parameters="DATE"),
        Field("pauses", INTERVAL, REPEATED),
        Field(
            "person",
            STRUCT,
            REQUIRED,
            "somebody",
            fields=(Field("name", "STRING", REQUIRED), Field("born", RANGE, parameters="DATE")),
        ),
        Field("people", STRUCT, REPEATED, fields=(Field("documents", "JSON", REPEATED),)),
    )
)


def test_there_are_no_other_types() -> None:
    assert len(ARROW_TYPES) == 13
    for casts in (LOSSLESS_CASTS, EXPLICIT_CASTS):
        assert casts.keys() | {target for targets in casts.values() for target in targets} <= ARROW_TYPES.keys()
    assert PARTITION_GRANULARITIES.keys() <= ARROW_TYPES.keys()
    assert ARROW_TYPES.keys() >= KEY_TYPES
    assert ARROW_TYPES.keys() | {"RANGE"} >= CLUSTERING_TYPES


def test_no_cast_is_both_lossless_and_explicit() -> None:
    for source, targets in EXPLICIT_CASTS.items():
        assert not targets & LOSSLESS_CASTS.get(source, frozenset())


@pytest.mark.parametrize(("mode", "name"), [(NULLABLE, "INT64"), (REQUIRED, "INT64"), (REPEATED, "ARRAY<INT64>")])
def test_type_name(mode: str, name: str) -> None:
    assert Field("a", "INT64", mode).type_name == name


@pytest.mark.parametrize(
    ("field", "type_name", "expected"),
    [
        pytest.param(Field("a", "INT64", REQUIRED), "STRING", Field("a", "STRING", REQUIRED), id="required stays"),
        pytest.param(Field("a", "INT64", REPEATED), "JSON", Field("a", "JSON"), id="an array becomes one value"),
        pytest.param(Field("a", "INT64", REPEATED), "INT64", Field("a", "INT64", REPEATED), id="the same type"),
        pytest.param(
            Field("a", "DATE", NULLABLE, "when", "date"),
            "STRING",
            Field("a", "STRING", NULLABLE, "when", "date"),
            id="description and source type stay",
        ),
    ],
)
def test_as_type(field: Field, type_name: str, expected: Field) -> None:
    assert field.as_type(type_name) == expected


def test_looking_up() -> None:
    assert SCHEMA.names == ("id", "Note", "tags", "documents")
    assert (len(SCHEMA), "Note" in SCHEMA, "note" in SCHEMA, 1 in SCHEMA) == (4, True, False, False)
    assert SCHEMA.field("Note").type == "JSON"
    assert [found and found.name for found in (SCHEMA.find("nOTE"), SCHEMA.find("none"))] == ["Note", None]
    with pytest.raises(KeyError, match=r"^'note'$"):
        SCHEMA.field("note")


def test_with_required() -> None:
    assert [field.mode for field in SCHEMA.with_required(["Note", "tags", "other"])] == [
        REQUIRED,
        REQUIRED,
        REPEATED,
        REPEATED,
    ]


def test_every_arrow_field_is_nullable() -> None:
    assert SCHEMA.arrow == pa.schema(
        [
            pa.field("id", pa.int64(), nullable=True),
            pa.field("Note", pa.string(), nullable=True),
            pa.field("tags", pa.list_(pa.string()), nullable=True),
            pa.field("documents", pa.list_(pa.string()), nullable=True),
        ]
    )


def test_what_bigquery_is_told() -> None:
    assert SCHEMA.bigquery == [
        SchemaField("id", "INT64", "REQUIRED", description="the key"),
        SchemaField("Note", "JSON"),
        SchemaField("tags", "STRING", "REPEATED"),
        SchemaField("documents", "JSON", "REPEATED"),
    ]
    assert SCHEMA.bigquery[1].to_api_repr()["description"] is None


def test_in_the_staging_table_nothing_is_json_and_nothing_required() -> None:
    assert SCHEMA.staged == [
        SchemaField("id", "INT64", "NULLABLE", description="the key"),
        SchemaField("Note", "STRING"),
        SchemaField("tags", "STRING", "REPEATED"),
        SchemaField("documents", "STRING", "REPEATED"),
    ]


def test_rebuilt_columns() -> None:
    assert SCHEMA.rebuilt_columns == ("Note", "documents")
    assert NESTED.rebuilt_columns == ("period", "pauses", "person", "people")
    assert Schema(()).rebuilt_columns == ()


def test_nested_columns() -> None:
    person = NESTED.field("person")
    assert person.type_name == "STRUCT<`name` STRING, `born` RANGE<DATE>>"
    assert NESTED.field("people").type_name == "ARRAY<STRUCT<`documents` ARRAY<JSON>>>"
    assert person.arrow_type == pa.struct(
        [("name", pa.string()), ("born", pa.struct([("start", pa.date32()), ("end", pa.date32())]))]
    )
    assert NESTED.field("pauses").arrow_type == pa.list_(pa.string())
    assert person.as_type("JSON") == Field("person", "JSON", description="somebody", mode=REQUIRED)
    assert Schema.from_bigquery(NESTED.bigquery) == NESTED


def test_nested_columns_in_the_staging_table() -> None:
    bounds = (Field("start", "DATE"), Field("end", "DATE"))
    staged = Schema.from_bigquery(NESTED.staged)
    assert staged.fields == (
        Field("price", "NUMERIC"),
        Field("code", "STRING"),
        Field("period", STRUCT, fields=bounds),
        Field("pauses", "STRING", REPEATED),
        Field(
            "person",
            STRUCT,
            description="somebody",
            fields=(Field("name", "STRING"), Field("born", STRUCT, fields=bounds)),
        ),
        Field("people", STRUCT, REPEATED, fields=(Field("documents", "STRING", REPEATED),)),
    )


def test_timestamps_of_picoseconds_are_told_apart() -> None:
    field = SchemaField("t", "TIMESTAMP", timestamp_precision=TimestampPrecision.PICOSECOND)
    assert Schema.from_bigquery([field]) == Schema((Field("t", "TIMESTAMP", parameters="12"),))


def test_long_descriptions_are_cut() -> None:
    (field,) = Schema((Field("a", "INT64", description="x" * 1025),)).bigquery
    assert field.description == "x" * 1024


def test_from_bigquery_gives_the_names_of_googlesql() -> None:
    fields = [
        SchemaField("a", "INTEGER", "REQUIRED", description="the key"),
        SchemaField("b", "BOOLEAN"),
        SchemaField("c", "FLOAT", "REPEATED"),
        SchemaField("d", "RECORD", fields=[SchemaField("e", "INTEGER")]),
        SchemaField("f", "BIGNUMERIC"),
        SchemaField("g", "RANGE", range_element_type="DATE"),
    ]
    assert Schema.from_bigquery(fields) == Schema(
        (
            Field("a", "INT64", REQUIRED, "the key"),
            Field("b", "BOOL"),
            Field("c", "FLOAT64", REPEATED),
            Field("d", "STRUCT", fields=(Field("e", "INT64"),)),
            Field("f", "BIGNUMERIC"),
            Field("g", "RANGE", parameters="DATE"),
        )
    )


def test_from_bigquery_and_back() -> None:
    assert Schema.from_bigquery(SCHEMA.bigquery) == SCHEMA


@pytest.mark.parametrize(
    ("precision", "scale", "type_name"),
    [
        pytest.param(38, 9, "NUMERIC", id="the widest NUMERIC"),
        pytest.param(29, 0, "NUMERIC", id="29 digits before the point"),
        pytest.param(30, 0, "BIGNUMERIC", id="30 digits before the point"),
        pytest.param(10, 10, "BIGNUMERIC", id="10 digits after the point"),
        pytest.param(76, 38, "BIGNUMERIC", id="the widest BIGNUMERIC"),
        pytest.param(39, 0, "STRING", id="39 digits before the point"),
        pytest.param(39, 39, "STRING", id="39 digits after the point"),
        pytest.param(5, -25, "BIGNUMERIC", id="negative scale"),
        pytest.param(5, -24, "NUMERIC", id="negative scale that fits"),
        pytest.param(2, 9, "NUMERIC", id="scale beyond the precision"),
        pytest.param(None, None, "BIGNUMERIC", id="no precision"),
    ],
)
def test_numeric_type(precision: int | None, scale: int | None, type_name: str) -> None:
    assert numeric_type(precision, scale) == type_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "`a`"), ("p.d.t", "`p.d.t`"), ("a`b", "`a\\`b`"), ("a\\b", "`a\\\\b`"), ("a b", "`a b`")],
)
def test_quoted(name: str, expected: str) -> None:
    assert quoted(name) == expected


def test_fields_are_sent_without_their_policy_tags() -> None:
    tags = PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
    nested = SchemaField("inner", "NUMERIC", policy_tags=tags, precision=10, scale=2)
    fields = [
        SchemaField("plain", "STRING", "REQUIRED", description="kept", max_length=3),
        SchemaField("tagged", "STRING", policy_tags=tags),
        SchemaField("struct", "RECORD", "REPEATED", fields=[nested]),
    ]
    sent = [field.to_api_repr() for field in without_policy_tags(fields)]
    assert "policyTags" not in str(sent)
    assert sent[0] == fields[0].to_api_repr()
    assert sent[2]["fields"] == [SchemaField("inner", "NUMERIC", precision=10, scale=2).to_api_repr()]
    assert Schema.from_bigquery(fields).tagged_columns == ("tagged", "struct")
