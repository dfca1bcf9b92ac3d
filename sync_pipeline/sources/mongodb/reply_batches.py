"""A cursor that takes each batch of documents out of the server's reply as it is.

The driver's own cursor for raw batches first makes an object of each document and discards it, which takes most of the
CPU of a read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import bson
from pymongo.cursor import RawBatchCursor

from sync_pipeline.sources.mongodb import bson_scan as codes
from sync_pipeline.sources.mongodb.bson_scan import Documents, take_apart, take_extents_apart
from sync_pipeline.sources.mongodb.connection import Document

_BATCHES = (b"firstBatch", b"nextBatch")
_EMPTY_ARRAY = b"\5\0\0\0\0"
_LENGTH = struct.Struct("<i")


class ReplyBatches(RawBatchCursor[Document]):
    """Yields a batch at a time, as `Documents`. Takes the arguments of `Collection.find_raw_batches`."""

    def _unpack_response(
        self,
        response: Any,
        cursor_id: int | None,
        codec_options: Any,
        user_fields: Mapping[str, Any] | None = None,
        legacy_response: bool = False,
    ) -> Any:
        """Return the reply, decoded, with `Documents` as the only element of its batch.

        Raises:
            MalformedBsonError: the reply is not BSON.
        """
        reply = decoded_reply(response.raw_command_response())
        if reply is None:
            return super()._unpack_response(response, cursor_id, codec_options, user_fields, legacy_response)
        return [reply]


def decoded_reply(raw: bytes | memoryview) -> Document | None:
    """Return a reply whose batch is a list of one `Documents`, or of none; None if the reply has no batch.

    Raises:
        MalformedBsonError: the reply is not BSON.
    """
    reply = Documents.of(raw)
    cursor = next((each for each in take_apart(reply) if each.key == b"cursor" and each.code == codes.OBJECT), None)
    if cursor is None:
        return None
    members = take_extents_apart(reply, cursor.begins, cursor.ends)
    batch = next((each for each in members if each.key in _BATCHES and each.code == codes.ARRAY), None)
    if batch is None:
        return None
    outer, begin, end = int(cursor.begins[0]), int(batch.begins[0]), int(batch.ends[0])
    found = reply.in_array(begin, end)
    rest = bytearray(reply.raw[:begin])
    rest += _EMPTY_ARRAY
    rest += reply.raw[end : int(reply.ends[0])]
    for owner in (0, outer):
        (length,) = _LENGTH.unpack_from(rest, owner)
        _LENGTH.pack_into(rest, owner, length - (end - begin) + len(_EMPTY_ARRAY))
    decoded = bson.decode(rest)
    decoded["cursor"][batch.key.decode()] = [found] if len(found) else []
    return decoded
