"""Converts raw BSON documents to Arrow. Each value is loaded into its column, or its document is a dead letter."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import bson
import numpy as np
import orjson
import pyarrow as pa
from bson.errors import InvalidBSON

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.schema import REQUIRED, Field, Schema
from sync_pipeline.sources.mongodb import bson_scan as codes
from sync_pipeline.sources.mongodb.bson_columns import Values, convert, convert_ids, decoded_one_by_one, within_digits
from sync_pipeline.sources.mongodb.bson_edits import edited
from sync_pipeline.sources.mongodb.bson_scan import Documents, Elements, take_apart, take_extents_apart
from sync_pipeline.sources.mongodb.bson_types import BSON_TYPES, DOCUMENT, ID
from sync_pipeline.sources.mongodb.bson_values import LIMITS, RejectedValueError
from sync_pipeline.sources.mongodb.to_json import DECODING, id_text, json_bytes, plain_text
from sync_pipeline.sources.source import DeadLetter
from sync_pipeline.transforms.rejected_values import invalid_value, null_value

# Maximum number of problems to report per document, and of characters of a field's name, which may be very long.
MAX_REASONS, MAX_NAME_CHARACTERS = 50, 100

_TYPE_NAMES = {kind.code: name for name, kind in reversed(list(BSON_TYPES.items()))}


@dataclass(frozen=True)
class DocumentColumns:
    """The columns that documents are read into.

    Attributes:
        schema: the columns, with their source names.
        parsed: columns whose type the user requested; strings are parsed for them.
        left_out: excluded columns.
        ignores_unknown: whether to ignore fields without a column. Otherwise their documents are rejected.
        has_document: whether a column holds the whole document, the last one of `schema` unless only keys are read.
            The others are then copies of its fields.
        removed, hashed: paths of fields to remove from the documents, or to hash, before the conversion.
        hashed_in_document: paths of fields to hash only in the document column.
        hash_key: see `hashing.digest`.
        path: path of a nested field that also has a column, as names from the top level down. The column's name is
            `column_name` of the names joined with dots.
        of_keys: whether the columns are a key's, of which none may be missing: what is wrong with other fields does not
            matter, and fields of several names that become one column are all read into it.
    """

    schema: Schema
    parsed: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    ignores_unknown: bool = False
    has_document: bool = False
    removed: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    hashed_in_document: tuple[str, ...] = ()
    hash_key: Secret | None = None
    path: tuple[str, ...] = ()
    of_keys: bool = False


def read_documents(documents: Documents, columns: DocumentColumns) -> tuple[pa.Table, list[DeadLetter]]:
    """Return the valid documents as a table of `schema.arrow`, and the rejected ones as dead letters.

    A missing or null field is NULL.

    Raises:
        MalformedBsonError: the bytes are not BSON.
        SourceQueryError: with `of_keys`, a document has several values of a key column.
    """
    documents = edited(documents, columns.removed, columns.hashed, columns.hash_key)
    reading = _Reading(documents, columns)
    # If two fields have the same column, the field with exactly the column's name comes first and wins.
    found = sorted(take_apart(documents), key=_is_renamed)
    for elements in _below(documents, found, columns.path):
        reading.add(elements, is_besides=True)
    for elements in found:
        reading.add(elements)
    if columns.has_document and columns.schema.find(DOCUMENT) is not None:
        reading.add_documents()
    table = pa.Table.from_arrays([reading.column(field) for field in columns.schema], schema=columns.schema.arrow)
    if not reading.problems:
        return table, []
    fits = np.ones(len(documents), dtype=bool)
    fits[list(reading.problems)] = False
    letters = [
        _dead_letter(documents.document(row), columns, problems) for row, problems in sorted(reading.problems.items())
    ]
    return table.filter(pa.array(fits)), letters


class _Reading:
    """The columns of a set of documents during the conversion.

    Attributes:
        problems: for each rejected document, the reason by column; empty after the first `MAX_REASONS`.
    """

    def __init__(self, documents: Documents, columns: DocumentColumns) -> None:
        self._documents = documents
        self._columns = columns
        self._fields = {field.name: field for field in columns.schema}
        self._values: dict[str, list[Values]] = defaultdict(list)
        self._keys: dict[str, str] = {}
        self.problems: dict[int, dict[str, str]] = defaultdict(dict)

    def add(self, elements: Elements, *, is_besides: bool = False) -> None:
        """Add the values of one field and type. `is_besides`: the field is the nested one of `DocumentColumns.path`."""
        try:
            key = elements.key.decode()
        except UnicodeDecodeError:
            if self._columns.of_keys:
                return None
            return self._refuse(elements.rows, "?", "the name of a field is not UTF-8")
        name = _column_name(key)
        field = self._fields.get(name)
        if self._columns.has_document and not is_besides and (name == DOCUMENT or name != key):
            return None
        is_empty = elements.code in (codes.NULL, codes.UNDEFINED)
        if field is None:
            if not is_empty and not self._is_left_out(name):
                self._refuse(elements.rows, name, _unknown(key, name, elements.code))
            return None
        is_text_id = name == ID and field.type == "STRING"
        if is_empty and not is_text_id:
            return None
        first = self._keys.setdefault(name, key)
        if first != key and not self._columns.of_keys:
            return self._refuse(elements.rows, name, _collision(first, key, name))
        if is_text_id:
            values = convert_ids(self._documents, elements)
        else:
            values = convert(self._documents, elements, field.type, parses=name in self._columns.parsed)
            if field.digits is not None:
                values = within_digits(values, field.digits)
        if values.rejected_rows:
            self._refuse(values.rejected_rows, name, _invalid(field, elements.code))
        self._values[name].append(values)
        return None

    def add_documents(self) -> None:
        """Add the documents themselves, as values of the document column."""
        documents = edited(self._documents, (), self._columns.hashed_in_document, self._columns.hash_key)
        rows = np.arange(len(documents))
        values = convert(documents, Elements(b"", codes.OBJECT, rows, documents.begins, documents.ends), "JSON")
        self._values[DOCUMENT].append(values)
        if values.rejected_rows:
            self._refuse(values.rejected_rows, DOCUMENT, "the document has a text or a name that is not UTF-8")

    def column(self, field: Field) -> pa.Array:
        """Return the values of a column, one per document."""
        count = len(self._documents)
        parts = self._values[field.name]
        if len(parts) == 1 and len(parts[0].rows) == count:
            column = parts[0].array
        else:
            rows = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, dtype=np.int64)
            places, is_absent = np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
            places[rows], is_absent[rows] = np.arange(len(rows)), False
            if len(rows) + np.count_nonzero(is_absent) != count:
                if self._columns.of_keys:
                    raise SourceQueryError(_two_keys(field))
                twice = np.flatnonzero(np.bincount(rows, minlength=count) > 1)
                self._refuse(twice, field.name, f"the document has two fields {field.name!r}")
            arrays = [part.array for part in parts] or [pa.array([], field.arrow_type)]
            column = pa.concat_arrays(arrays).take(pa.array(places, mask=is_absent))
        if field.mode == REQUIRED and column.null_count:
            missing = [int(row) for row in np.flatnonzero(column.is_null())]
            known = {row for row in missing if field.name in self.problems.get(row, {})}
            self._refuse([row for row in missing if row not in known], field.name, _null(field))
        return column

    def _is_left_out(self, name: str) -> bool:
        columns = self._columns
        return columns.ignores_unknown or columns.has_document or columns.of_keys or name in columns.left_out

    def _refuse(self, rows: Iterable[int], name: str, reason: str) -> None:
        for row in rows:
            problems = self.problems[int(row)]
            problems[name] = reason if len(problems) < MAX_REASONS or name in problems else ""


def _below(documents: Documents, found: list[Elements], path: tuple[str, ...]) -> list[Elements]:
    """Return the values at the end of the path, with the path as their name. Does not descend into arrays."""
    values = [elements for elements in found if path and elements.key == path[0].encode()]
    for name in path[1:]:
        values = [
            replace(member, rows=outer.rows[member.rows])
            for outer in values
            if outer.code == codes.OBJECT
            for member in take_extents_apart(documents, outer.begins, outer.ends)
            if member.key == name.encode()
        ]
    return [replace(elements, key=".".join(path).encode()) for elements in values]


def _is_renamed(elements: Elements) -> bool:
    key = elements.key.decode(errors="replace")
    return _column_name(key) != key


# The cache is limited, because field names may be data, of which there is no end.
@functools.lru_cache(maxsize=100_000)
def _column_name(key: str) -> str:
    return column_name(key)


def _unknown(key: str, name: str, code: int) -> str:
    renamed = "" if key == name else f", which would be column {_shown(name)}"
    return (
        f"field {_shown(key)}{renamed} ({_TYPE_NAMES[code]}) has no column: no document of the schema inference had "
        "it. Run again, sample more documents (mongodb_schema_sample_size), or exclude it with mongodb_projection or "
        "transformation_config.exclude_fields"
    )


def _collision(first: str, second: str, name: str) -> str:
    fields = f"fields {_shown(first)} and {_shown(second)} would both be column {_shown(name)}"
    return f"{fields}: exclude one with mongodb_projection"


def _two_keys(field: Field) -> str:
    return (
        f"MongoDB: a document has two fields for the key column {field.name!r}, so that its key is not known, and its "
        "row could be deleted: correct the document, or exclude it with mongodb_query"
    )


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MAX_NAME_CHARACTERS else f"{name[:MAX_NAME_CHARACTERS]!r}…"


def _invalid(field: Field, code: int) -> str:
    limit = field.digits_limit if field.digits else LIMITS[field.type]
    if code == codes.DOUBLE and field.type == "INT64":
        # https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#alter_column_set_data_type_statement
        remedy = (
            f"Run ALTER TABLE … ALTER COLUMN `{field.name}` SET DATA TYPE FLOAT64, which holds whole numbers up to "
            "2^53 exactly, or rebuild the table with the documents' current types (delete_existing_table=true)"
        )
    else:
        overrides = json.dumps({"type_overrides": {field.name: "STRING"}}, ensure_ascii=False)
        remedy = (
            f"Load the field as text with transformation_config={overrides} (rebuild an existing table with "
            "delete_existing_table=true)"
        )
    return invalid_value(field, _TYPE_NAMES[code], f"{remedy}, or exclude such documents with mongodb_query", limit)


def _null(field: Field) -> str:
    return null_value(field, "Exclude such documents with mongodb_query", found="is null or missing")


def _dead_letter(document: bytes, columns: DocumentColumns, problems: Mapping[str, str]) -> DeadLetter:
    """Return the dead letter of a rejected document, with the text of each field by its column name.

    Includes fields that lack a column, and omits fields that the user excluded.
    """
    documents = Documents.of(document)
    kinds = {field.name: field.type for field in columns.schema}
    texts: dict[str, str | None] = {}
    column_of: dict[str, str] = {}
    for elements in sorted(take_apart(documents), key=_is_renamed):
        key = elements.key.decode(errors="replace")
        column = _column_name(key)
        if columns.has_document:
            if key in kinds and key != DOCUMENT:
                texts[key] = _text(documents, elements, kinds[key])
            continue
        if column not in kinds and column not in problems:
            continue
        name = column
        if column in texts and key != column:
            # Two fields of one column are kept under their own names.
            name = key
            column_of[name] = column
        texts[name] = _text(documents, elements, kinds.get(column))
    if columns.has_document:
        texts[DOCUMENT] = _document_text(edited(documents, (), columns.hashed_in_document, columns.hash_key))
    reasons = [reason for reason in problems.values() if reason]
    if len(reasons) < len(problems):
        reasons.append(f"and {len(problems) - len(reasons):,} more columns")
    return DeadLetter(tuple(problems), "\n".join(reasons), texts, column_of)


def _text(documents: Documents, elements: Elements, type_name: str | None) -> str | None:
    """Return the text of a field's value. For a STRING column, this is the value that the column would have."""
    (value, *_) = decoded_one_by_one(documents, elements)
    if isinstance(value, RejectedValueError):
        return documents.raw[int(elements.begins[0]) : int(elements.ends[0])].hex()
    if elements.key == ID.encode() and (value is not None or type_name == "STRING"):
        return id_text(value)
    if value is None:
        return None
    if isinstance(value, bytes) and type_name != "STRING":
        return value.hex()
    try:
        return plain_text(value)
    except (orjson.JSONEncodeError, RecursionError, UnicodeError):
        return documents.raw[int(elements.begins[0]) : int(elements.ends[0])].hex()


def _document_text(documents: Documents) -> str:
    """Return a document as JSON. If it cannot be converted, return an object with the texts of its fields."""
    try:
        return json_bytes(bson.decode(documents.document(0), DECODING)).decode()
    except (InvalidBSON, ValueError, RecursionError):
        fields = take_apart(documents)
        return json.dumps({each.key.decode(errors="replace"): _text(documents, each, None) for each in fields})
