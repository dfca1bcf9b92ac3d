from __future__ import annotations

import hashlib
import hmac
import json
import pickle
import time

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to

from sync_pipeline.errors import ConfigError, SchemaError
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import ARROW_TYPES, EXPLICIT_CASTS, LOSSLESS_CASTS, REPEATED, REQUIRED, Field, Schema
from sync_pipeline.transforms.batches import (
    ApplyTransformation,
    Transformation,
    destination_name,
    read_schema,
    transform_batch,
    transform_schema,
)
from sync_pipeline.transforms.hashing import hash_column

SOURCE = Schema(
    (
        Field("id", "INT64", REQUIRED, source_type="bigint"),
        Field("email", "STRING", description="of the user"),
        Field("digest", "BYTES"),
        Field("tags", "STRING", REPEATED),
        Field("created", "DATETIME"),
        Field("price", "NUMERIC"),
        Field("place", "GEOGRAPHY"),
    )
)


def config(**keys: object) -> TransformationConfig:
    return TransformationConfig.from_json(json.dumps(keys))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        TransformationConfig.from_json(text)
    return list(caught.value.problems)


COLUMN_RULE = (
    "a BigQuery column name has ASCII letters, digits and underscores and begins with a letter or an underscore"
)
TYPE_NAMES = ", ".join(ARROW_TYPES)


