"""What is excluded is sent by no server, and what is hashed is in no table: at any depth, in every mode."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.mongodb.document_query import DocumentQuery
from tests.integration.mongodb_syncing import MongodbSyncing

PLANTED = "planted-123-45-6789"
MAIL = "ann@example.com"
KEY = "a key of more than sixteen bytes"
MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
DOCUMENTS: list[dict[str, Any]] = [
    {
        "_id": 1,
        "n": 1,
        "ssn": PLANTED,
        "mail": MAIL,
        "customer": {"ssn": PLANTED, "mail": MAIL, "address": {"city": PLANTED, "zip": "1"}},
        "items": [{"ssn": PLANTED, "mail": MAIL}, [{"ssn": PLANTED}], 5],
        "updated_at": MOMENT,
    },
    {"_id": 2, "n": 2, "customer": "text", "items": {"ssn": PLANTED, "kept": 1}, "updated_at": MOMENT},
    # A number in a path is a name, and no place in an array.
    {"_id": 3, "n": 3, "items": [{"0": "kept"}], "updated_at": MOMENT},
]
CONFIG = {
    "exclude_fields": ["ssn", "customer.ssn", "customer.address.city", "items.ssn"],
    "hash_fields": ["mail", "customer.mail", "items.mail"],
}


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    mongodb_syncing.insert(*DOCUMENTS)
    return mongodb_syncing


def transformation(**keys: Any) -> dict[str, str]:
    return {"transformation_config": json.dumps(keys)}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def keyed(text: str) -> str:
    return hmac.digest(KEY.encode(), text.encode(), "sha256").hex()


def sent(syncing: MongodbSyncing, **parameters: str) -> str:
    """Return all that the server sends to the run."""
    config = SyncConfig.from_parameters(syncing.parameters(**parameters))
    projection = DocumentQuery(config, config.source).projection
    return str(list(syncing.collection.find({}, projection or None)))


CHOSEN = '{"n": 1, "ssn": 1, "mail": 1, "customer": 1, "items": 1}'


@pytest.mark.parametrize(
    ("mode", "projection"),
    [
        ("columns", None),
        ("columns", CHOSEN),
        ("columns", '{"updated_at": 0}'),
        ("documents", None),
        ("documents", CHOSEN),
    ],
    ids=["columns", "chosen columns", "columns but one", "documents", "chosen parts of documents"],
)
def test_excluded_and_hashed_fields_at_any_depth(syncing: MongodbSyncing, mode: str, projection: str | None) -> None:
    parameters = transformation(**CONFIG) | {"hash_key": KEY}
    if mode == "documents":
        parameters["mongodb_document_mode"] = "true"
    if projection is not None:
        parameters["mongodb_projection"] = projection
    if projection is None or '"customer": 1' not in projection:
        assert PLANTED not in sent(syncing, **parameters)
    run = syncing.run(**parameters).succeeded()
    rows = syncing.rows()
    assert len(rows) == 3
    for value in (PLANTED, MAIL, KEY):
        assert value not in str(rows)
        assert value not in run.everything
    column = "document" if mode == "documents" else None
    (first,) = syncing.query(f"SELECT * FROM items WHERE _id = {1 if column is None else repr('1')}")
    fields = first[-1] if column else dict(zip([field.name for field in syncing.table().schema], first, strict=True))
    assert fields["mail"] == keyed(MAIL)
    assert fields["customer"] == {"mail": keyed(MAIL), "address": {"zip": "1"}}
    assert fields["items"] == [{"mail": keyed(MAIL)}, [{}], 5]
    (third,) = syncing.query(f"SELECT TO_JSON_STRING({column or 'items'}) FROM items WHERE CAST(_id AS STRING) = '3'")
    assert '"0":"kept"' in third[0]
    if projection and '"customer": 1' in projection:
        assert any(risk.startswith("customer.ssn, customer.address.city, items.ssn: excluded by") for risk in run.risks)


@pytest.mark.parametrize("mode", ["columns", "documents"])
def test_only_what_is_included_is_sent(syncing: MongodbSyncing, mode: str) -> None:
    parameters = transformation(include_fields=["_id", "n", "customer.address.zip"])
    if mode == "documents":
        parameters["mongodb_document_mode"] = "true"
    said = sent(syncing, **parameters)
    assert PLANTED not in said
    assert MAIL not in said
    syncing.run(**parameters).succeeded()
    if mode == "columns":
        assert syncing.rows()[0] == (1, {"address": {"zip": "1"}}, 1)
    else:
        assert syncing.rows()[0] == ("1", {"_id": 1, "n": 1, "customer": {"address": {"zip": "1"}}})


@pytest.mark.parametrize("mode", ["columns", "documents"])
def test_dead_letters_have_no_more_than_the_table(syncing: MongodbSyncing, mode: str) -> None:
    letters = syncing.table_id("letters")
    parameters = transformation(**CONFIG) | {"dead_letter_table": letters}
    if mode == "documents":
        parameters |= {"mongodb_document_mode": "true", "enable_smart_sync": "true", "primary_key": "_id"}
        parameters |= {"smart_sync_null_timestamps": "include"}
        syncing.query("CREATE TABLE items (_id STRING, updated_at TIMESTAMP NOT NULL, document JSON)")
    else:
        syncing.query("CREATE TABLE items (_id INT64, n INT64, mail STRING, customer JSON, items JSON)")
        parameters["schema_evolution"] = "ignore"
    syncing.insert({**DOCUMENTS[0], "_id": 9, "n": "no number", "updated_at": None})
    run = syncing.run(**parameters).succeeded()
    assert run.report["dead_letters"] == "1"
    (row,) = syncing.column("SELECT source_row FROM letters")
    assert PLANTED not in row
    assert MAIL not in row
    found = json.loads(row)
    customer = json.loads(found["document"])["customer"] if mode == "documents" else json.loads(found["customer"])
    assert customer["mail"] == sha256(MAIL)
    assert "updated_at" not in found or mode == "documents"


@pytest.mark.parametrize("mode", ["false", "true"], ids=["columns", "documents"])
def test_a_name_of_another_case_is_refused(syncing: MongodbSyncing, mode: str) -> None:
    keys = {
        "exclude_fields": ["SSN", "customer.SSN", "items.Ssn"],
        "hash_fields": ["Mail", "Customer.mail"],
        "include_fields": ["N"],
    }
    syncing.run(mongodb_document_mode=mode, **transformation(**keys)).refused(
        "exclude_fields names 'SSN', but the documents call it 'ssn'",
        "exclude_fields names 'customer.SSN', but the documents call it 'customer.ssn'",
        "exclude_fields names 'items.Ssn', but the documents call it 'items.ssn'",
        "include_fields names 'N', but the documents call it 'n'",
        "hash_fields names 'Mail', but the documents call it 'mail'",
        "hash_fields names 'Customer.mail', but the documents call it 'customer.mail'",
    )
    assert syncing.tables() == []


def test_a_name_that_no_document_has_is_a_risk(syncing: MongodbSyncing) -> None:
    keys = {"exclude_fields": ["ssm", "customer.address.town"], "hash_fields": ["phone", "n.x", "ssn"]}
    run = syncing.run(dry_run="true", **transformation(**keys))
    assert run.exit_code == 0
    assert "exclude_fields names ssm, which no examined document has; did you mean ssn?" in run.printed
    assert "exclude_fields names customer.address.town, which no examined document has" in run.printed
    assert "hash_fields names phone, which no examined document has" in run.printed
    assert "hash_fields names n.x, which no examined document has" in run.printed
    assert "hash_fields names ssn" not in run.printed


def test_a_field_that_only_documents_outside_of_the_interval_have_is_no_risk(syncing: MongodbSyncing) -> None:
    run = syncing.run(mongodb_query='{"_id": {"$gte": 1}}', **transformation(exclude_fields=["ssn"])).succeeded()
    assert not [risk for risk in run.risks if "exclude_fields" in risk]


@pytest.mark.parametrize("mode", ["columns", "documents"])
def test_names_with_dots_and_dollars_are_removed_by_the_worker(mongodb_syncing: MongodbSyncing, mode: str) -> None:
    syncing = mongodb_syncing
    # The server takes such names only within a document, or where no command stands between.
    syncing.insert({"_id": 1, "n": 1, "c": {"d": PLANTED, "e": 1}})
    syncing.mongodb.command(
        "update",
        syncing.collection.name,
        updates=[
            {
                "q": {"_id": 1},
                "u": [
                    {
                        "$replaceWith": {
                            "$setField": {
                                "field": "c.d",
                                "input": {
                                    "$setField": {"field": {"$literal": "$x"}, "input": "$$ROOT", "value": PLANTED}
                                },
                                "value": PLANTED,
                            }
                        }
                    }
                ],
            }
        ],
    )
    parameters = transformation(exclude_fields=["c.d", "$x"])
    if mode == "documents":
        parameters["mongodb_document_mode"] = "true"
    run = syncing.run(**parameters).succeeded()
    if mode == "columns":
        assert syncing.rows() == [(1, {"e": 1}, 1)]
        assert any(risk.startswith("$x, c.d: excluded by the workers, but sent by the server") for risk in run.risks)
    else:
        assert syncing.rows() == [("1", {"_id": 1, "n": 1, "c": {"e": 1}})]


def test_a_field_with_a_dot_is_hashed(mongodb_syncing: MongodbSyncing) -> None:
    syncing = mongodb_syncing
    syncing.insert({"_id": 1, "my phone": 5, "c": {"d": 5}})
    syncing.run(**transformation(hash_fields=["my phone", "c.d"])).succeeded()
    assert syncing.rows() == [(1, {"d": sha256("5")}, sha256("5"))]
