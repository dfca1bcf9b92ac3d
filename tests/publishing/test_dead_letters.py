"""A dead letter has what the destination would have had of its row, and no more."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import bson
import pytest

from sync_pipeline.publishing.dead_letters import MAX_SOURCE_ROW_BYTES, dead_letter_batch
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_scan import Documents
from sync_pipeline.sources.source import DeadLetter
from tests.plans import plan

SCHEMA = Schema((Field("id", "INT64"), Field("email", "STRING"), Field("photo", "BYTES")))
KEY = "a key of more than sixteen bytes"


def sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def written(letter: DeadLetter, schema: Schema = SCHEMA, hash_key: str = "", **transformation: Any) -> dict[str, str]:
    parameters = {"transformation_config": json.dumps(transformation), "hash_key": hash_key}
    (row,) = dead_letter_batch(letter, plan(parameters, schema=schema)).to_pylist()
    assert isinstance(row, dict)
    return row


def row_of(letter: DeadLetter, schema: Schema = SCHEMA, **transformation: Any) -> dict[str, str | None]:
    row: dict[str, str | None] = json.loads(written(letter, schema, **transformation)["source_row"])
    return row


def test_only_columns_that_are_read_or_refused_are_there() -> None:
    letter = DeadLetter(("id", "late"), "reason", {"id": "x", "email": None, "late": "new", "ssn": "123-45-6789"})
    assert row_of(letter) == {"id": "x", "email": None, "late": "new"}


@pytest.mark.parametrize("name", ["ssn", "SSN"])
def test_a_refused_column_that_is_excluded_is_not_there(name: str) -> None:
    letter = DeadLetter((name,), "reason", {"id": "1", name: "123-45-6789"})
    assert row_of(letter, exclude_fields=["ssn"]) == {"id": "1"}


@pytest.mark.parametrize("name", ["late", "LATE"])
def test_a_refused_column_is_hashed(name: str) -> None:
    letter = DeadLetter((name,), "reason", {name: "secret"})
    assert row_of(letter, hash_fields=["late"]) == {name: sha256(b"secret")}


def test_a_field_that_collides_with_a_hashed_column_is_hashed() -> None:
    letter = DeadLetter(("email",), "reason", {"email": "a@x", "e-mail": "b@x"}, {"e-mail": "email"})
    assert row_of(letter, hash_fields=["email"]) == {"email": sha256(b"a@x"), "e-mail": sha256(b"b@x")}


@pytest.mark.parametrize(
    ("text", "expected"), [("00ff", b"\x00\xff"), ("no bytes", b"no bytes")], ids=["bytes", "what is none"]
)
def test_bytes_are_hashed(text: str, expected: bytes) -> None:
    assert row_of(DeadLetter(("photo",), "reason", {"photo": text}), hash_fields=["photo"]) == {
        "photo": sha256(expected)
    }


def test_a_hashed_column_that_the_table_lacks_is_not_there() -> None:
    letter = DeadLetter(("id",), "reason", {"id": "x", "email": "a@x"})
    assert row_of(letter, Schema((Field("id", "INT64"),)), hash_fields=["email"]) == {"id": "x"}


def test_with_a_key_the_hash_is_keyed() -> None:
    letter = DeadLetter(("id",), "reason", {"email": "a@x"})
    expected = hmac.new(KEY.encode(), b"a@x", "sha256").hexdigest()
    assert row_of(letter, hash_fields=["email"], hash_key=KEY) == {"email": expected}


def test_reasons_and_columns_are_bounded() -> None:
    names = tuple(f"{number}" + "x" * 1000 for number in range(5000))
    row = written(DeadLetter(names, "r" * 10_000_000, {}))
    assert len(row["reason"]) < 51_000
    assert len(row["column_name"]) < 50_000
    assert row["column_name"].endswith(" and 4,900 more")


@pytest.mark.parametrize("character", ["x", "\x01", "\U0001f600", '"'])
def test_a_row_is_bounded(character: str) -> None:
    letter = DeadLetter(("id",), "reason", {"id": "1", "email": character * 60_000_000, "photo": "00"})
    text = written(letter)["source_row"]
    assert len(text.encode()) < MAX_SOURCE_ROW_BYTES + 1000
    assert "cut: 60,000,000 characters" in text
    assert json.loads(text)["id"] == "1"


def test_half_a_character_is_replaced() -> None:
    assert row_of(DeadLetter(("id",), "\ud800", {"id": "a\ud800"})) == {"id": "a?"}


class TestDocuments:
    """Of documents, whose fields nobody has declared."""

    schema = Schema((Field("_id", "INT64"), Field("a", "INT64"), Field("ssn", "STRING")))

    def row(self, document: dict[str, Any], columns: DocumentColumns, **transformation: Any) -> dict[str, str | None]:
        _, (letter,) = read_documents(Documents.of(bson.encode(document)), columns)
        return row_of(letter, columns.schema, **transformation)

    @pytest.mark.parametrize(
        "options",
        [{"left_out": frozenset({"ssn"})}, {"ignores_unknown": True}],
        ids=["excluded", "not included, or ignored by schema_evolution"],
    )
    def test_fields_that_are_not_wanted_are_not_there(self, options: dict[str, Any]) -> None:
        columns = DocumentColumns(Schema((Field("_id", "INT64"), Field("a", "INT64"))), **options)
        assert self.row({"_id": 1, "a": "bad", "ssn": "123-45-6789"}, columns) == {"_id": "1", "a": "bad"}

    def test_hashed_fields_have_the_hash_of_their_column(self) -> None:
        columns = DocumentColumns(self.schema)
        for value, text in ((5, b"5"), (b"\1", b"AQ=="), ({"x": 1}, b'{"x":1}'), ("t", b"t")):
            row = self.row({"_id": 1, "a": "bad", "ssn": value}, columns, hash_fields=["ssn"])
            assert row["ssn"] == sha256(text)

    def test_a_field_that_collides_after_renaming_is_hashed(self) -> None:
        columns = DocumentColumns(Schema((Field("_id", "INT64"), Field("my_ssn", "STRING"))))
        row = self.row({"my ssn": "1", "_id": 1, "my_ssn": "2"}, columns, hash_fields=["my_ssn"])
        assert row == {"_id": "1", "my_ssn": sha256(b"2"), "my ssn": sha256(b"1")}

    def test_a_poisonous_document_costs_no_more_than_its_size(self) -> None:
        columns = DocumentColumns(Schema((Field("_id", "INT64"),)))
        documents = b"".join(
            bson.encode({"_id": number} | {f"k{number}_{key}": 1 for key in range(500)}) for number in range(100)
        )
        began = time.process_time()
        _, letters = read_documents(Documents.of(documents), columns)
        assert time.process_time() - began < 10
        assert len(letters) == 100
        assert all(len(letter.row) == 501 and len(letter.columns) == 500 for letter in letters)
        assert max(len(letter.reason) for letter in letters) < 20_000
        assert letters[0].reason.endswith("\nand 450 more columns")

    def test_a_name_as_long_as_a_document_is_cut(self) -> None:
        columns = DocumentColumns(Schema((Field("_id", "INT64"),)))
        _, (letter,) = read_documents(Documents.of(bson.encode({"_id": 1, "k" * 1_000_000: 1})), columns)
        assert len(letter.reason) < 1000

    def test_of_a_whole_document_the_columns_are_there(self) -> None:
        schema = Schema((Field("_id", "INT64"), Field("document", "JSON")))
        row = self.row({"_id": "x", "a": {"b": 1}}, DocumentColumns(schema, has_document=True))
        assert row == {"_id": "x", "document": '{"_id":"x","a":{"b":1}}'}