class TestConfig:
    def test_all_keys(self) -> None:
        text = """{
            "field_mappings": {"Old Name": "new_name"},
            "include_fields": ["Old Name", "b"],
            "exclude_fields": ["c"],
            "type_overrides": {"b": "STRING"},
            "constant_fields": {"s": "x", "i": 1, "f": 1.0, "t": true},
            "hash_fields": ["d"]
        }"""
        assert TransformationConfig.from_json(text) == TransformationConfig(
            field_mappings={"Old Name": "new_name"},
            include_fields=("Old Name", "b"),
            exclude_fields=("c",),
            type_overrides={"b": "STRING"},
            constant_fields={"s": "x", "i": 1, "f": 1.0, "t": True},
            hash_fields=("d",),
        )

    def test_constants_keep_their_types(self) -> None:
        constants = TransformationConfig.from_json('{"constant_fields": {"i": 1, "f": 1.0, "t": true, "s": "1"}}')
        assert [type(value) for value in constants.constant_fields.values()] == [int, float, bool, str]

    @pytest.mark.parametrize("text", ["", "{}"])
    def test_nothing(self, text: str) -> None:
        assert TransformationConfig.from_json(text) == TransformationConfig()

    @pytest.mark.parametrize(
        ("given", "standard"),
        [("INTEGER", "INT64"), ("FLOAT", "FLOAT64"), ("BOOLEAN", "BOOL"), ("bool", "BOOL"), ("Json", "JSON")],
    )
    def test_spellings_of_types(self, given: str, standard: str) -> None:
        overrides = TransformationConfig.from_json(f'{{"type_overrides": {{"a": "{given}"}}}}').type_overrides
        assert overrides == {"a": standard}

    def test_frozen_and_travels_by_pickle(self) -> None:
        value = config(field_mappings={"a": "b"}, hash_fields=["c"])
        assert pickle.loads(pickle.dumps(value)) == value
        with pytest.raises(ValueError, match="frozen"):
            value.hash_fields = ()

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("[]", """ is '[]': it must be a JSON object, {"key": value}""", id="no object"),
            pytest.param(
                '{\n "hash_fields": [a]}',
                " is '{\\n \"hash_fields\": [a]}': it is not JSON: Expecting value at line 2, column 18",
                id="no JSON",
            ),
            pytest.param(
                '{"feild_mappings": {}}', ".feild_mappings: unknown key; did you mean field_mappings?", id="near key"
            ),
            pytest.param(
                '{"xyzzy": {}}',
                ".xyzzy: unknown key; known are field_mappings, include_fields, exclude_fields, type_overrides, "
                "constant_fields, hash_fields",
                id="unknown key",
            ),
            pytest.param('{"field_mappings": ["a"]}', ".field_mappings: must be a JSON object", id="list for object"),
            pytest.param('{"hash_fields": "a"}', ".hash_fields: must be a list", id="string for list"),
            pytest.param('{"hash_fields": null}', ".hash_fields: must be a list", id="null for list"),
            pytest.param('{"hash_fields": ["a", 1]}', ".hash_fields[1]: must be a string", id="number for string"),
            pytest.param('{"field_mappings": {"old": 7}}', ".field_mappings.old: must be a string", id="new name"),
            pytest.param(
                '{"field_mappings": {"old": "new name"}}',
                f".field_mappings.old: 'new name': {COLUMN_RULE}",
                id="invalid new name",
            ),
            pytest.param(
                '{"field_mappings": {"old": "_PARTITIONTIME"}}',
                ".field_mappings.old: '_PARTITIONTIME': BigQuery reserves column names that begin with _PARTITION",
                id="reserved new name",
            ),
            pytest.param(
                '{"constant_fields": {"2nd": 1}}', f".constant_fields.2nd: '2nd': {COLUMN_RULE}", id="constant's name"
            ),
            pytest.param(
                '{"constant_fields": {"a": null}}',
                ".constant_fields.a: a constant is a string, a number, true or false",
                id="null constant",
            ),
            pytest.param(
                '{"constant_fields": {"a": 9223372036854775808}}',
                ".constant_fields.a: the number is too large for INT64",
                id="constant out of range",
            ),
            pytest.param(
                '{"constant_fields": {"a": 1e999}}',
                ".constant_fields.a: the number is too large for FLOAT64",
                id="infinite constant",
            ),
            pytest.param(
                '{"type_overrides": {"a": "STRNG"}}',
                f".type_overrides.a: 'STRNG' is none of {TYPE_NAMES}; did you mean STRING?",
                id="near type",
            ),
            pytest.param(
                '{"type_overrides": {"a": "RECORD"}}',
                f".type_overrides.a: 'RECORD' is none of {TYPE_NAMES}",
                id="type without a column",
            ),
            pytest.param(
                '{"include_fields": []}', ".include_fields: the list is empty; omit the key instead", id="empty"
            ),
            pytest.param('{"hash_fields": ["a", "b", "a"]}', ".hash_fields: 'a' is a duplicate", id="twice"),
            pytest.param('{"exclude_fields": [""]}', ".exclude_fields[0]: a column's name is missing", id="no name"),
            pytest.param(
                '{"include_fields": ["a", "b"], "exclude_fields": ["b"]}',
                ".exclude_fields: 'b' is in include_fields as well",
                id="included and excluded",
            ),
            pytest.param(
                '{"field_mappings": {"a": "x", "b": "X"}}',
                ".field_mappings.b: the destination has one column 'X' already, from field_mappings.a",
                id="two columns, one name",
            ),
            pytest.param(
                '{"field_mappings": {"a": "x"}, "constant_fields": {"X": 1}}',
                ".constant_fields.X: the destination has one column 'X' already, from field_mappings.a",
                id="column and constant, one name",
            ),
            pytest.param(
                '{"hash_fields": ["a"], "type_overrides": {"a": "JSON"}}',
                ".type_overrides.a: the column is in hash_fields, and a hash is always a STRING",
                id="hashed and overridden",
            ),
        ],
    )
    def test_problem(self, text: str, problem: str) -> None:
        assert problems(text) == [f"transformation_config{problem}"]

    def test_all_problems_together(self) -> None:
        text = '{"xyzzy": 1, "hash_fields": ["a", 2], "include_fields": ["b"], "exclude_fields": ["b"]}'
        assert [problem.split(": ")[0] for problem in problems(text)] == [
            "transformation_config.hash_fields[1]",
            "transformation_config.xyzzy",
            "transformation_config.exclude_fields",
        ]

    def test_long_values_are_cut(self) -> None:
        (problem,) = problems(f'{{"field_mappings": {{"a": "{"long name " * 100}"}}}}')
        assert len(problem) < 250


