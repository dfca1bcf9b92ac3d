"""The documents of a reply are those that the driver finds in it, and the rest of the reply is decoded as it is."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Timestamp
from pymongo.cursor import RawBatchCursor
from pymongo.message import _OpMsg

from sync_pipeline.sources.mongodb.bson_scan import Documents, MalformedBsonError
from sync_pipeline.sources.mongodb.reply_batches import ReplyBatches, decoded_reply

FIELDS = {"cursor": {"firstBatch": 1, "nextBatch": 1}}


def reply_of(count: int, name: str = "nextBatch") -> dict[str, Any]:
    rows = [{"_id": number, "text": "x" * (number % 5), "v": [{}, {"0": number}]} for number in range(count)]
    times = {"operationTime": Timestamp(5, 1), "$clusterTime": {"clusterTime": Timestamp(5, 1), "signature": b"s"}}
    return {"cursor": {"partial": False, name: rows, "id": 2**40, "ns": "d.c"}, "ok": 1.0, **times}


def contents(documents: Documents) -> bytes:
    return b"".join(documents.document(row) for row in range(len(documents)))


@pytest.mark.parametrize("count", [1, 9, 10, 11, 99, 100, 101, 1001])
@pytest.mark.parametrize("name", ["firstBatch", "nextBatch"])
def test_the_documents_and_the_rest_are_those_of_the_driver(name: str, count: int) -> None:
    raw = memoryview(bson.encode(reply_of(count, name)))
    reply = decoded_reply(raw)
    assert reply is not None
    [documents] = reply["cursor"].pop(name)
    expected = reply_of(count, name)
    [of_driver] = RawBatchCursor._unpack_response(object.__new__(RawBatchCursor), _OpMsg(0, raw), None, None, FIELDS)  # type: ignore[arg-type]
    assert contents(documents) == of_driver["cursor"][name][0]
    assert bson.decode_all(contents(documents)) == expected["cursor"].pop(name)
    assert reply == expected


def test_a_reply_without_documents_has_an_empty_batch() -> None:
    assert decoded_reply(bson.encode(reply_of(0))) == reply_of(0)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"ok": 0.0, "code": 43, "errmsg": "cursor id 1 not found"}, id="error"),
        pytest.param({"ok": 1.0, "cursor": "x"}, id="other-cursor"),
        pytest.param({"ok": 1.0, "cursor": {"id": 1, "nextBatch": {}}}, id="other-batch"),
    ],
)
def test_a_reply_without_a_batch_is_left_to_the_driver(reply: dict[str, Any]) -> None:
    assert decoded_reply(bson.encode(reply)) is None


def test_an_error_is_what_the_driver_makes_of_it() -> None:
    error = {"ok": 0.0, "code": 43, "errmsg": "cursor id 1 not found"}
    unpack = object.__new__(ReplyBatches)._unpack_response
    assert dict(unpack(_OpMsg(0, bson.encode(error)), None, None, {})[0]) == error


@pytest.mark.parametrize(
    ("offset", "damage"),
    [
        pytest.param(0, b"\0\0\0\0", id="no-length"),
        pytest.param(0, b"\xff\xff\xff\x7f", id="too-long"),
        pytest.param(0, b"\x01\x01", id="ends-elsewhere"),
        pytest.param(-1, b"9", id="other-name"),
    ],
)
def test_a_damaged_reply_is_refused(offset: int, damage: bytes) -> None:
    raw = bytearray(bson.encode(reply_of(12)))
    reply = decoded_reply(bytes(raw))
    assert reply is not None
    begin = int(reply["cursor"]["nextBatch"][0].begins[1]) + offset
    raw[begin : begin + len(damage)] = damage
    with pytest.raises(MalformedBsonError):
        decoded_reply(bytes(raw))
