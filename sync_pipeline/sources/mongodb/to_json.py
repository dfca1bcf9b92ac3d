"""Canonical JSON and text of BSON values: one form per value, the same in every run and on every path.

| BSON | JSON |
|---|---|
| string, bool, null, object, array | as in JSON; undefined is null |
| int, long | a number with all its digits |
| double | the shortest number that parses to the same double; NaN, infinities: "NaN", "Infinity", "-Infinity" |
| decimal | a string with all its digits: BigQuery's JSON would round the number |
| objectId | its 24 hexadecimal digits |
| date | "2025-07-22T13:00:00Z", with ".123000" for milliseconds; outside the years 1 to 9999 Extended JSON |
| binData | Base64, of any subtype; a UUID (subtype 4) its text |
| regex, timestamp, minKey, maxKey, dbPointer, javascriptWithScope | canonical Extended JSON |
| javascript, symbol | its text |
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
import struct
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import bson
import bson.json_util
import orjson
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import InvalidBSON
from bson.int64 import Int64
from bson.objectid import ObjectId

from sync_pipeline.sources.mongodb.bson_scan import Documents, Elements

# Decode dates outside Python's range to DatetimeMS, instead of failing for the whole batch.
DECODING: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=False,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

# Decoding for inspection only: replaces invalid UTF-8 instead of failing.
LENIENT = DECODING.with_options(
    uuid_representation=UuidRepresentation.UNSPECIFIED, unicode_decode_error_handler="surrogateescape"
)

_WITHOUT_UUIDS = DECODING.with_options(uuid_representation=UuidRepresentation.UNSPECIFIED)
_UUID_BYTES = 16

# Passes subclasses of int and str to `_form`. Otherwise a Code with a scope would be written as its text only.
_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS

# The bytes of a double element that is not finite. May match other bytes too, but misses none.
_NOT_FINITE = re.compile(rb"\x01[^\x00]*\x00[\x00-\xff]{6}[\xf0-\xff][\x7f\xff]")

EXTENDED = bson.json_util.CANONICAL_JSON_OPTIONS.with_options(
    uuid_representation=UuidRepresentation.STANDARD, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


def wrapped(code: int, value: bytes) -> bytes:
    """Return a BSON document with the only field `v`, from the bytes of a value and its type byte."""
    return b"".join((struct.pack("<iB", len(value) + 8, code), b"v\0", value, b"\0"))


def wrapped_values(documents: Documents, elements: Elements) -> list[bytes]:
    """Return the values, each as a document with the only field `v`."""
    return [
        wrapped(elements.code, documents.raw[begin:end])
        for begin, end in zip(elements.begins.tolist(), elements.ends.tolist(), strict=True)
    ]


def decoded_values(documents: Documents, elements: Elements) -> list[Any]:
    """Return the decoded values. Raises InvalidBSON or ValueError when one cannot be decoded."""
    return [document["v"] for document in bson.decode_all(b"".join(wrapped_values(documents, elements)), DECODING)]


def decoded_value(document: bytes) -> Any:
    """Return the decoded value of a document whose only field is `v`.

    A UUID of the wrong length is decoded as bytes; the driver would fail for the whole document.

    Raises:
        InvalidBSON, ValueError: the value cannot be decoded.
    """
    try:
        return bson.decode(document, DECODING)["v"]
    except (InvalidBSON, ValueError):
        return _with_uuids(bson.decode(document, _WITHOUT_UUIDS)["v"])


def _with_uuids(value: Any) -> Any:
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == _UUID_BYTES:
        return value.as_uuid()
    if isinstance(value, Mapping):
        return {key: _with_uuids(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_uuids(member) for member in value]
    return value


def may_have_non_finite(raw: bytes | memoryview) -> bool:
    """Whether raw BSON may contain NaN or an infinity. True may be wrong, False never is."""
    return _NOT_FINITE.search(raw) is not None


def json_bytes(value: Any, *, check_finite: bool = True) -> bytes:
    """Return the canonical JSON of a decoded value, in UTF-8.

    Args:
        check_finite: pass False only if `may_have_non_finite` returned False; otherwise NaN would become null.
    """
    return orjson.dumps(_finite(value) if check_finite else value, _form, _OPTIONS)


def plain_text(value: Any) -> str:
    """Return the text of a decoded value for a STRING column: its JSON, with strings unquoted."""
    text = json_bytes(value).decode()
    if not text.startswith('"'):
        return text
    plain: str = json.loads(text)
    return plain


def id_text(value: Any) -> str:
    """Return the text of an `_id` for a STRING column; values of one type have distinct texts.

    Strings, doubles and whole numbers stay as they are, ObjectIds and UUIDs become their digits, and all other types
    canonical Extended JSON. MongoDB treats 1, 1.0 and decimal 1.00 as the same `_id`, so they have the same text. A
    decimal with a fraction becomes Extended JSON, because decimal 0.1 and double 0.1 are different `_id`s.
    """
    if isinstance(value, str) and not isinstance(value, Code):
        return value
    if isinstance(value, ObjectId | uuid.UUID):
        return str(value)
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, int | float | Decimal) and not isinstance(number, bool) and math.isfinite(number):
        if number == int(number):
            return str(int(number))
        if isinstance(number, float):
            return repr(number)
    return extended_json(value)


# Strings that equal `id_text` of a value of another type. Valid in Python and PCRE, because the server runs it.
AMBIGUOUS_ID = (
    r"^(-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?|[0-9a-f]{24}|null|true|false|\{.*"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"
)


def extended_json(value: Any) -> str:
    """Return canonical Extended JSON, which keeps every type. https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/"""
    return bson.json_util.dumps(value, json_options=EXTENDED, ensure_ascii=False)


def _form(value: Any) -> Any:
    """Return the JSON representation of a value without a JSON type."""
    if isinstance(value, ObjectId | Decimal128):
        return str(value)
    if isinstance(value, Int64):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, DBRef):
        return value.as_doc().to_dict()
    if isinstance(value, Code) and value.scope is None:
        return str(value)
    return json.loads(extended_json(value))


def _finite(value: Any) -> Any:
    """Return the value with strings in place of NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    if isinstance(value, DBRef):
        return _finite(value.as_doc().to_dict())
    return value


def moment_text(moment: datetime.datetime) -> str:
    """Return a date in the format of Extended JSON, rounded down to milliseconds: `2025-07-22T13:00:00.123Z`."""
    return moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