class TestReadSchema:
    def test_nothing_to_do(self) -> None:
        assert read_schema(SOURCE, TransformationConfig()) == SOURCE

    def test_included_columns_keep_the_sources_order(self) -> None:
        assert read_schema(SOURCE, config(include_fields=["email", "id"])).names == ("id", "email")

    def test_excluded_columns_are_not_read(self) -> None:
        excluded = config(exclude_fields=["email", "tags", "place", "price"])
        assert read_schema(SOURCE, excluded).names == ("id", "digest", "created")

    def test_names_stay_the_sources(self) -> None:
        assert read_schema(SOURCE, config(field_mappings={"id": "key"})) == SOURCE

    def test_hashed_columns_are_read_as_text(self) -> None:
        read = read_schema(SOURCE, config(hash_fields=["id", "email", "digest", "price"]))
        assert [read.field(name).type for name in ("id", "email", "digest", "price")] == [
            "STRING",
            "STRING",
            "BYTES",
            "STRING",
        ]
        assert read.field("id") == Field("id", "STRING", REQUIRED, source_type="bigint")

    @pytest.mark.parametrize(
        ("source", "override"),
        [
            (source, override)
            for casts in (LOSSLESS_CASTS, EXPLICIT_CASTS)
            for source, overrides in casts.items()
            for override in sorted(overrides)
        ],
    )
    def test_allowed_override(self, source: str, override: str) -> None:
        read = read_schema(Schema((Field("a", source, REQUIRED),)), config(type_overrides={"a": override}))
        assert read.fields == (Field("a", override, REQUIRED),)

    def test_override_by_the_same_type(self) -> None:
        assert read_schema(SOURCE, config(type_overrides={"place": "GEOGRAPHY", "id": "INTEGER"})) == SOURCE

    @pytest.mark.parametrize("element", ["STRING", "JSON", "INT64"])
    def test_array_becomes_one_json_value(self, element: str) -> None:
        source = Schema((Field("a", element, REPEATED),))
        assert read_schema(source, config(type_overrides={"a": "JSON"})).fields == (Field("a", "JSON"),)

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            pytest.param(
                {"type_overrides": {"created": "DATE"}},
                "transformation_config.type_overrides.created: the column is DATETIME, which can become STRING, "
                "TIMESTAMP, not DATE",
                id="type that is not allowed",
            ),
            pytest.param(
                {"type_overrides": {"digest": "STRING"}},
                "transformation_config.type_overrides.digest: the column is BYTES, which can become nothing else, not "
                "STRING",
                id="type that stays",
            ),
            pytest.param(
                {"type_overrides": {"tags": "STRING"}},
                "transformation_config.type_overrides.tags: the column is an array of STRING, which can become JSON, "
                "not STRING",
                id="array",
            ),
            pytest.param(
                {"hash_fields": ["tags"]},
                "transformation_config.hash_fields: tags is an array; only single values are hashed",
                id="hashed array",
            ),
            pytest.param(
                {"hash_fields": ["place"]},
                "transformation_config.hash_fields: place is GEOGRAPHY, which has no unique text to hash",
                id="hashed geography",
            ),
            pytest.param(
                {"exclude_fields": list(SOURCE.names)},
                "include_fields and exclude_fields leave no column to read",
                id="no column left",
            ),
            pytest.param(
                {
                    "field_mappings": {"ID": "key"},
                    "include_fields": ["emial", "id"],
                    "exclude_fields": ["xyzzy"],
                    "type_overrides": {"prise": "STRING"},
                    "hash_fields": ["digests"],
                },
                "transformation_config.field_mappings names ID, which the source does not have; did you mean id?; "
                "transformation_config.include_fields names emial, which the source does not have; "
                "did you mean email?; "
                "transformation_config.exclude_fields names xyzzy, which the source does not have; "
                "transformation_config.type_overrides names prise, which the source does not have; "
                "did you mean price?; "
                "transformation_config.hash_fields names digests, which the source does not have; "
                "did you mean digest?",
                id="unknown columns",
            ),
        ],
    )
    def test_refused(self, keys: dict[str, object], message: str) -> None:
        with pytest.raises(SchemaError) as caught:
            read_schema(SOURCE, config(**keys))
        assert str(caught.value) == message


