"""What a run may ask of a collection: every filter that a find takes, and what its planning shows of the documents."""

from __future__ import annotations

import json
import struct
import uuid
from typing import Any

import pytest
from bson import Binary, Decimal128, ObjectId
from bson.raw_bson import RawBSONDocument

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.mongodb import splits
from sync_pipeline.sources.mongodb.source import MongodbSource, open_source
from sync_pipeline.sources.source import ReadPlan
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.source_questions import described, read_planned


@pytest.fixture
def syncing(mongodb_syncing: MongodbSyncing) -> MongodbSyncing:
    return mongodb_syncing


def source(syncing: MongodbSyncing, **parameters: str) -> MongodbSource:
    return open_source(SyncConfig.from_parameters(syncing.parameters(**parameters)))


def read_plan(syncing: MongodbSyncing, **parameters: str) -> ReadPlan:
    return read_planned(source(syncing, **parameters))


def named(name: bytes, value: int) -> RawBSONDocument:
    """Return a document with an `_id` and a field whose name the driver may not write."""
    body = b"\x10_id\0" + struct.pack("<i", value) + b"\x10" + name + b"\0" + struct.pack("<i", value)
    return RawBSONDocument(struct.pack("<i", len(body) + 5) + body + b"\0")


POINT = '{"$geometry": {"type": "Point", "coordinates": [8, 47]}, "$maxDistance": 200000}'


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param(f'{{"place": {{"$near": {POINT}}}}}', [1, 2], id="$near"),
        pytest.param(f'{{"$and": [{{"place": {{"$nearSphere": {POINT}}}}}, {{"n": 1}}]}}', [2], id="$nearSphere"),
        pytest.param(
            '{"place": {"$near": {"$geometry": {"coordinates": [8, 47], "type": "Point"}}}}', [1, 2, 3], id="all"
        ),
        pytest.param('{"$text": {"$search": "coffee"}}', [1, 3], id="$text"),
    ],
)
def test_operators_that_choose_the_index(syncing: MongodbSyncing, query: str, ids: list[int]) -> None:
    places = ([8, 47], [8.1, 47], [20, 10])
    syncing.insert(
        *(
            {"_id": number, "n": number // 2, "place": {"type": "Point", "coordinates": place}, "text": text}
            for number, place, text in zip((1, 2, 3), places, ("coffee", "tea", "coffee"), strict=True)
        )
    )
    syncing.collection.create_index([("place", "2dsphere")])
    syncing.collection.create_index([("text", "text")])
    syncing.run(mongodb_query=query, num_partitions="3").succeeded()
    assert syncing.column("SELECT _id FROM items ORDER BY _id") == ids


@pytest.mark.parametrize(
    ("near", "names"),
    [
        pytest.param('{"$near": [1, 1], "$maxDistance": 2}', ("_id", "a", "place"), id="$near"),
        pytest.param('{"$near": {"x": 1, "y": 1}, "$maxDistance": 2}', ("_id", "a", "place"), id="x and y"),
        pytest.param('{"$nearSphere": [1, 1], "$maxDistance": 0.1}', ("_id", "a", "place"), id="$nearSphere"),
        pytest.param('{"$near": [1, 1]}', ("_id", "a", "b", "place"), id="all"),
    ],
)
def test_columns_of_documents_near_legacy_coordinates(
    syncing: MongodbSyncing, near: str, names: tuple[str, ...]
) -> None:
    syncing.insert({"_id": 1, "place": [0, 0], "a": 1}, {"_id": 2, "place": [50, 50], "b": 1}, {"_id": 3, "c": 1})
    syncing.collection.create_index([("place", "2d")])
    assert described(source(syncing, mongodb_query=f'{{"place": {near}}}')).schema.names == names


def test_values_that_drivers_stumble_over(syncing: MongodbSyncing) -> None:
    """A name that is not UTF-8 costs its document alone; any zero, and a UUID of a wrong length, are loaded."""
    short = Binary(b"\x01\x02", 4)
    syncing.collection.insert_many(
        [
            {"_id": 1.0, "zero": Decimal128("0E+6111"), "u": short, "n": {"u": short, "whole": Binary(bytes(16), 4)}},
            {"_id": 2, "zero": Decimal128("1.5"), "u": b"\xff"},
            {"_id": 3.5, "zero": Decimal128("0E-6176")},
            {"_id": Binary(b"\x01", 4)},
            named(b"bad\xff", 9),
        ]
    )
    letters = syncing.table_id("letters")
    syncing.run(num_partitions="2").refused("the name of a field is not UTF-8", "(in 1 of")
    syncing.run(num_partitions="2", dead_letter_table=letters).succeeded()
    malformed = '{"$binary": {"base64": "AQ==", "subType": "04"}}'
    assert syncing.rows("_id, CAST(zero AS FLOAT64), u, n") == [
        ("1", 0.0, b"\x01\x02", {"u": "AQI=", "whole": str(uuid.UUID(int=0))}),
        ("2", 1.5, b"\xff", None),
        ("3.5", 0.0, None, None),
        (malformed, None, None, None),
    ]
    ((letter,),) = syncing.query("SELECT source_row FROM letters")
    assert json.loads(letter)["_id"] == "9"


@pytest.mark.parametrize(
    ("text", "number"), [pytest.param("1.5", 1.5, id="double"), pytest.param("2", 2.0, id="whole double")]
)
def test_text_that_reads_like_a_double(syncing: MongodbSyncing, text: str, number: float) -> None:
    syncing.insert({"_id": text}, {"_id": number})
    syncing.run().refused("_id has several types, and some strings look like a value of another type")


@pytest.mark.parametrize(
    ("make", "count", "asked"),
    [
        pytest.param(lambda number: f"user{number}@example.com", 1, None, id="text"),
        pytest.param(lambda number: {"mail": f"user{number}@example.com"}, 1, None, id="document"),
        pytest.param(lambda number: f"user{number}@example.com", 3, "3", id="text, asked for"),
        pytest.param(lambda _: ObjectId(), 3, None, id="ObjectId"),
        pytest.param(lambda number: number, 3, None, id="number"),
        pytest.param(lambda number: Binary.from_uuid(uuid.UUID(int=number)), 3, None, id="UUID"),
    ],
)
def test_values_of_ids_in_the_job(
    syncing: MongodbSyncing, make: Any, count: int, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be personal data becomes part of the job only if num_partitions is given."""
    syncing.insert(*({"_id": make(number), "text": "x" * 100} for number in range(300)))
    monkeypatch.setattr(splits, "SPLIT_BYTES", 14_000)
    plan = read_plan(syncing, **({"num_partitions": asked} if asked else {}))
    assert len(plan.splits) == count
    shows = any("example.com" in partition.statement for partition in plan.splits)
    assert shows is (asked is not None)
    risk = "can read them: num_partitions=3 would be suitable" if count == 1 else "as bounds, which users who may view"
    assert any(risk in said for said in plan.risks) is (count == 1 or shows)
