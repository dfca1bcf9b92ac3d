"""BSON types: the BigQuery type of each, and the column type of a field with several types.

| types of a field | BigQuery | note |
|---|---|---|
| int, long | INT64 | |
| double, or double and int | FLOAT64 | every int is a double; a long need not be, so double and long are JSON |
| decimal, or decimal with int or long | BIGNUMERIC | NaN, infinity and too many digits are invalid |
| string, objectId, uuid, symbol, javascript | STRING | alone or together: an ObjectId's 24 digits, a UUID's text |
| bool / date / binData | BOOL / TIMESTAMP / BYTES | |
| object, array, any other type or mixture | JSON | in the canonical form of `to_json` |
| only null, or no value | STRING | unless an existing destination column has another type |

`_id` is a key and therefore never JSON or FLOAT64: it is STRING instead, with a distinct text for each value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.schema import KEY_TYPES, Field
from sync_pipeline.sources.mongodb import bson_scan as bson

ID = "_id"
DOCUMENT = "document"
NO_VALUE = frozenset({"null", "undefined", "missing"})

# A name of this package: the server reports UUIDs as binData. See `schema_scan`.
UUID = "uuid"


@dataclass(frozen=True)
class BsonType:
    """One row of the type table.

    Attributes:
        code: the type byte of https://bsonspec.org/spec.html.
        bigquery: the column type of a field with only this type.
    """

    code: int
    bigquery: str


# By the names that $type returns. https://www.mongodb.com/docs/manual/reference/bson-types/
BSON_TYPES: Mapping[str, BsonType] = {
    "double": BsonType(bson.DOUBLE, "FLOAT64"),
    "string": BsonType(bson.STRING, "STRING"),
    "object": BsonType(bson.OBJECT, "JSON"),
    "array": BsonType(bson.ARRAY, "JSON"),
    "binData": BsonType(bson.BINARY, "BYTES"),
    UUID: BsonType(bson.BINARY, "STRING"),
    "undefined": BsonType(bson.UNDEFINED, "STRING"),
    "objectId": BsonType(bson.OBJECT_ID, "STRING"),
    "bool": BsonType(bson.BOOL, "BOOL"),
    "date": BsonType(bson.DATE, "TIMESTAMP"),
    "null": BsonType(bson.NULL, "STRING"),
    "regex": BsonType(bson.REGEX, "JSON"),
    "dbPointer": BsonType(bson.DB_POINTER, "JSON"),
    "javascript": BsonType(bson.CODE, "STRING"),
    "symbol": BsonType(bson.SYMBOL, "STRING"),
    "javascriptWithScope": BsonType(bson.CODE_WITH_SCOPE, "JSON"),
    "int": BsonType(bson.INT32, "INT64"),
    "timestamp": BsonType(bson.TIMESTAMP, "JSON"),
    "long": BsonType(bson.INT64, "INT64"),
    "decimal": BsonType(bson.DECIMAL128, "BIGNUMERIC"),
    "minKey": BsonType(bson.MIN_KEY, "JSON"),
    "maxKey": BsonType(bson.MAX_KEY, "JSON"),
}

# Column types of fields with several types.
_JOINS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"double", "int"}), "FLOAT64"),
    (frozenset({"decimal", "int", "long"}), "BIGNUMERIC"),
)


def joined_type(types: Collection[str]) -> str:
    """Return the BigQuery type of a column for values of all these BSON types."""
    seen = frozenset(types) - NO_VALUE
    if not seen:
        return "STRING"
    own = {BSON_TYPES[name].bigquery for name in seen}
    if len(own) == 1:
        return own.pop()
    return next((bigquery for members, bigquery in _JOINS if seen <= members), "JSON")


def id_type(types: Collection[str]) -> str:
    """Return the BigQuery type of `_id`, which can be a key. null is an ordinary value of `_id`."""
    joined = joined_type(types)
    return joined if joined in KEY_TYPES and NO_VALUE.isdisjoint(types) else "STRING"


def column(key: str, types: Collection[str]) -> Field:
    """Return the column of a field."""
    bigquery = id_type(types) if key == ID else joined_type(types)
    return Field(column_name(key), bigquery, source_type=" or ".join(sorted(types)))