class TestTransformSchema:
    def test_nothing_to_do(self) -> None:
        assert transform_schema(SOURCE, TransformationConfig()) == SOURCE

    def test_renamed_hashed_and_constant_columns(self) -> None:
        transformation = config(
            field_mappings={"id": "key", "digest": "hash"},
            hash_fields=["digest", "email"],
            include_fields=["id", "email", "digest"],
            constant_fields={"text": "x", "number": 1, "ratio": 0.5, "flag": False},
        )
        assert transform_schema(read_schema(SOURCE, transformation), transformation).fields == (
            Field("key", "INT64", REQUIRED, source_type="bigint"),
            Field("email", "STRING", description="of the user"),
            Field("hash", "STRING"),
            Field("text", "STRING"),
            Field("number", "INT64"),
            Field("ratio", "FLOAT64"),
            Field("flag", "BOOL"),
        )

    def test_two_columns_may_swap_names(self) -> None:
        swapped = config(field_mappings={"id": "email", "email": "id"})
        assert transform_schema(SOURCE, swapped).names[:2] == ("email", "id")

    @pytest.mark.parametrize(
        ("names", "keys", "clash"),
        [
            pytest.param(("Id", "id"), {}, "Id and id", id="names that differ by case"),
            pytest.param(("a", "b"), {"field_mappings": {"a": "B"}}, "a and b", id="renamed onto another"),
            pytest.param(("a", "b"), {"constant_fields": {"A": 1}}, "a and constant_fields.A", id="constant"),
            pytest.param(("a", "A", "b", "B"), {}, "a and A; b and B", id="all of them"),
        ],
    )
    def test_one_name_for_two_columns(self, names: tuple[str, ...], keys: dict[str, object], clash: str) -> None:
        with pytest.raises(SchemaError) as caught:
            transform_schema(Schema(tuple(Field(name, "STRING") for name in names)), config(**keys))
        assert str(caught.value) == (
            f"duplicate column names, as BigQuery ignores case: {clash}. Rename all but one with "
            "transformation_config.field_mappings, or leave them out with exclude_fields"
        )

    def test_names_bigquery_does_not_allow(self) -> None:
        names = (
            "Order No.",
            "order no.?",
            "ok",
            "1st",
            "größe",
            "?column?",
            "_PARTITIONTIME",
            "表",
            "Order_No",
            "x" * 301,
        )
        with pytest.raises(SchemaError) as caught:
            transform_schema(Schema(tuple(Field(name, "STRING") for name in names)), TransformationConfig())
        message, _, remedy = str(caught.value).partition("transformation_config=")
        assert message == (
            f"BigQuery does not allow these column names: Order No., order no.?, 1st, größe, ?column?, "
            f"_PARTITIONTIME, 表, {'x' * 301}. Rename them, for example with "
        )
        # What is proposed can be pasted, and solves it.
        proposed = TransformationConfig.from_json(remedy)
        transformed = transform_schema(Schema(tuple(Field(name, "STRING") for name in names)), proposed)
        assert transformed.names == (
            "Order_No_2",
            "order_no_3",
            "ok",
            "c_1st",
            "grosse",
            "column",
            "PARTITIONTIME",
            "column_2",
            "Order_No",
            "x" * 290,
        )

    def test_renaming_allows_any_source_name(self) -> None:
        schema = Schema((Field("Order No.", "STRING"),))
        assert transform_schema(schema, config(field_mappings={"Order No.": "order_no"})).names == ("order_no",)


def test_destination_name() -> None:
    renaming = config(field_mappings={"id": "key"})
    assert [destination_name(name, renaming) for name in ("id", "ID", "email")] == ["key", "ID", "email"]


def batch_of(schema: Schema, *columns: list[object]) -> pa.RecordBatch:
    arrow = schema.arrow
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, arrow, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


