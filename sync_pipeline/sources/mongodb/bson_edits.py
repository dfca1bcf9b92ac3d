"""Removes fields from raw BSON, or replaces their values by hashes, at any depth. All other bytes stay unchanged.

A path passes through arrays, as in a MongoDB projection: it applies to every document in an array, and a number in a
path is a field's name, not an index. The rest of a path may also be a single field's name with dots.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import orjson

from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb import bson_scan as codes
from sync_pipeline.sources.mongodb.bson_columns import decoded_one_by_one
from sync_pipeline.sources.mongodb.bson_scan import PADDING, Documents, Elements, Positions, take_extents_apart
from sync_pipeline.sources.mongodb.bson_types import ID
from sync_pipeline.sources.mongodb.bson_values import RejectedValueError
from sync_pipeline.sources.mongodb.to_json import id_text, plain_text
from sync_pipeline.transforms.hashing import digest

_LENGTH = struct.Struct("<i")


@dataclass(frozen=True)
class _Found:
    """Values at the end of a path.

    Attributes:
        elements: the values; `rows` are indexes of the documents that directly contain them.
        owners: for each level, from the outermost document inwards, the position of the document or array that
            contains each value.
    """

    elements: Elements
    owners: list[Positions]


@dataclass(frozen=True)
class _Edit:
    """A replacement for the bytes from `begin` to `end`, inside the documents that begin at `owners`."""

    begin: int
    end: int
    new: bytes
    owners: tuple[int, ...]


def edited(
    documents: Documents, removed: tuple[str, ...], hashed: tuple[str, ...], hash_key: Secret | None
) -> Documents:
    """Return the documents without the fields `removed` and with the values of the fields `hashed` replaced by hashes.

    null stays null.

    Raises:
        MalformedBsonError: the bytes are not BSON.
        ConfigError: the hash key cannot be read or is empty.
        SourceUnavailableError: Secret Manager does not answer.
    """
    edits: dict[int, _Edit] = {}
    for paths, new in ((hashed, lambda found: _hashes(documents, found, hash_key)), (removed, _removals)):
        for path in paths:
            for found in _find(documents, documents.begins, documents.ends, [], path):
                edits |= {edit.begin: edit for edit in _edits(found, new)}
    if not edits:
        return documents
    return _with_edits(documents, [edits[begin] for begin in sorted(edits)])


def _find(
    documents: Documents,
    begins: Positions,
    ends: Positions,
    owners: list[Positions],
    path: str,
    *,
    is_array: bool = False,
) -> Iterator[_Found]:
    first, _, rest = path.partition(".")
    for elements in take_extents_apart(documents, begins, ends):
        around = [*(owner[elements.rows] for owner in owners), begins[elements.rows]]
        key = elements.key.decode(errors="surrogateescape")
        nested = elements.code in (codes.OBJECT, codes.ARRAY)
        if is_array:
            if nested:
                yield from _inside(documents, elements, around, path)
            continue
        if key == path:
            yield _Found(elements, around)
        elif rest and key == first and nested:
            yield from _inside(documents, elements, around, rest)


def _inside(documents: Documents, elements: Elements, owners: list[Positions], path: str) -> Iterator[_Found]:
    is_array = elements.code == codes.ARRAY
    yield from _find(documents, elements.begins, elements.ends, owners, path, is_array=is_array)


def _edits(found: _Found, new: Callable[[_Found], list[tuple[int, bytes]] | None]) -> Iterator[_Edit]:
    replaced = new(found)
    if replaced is None:
        return
    elements = found.elements
    # A value is preceded by its type byte, its name and a zero.
    starts = elements.begins - len(elements.key) - 2
    for place, (start, end) in enumerate(zip(starts.tolist(), elements.ends.tolist(), strict=True)):
        code, value = replaced[place]
        header = bytes([code]) + elements.key + b"\0" if code else b""
        yield _Edit(start, end, header + value, tuple(int(owner[place]) for owner in found.owners))


def _removals(found: _Found) -> list[tuple[int, bytes]]:
    return [(0, b"")] * len(found.elements.rows)


def _hashes(documents: Documents, found: _Found, hash_key: Secret | None) -> list[tuple[int, bytes]] | None:
    """Return the type byte and the bytes of each value's hash; None for null."""
    elements = found.elements
    if elements.code in (codes.NULL, codes.UNDEFINED):
        return None
    is_id = elements.key == ID.encode() and len(found.owners) == 1
    texts = []
    for place, value in enumerate(decoded_one_by_one(documents, elements)):
        plain: bytes
        if isinstance(value, RejectedValueError):
            plain = documents.raw[int(elements.begins[place]) : int(elements.ends[place])]
        elif isinstance(value, bytes) and not is_id:
            plain = bytes(value)
        else:
            try:
                plain = (id_text(value) if is_id else plain_text(value)).encode(errors="surrogatepass")
            except (orjson.JSONEncodeError, RecursionError):
                # The value is nested too deeply for JSON.
                plain = documents.raw[int(elements.begins[place]) : int(elements.ends[place])]
        hashed = digest(plain, hash_key).encode()
        texts.append((codes.STRING, _LENGTH.pack(len(hashed) + 1) + hashed + b"\0"))
    return texts


def _with_edits(documents: Documents, edits: list[_Edit]) -> Documents:
    """Apply the edits, which are in order of their positions."""
    outermost: list[_Edit] = []
    for edit in edits:
        # An edit inside a removed or hashed value is obsolete.
        if not outermost or edit.begin >= outermost[-1].end:
            outermost.append(edit)
    grown: dict[int, int] = {}
    for edit in outermost:
        growth = len(edit.new) - (edit.end - edit.begin)
        for owner in edit.owners:
            grown[owner] = grown.get(owner, 0) + growth
    first, last = int(documents.begins[0]), int(documents.ends[-1])
    raw = bytearray(documents.raw[first:last])
    for owner, growth in grown.items():
        (length,) = _LENGTH.unpack_from(raw, owner - first)
        _LENGTH.pack_into(raw, owner - first, length + growth)
    parts, position = [], first
    for edit in outermost:
        parts += [bytes(raw[position - first : edit.begin - first]), edit.new]
        position = edit.end
    parts += [bytes(raw[position - first :]), bytes(PADDING)]
    begins = {int(begin): row for row, begin in enumerate(documents.begins)}
    growths = np.zeros(len(documents) + 1, dtype=np.int64)
    for owner, growth in grown.items():
        if owner in begins:
            growths[begins[owner] + 1] = growth
    # What lies between the documents is kept.
    shifts = np.cumsum(growths) - first
    return Documents(b"".join(parts), documents.begins + shifts[:-1], documents.ends + shifts[1:])