class TestTransformBatch:
    schema = Schema((Field("id", "INT64", REQUIRED), Field("email", "STRING"), Field("digest", "BYTES")))
    batch = batch_of(schema, [1, 2, 3, 4], ["ä@x", None, "ä@x", ""], [b"\xff", None, b"", b"\xff"])

    def transformed(self, transformation: TransformationConfig) -> tuple[pa.RecordBatch, Schema]:
        schema = transform_schema(read_schema(self.schema, transformation), transformation)
        return transform_batch(self.batch, transformation, schema, None), schema

    def test_nothing_to_do_returns_the_batch_itself(self) -> None:
        assert self.transformed(TransformationConfig())[0] is self.batch

    def test_renaming_copies_no_data(self) -> None:
        result, schema = self.transformed(config(field_mappings={"email": "mail"}))
        assert result.schema.equals(schema.arrow, check_metadata=True)
        assert result.schema.names == ["id", "mail", "digest"]
        addresses = [[buffer and buffer.address for buffer in column.buffers()] for column in self.batch.columns]
        assert [[buffer and buffer.address for buffer in column.buffers()] for column in result.columns] == addresses

    def test_hashes(self) -> None:
        result, schema = self.transformed(config(hash_fields=["email", "digest"]))
        assert result.schema.equals(schema.arrow, check_metadata=True)
        mail, empty, byte = sha256("ä@x".encode()), sha256(b""), sha256(b"\xff")
        assert result.to_pydict() == {
            "id": [1, 2, 3, 4],
            "email": [mail, None, mail, empty],
            "digest": [byte, None, empty, byte],
        }

    def test_hash_of_a_column_whose_type_stays(self) -> None:
        result, _ = self.transformed(config(hash_fields=["email"]))
        assert result.column("email").to_pylist() == [sha256("ä@x".encode()), None, sha256("ä@x".encode()), sha256(b"")]

    def test_constants(self) -> None:
        constants = {"text": "x", "number": 2**62, "ratio": 2.0, "flag": True}
        result, schema = self.transformed(config(constant_fields=constants))
        assert result.schema.equals(schema.arrow, check_metadata=True)
        assert [result.column(name).to_pylist() for name in constants] == [[value] * 4 for value in constants.values()]

    def test_empty_batch(self) -> None:
        transformation = config(hash_fields=["email"], constant_fields={"n": 1})
        schema = transform_schema(read_schema(self.schema, transformation), transformation)
        result = transform_batch(self.batch.slice(0, 0), transformation, schema, None)
        assert result.num_rows == 0
        assert result.schema.equals(schema.arrow)

    def test_part_of_a_batch(self) -> None:
        transformation = config(hash_fields=["email"], field_mappings={"email": "mail"})
        schema = transform_schema(read_schema(self.schema, transformation), transformation)
        result = transform_batch(self.batch.slice(1, 2), transformation, schema, None)
        assert result.column("mail").to_pylist() == [None, sha256("ä@x".encode())]

    def test_batch_with_a_column_too_few(self) -> None:
        with pytest.raises(ValueError, match="Schema and number of arrays unequal"):
            transform_batch(self.batch.drop_columns(["id"]), config(hash_fields=["email"]), self.schema, None)

    def test_each_distinct_value_is_hashed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hashed: list[bytes] = []

        def record(value: bytes, _: object) -> str:
            hashed.append(value)
            return value.hex()

        monkeypatch.setattr("sync_pipeline.transforms.hashing.digest", record)
        hash_column(pa.array(["a", "b", None, "a"] * 1000))
        assert hashed == [b"a", b"b"]

    def test_with_a_key_the_hash_is_keyed(self) -> None:
        transformation, key = config(hash_fields=["email"]), Secret("hash_key", "a key of more than sixteen bytes")
        schema = transform_schema(read_schema(self.schema, transformation), transformation)
        hashed = transform_batch(self.batch, transformation, schema, key).column("email").to_pylist()
        plain = [
            value if value is None else hmac.digest(b"a key of more than sixteen bytes", value.encode(), "sha256").hex()
            for value in self.batch.column("email").to_pylist()
        ]
        assert hashed == plain

    def test_nothing_to_do_costs_next_to_nothing(self) -> None:
        started = time.perf_counter()
        for _ in range(1000):
            transform_batch(self.batch, TransformationConfig(), self.schema, None)
        assert time.perf_counter() - started < 1


def test_apply_transformation() -> None:
    schema = Schema((Field("id", "INT64"), Field("email", "STRING")))
    transformation = config(field_mappings={"id": "key"}, hash_fields=["email"])
    transformed = transform_schema(read_schema(schema, transformation), transformation)
    batches = [(0, batch_of(schema, [1], ["a"])), (0, batch_of(schema, [2], [None])), (1, batch_of(schema, [3], ["c"]))]
    with Pipeline() as pipeline:
        rows = (
            pipeline
            | beam.Create(batches)
            | ApplyTransformation(
                {0: Transformation(transformation, transformed, None), 1: Transformation(config(), schema, None)}
            )
            | beam.FlatMap(lambda element: [(element[0], row) for row in element[1].to_pylist()])
        )
        hashed = [(0, {"key": 1, "email": sha256(b"a")}), (0, {"key": 2, "email": None})]
        assert_that(rows, equal_to([*hashed, (1, {"id": 3, "email": "c"})]))
