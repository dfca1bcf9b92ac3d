"""Removing and hashing at any depth gives what decoding, changing and encoding would give."""

from __future__ import annotations

import copy
import hashlib
import struct
from typing import Any

import bson
import pytest
from bson import DBRef, Decimal128, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.bson_edits import edited
from sync_pipeline.sources.mongodb.bson_scan import Documents
from sync_pipeline.sources.mongodb.to_json import plain_text


def sha256(value: Any) -> str:
    data = value if isinstance(value, bytes) else plain_text(value).encode()
    return hashlib.sha256(data).hexdigest()


def edit(*documents: dict[str, Any], removed: tuple[str, ...] = (), hashed: tuple[str, ...] = ()) -> list[Any]:
    raw = b"".join(map(bson.encode, documents))
    changed = edited(Documents.of(raw), removed, hashed, None)
    again = Documents.of(contents(changed))
    assert (again.begins.tolist(), again.ends.tolist()) == (changed.begins.tolist(), changed.ends.tolist())
    assert changed.raw == again.raw
    return bson.decode_all(contents(changed))


def contents(documents: Documents) -> bytes:
    return b"".join(documents.document(row) for row in range(len(documents)))


def expected(value: Any, path: str, *, removes: bool) -> None:
    """Change a document as a projection of MongoDB would."""
    if isinstance(value, list):
        for member in value:
            expected(member, path, removes=removes)
    elif isinstance(value, dict):
        first, _, rest = path.partition(".")
        if rest and first in value:
            expected(value[first], rest, removes=removes)
        if path in value:
            if removes:
                del value[path]
            elif value[path] is not None:
                value[path] = sha256(value[path])


NAMES = st.sampled_from(["a", "b", "c", "0", "a.b", "b.c", "ssn", "$x", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
PATHS = st.lists(NAMES.filter(bool), min_size=1, max_size=3).map(".".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=4), PATHS, st.booleans())
def test_any_path_of_any_documents(documents: list[dict[str, Any]], path: str, removes: bool) -> None:
    wanted = copy.deepcopy(documents)
    for document in wanted:
        expected(document, path, removes=removes)
    paths = {"removed" if removes else "hashed": (path,)}
    assert edit(*documents, **paths) == wanted


def test_several_paths_at_once() -> None:
    document = {"a": {"ssn": "1", "b": 2}, "list": [{"ssn": "x" * 100}, [{"ssn": None}], 5], "ssn": "3", "ssn.x": 1}
    (changed,) = edit(document, removed=("a.b", "ssn"), hashed=("a.ssn", "list.ssn", "ssn.x"))
    assert changed == {
        "a": {"ssn": sha256("1")},
        "list": [{"ssn": sha256("x" * 100)}, [{"ssn": None}], 5],
        "ssn.x": sha256(1),
    }


def test_what_is_within_a_hashed_or_removed_value_is_gone_with_it() -> None:
    document = {"a": {"b": {"c": 1}}, "d": {"e": 1}}
    (changed,) = edit(document, removed=("d", "d.e"), hashed=("a", "a.b", "a.b.c"))
    assert set(changed) == {"a"}
    assert len(changed["a"]) == 64


@pytest.mark.parametrize("value", [ObjectId(), Decimal128("1.50"), {"a": [1]}, [1, "x"], 1.5, DBRef("c", 1), True, ""])
def test_a_hash_is_that_of_the_text_a_column_would_hold(value: Any) -> None:
    assert edit({"c": {"v": value}}, hashed=("c.v",)) == [{"c": {"v": sha256(value)}}]


def test_the_id_has_the_hash_of_its_text() -> None:
    _id = ObjectId()
    assert edit({"_id": _id}, hashed=("_id",)) == [{"_id": sha256(str(_id))}]


def test_bytes_that_are_no_text_and_names_that_are_there_twice() -> None:
    twice = b"\x10a\0" + struct.pack("<i", 1) + b"\x02a\0" + struct.pack("<i", 3) + b"\xff\xfe\0"
    raw = struct.pack("<i", len(twice) + 5) + twice + b"\0"
    changed = edited(Documents.of(raw), (), ("a",), Secret("hash_key", "k"))
    assert contents(changed).count(b"\x02a\0\x41\0\0\0") == 2
    assert contents(edited(Documents.of(raw), ("a",), (), None)) == b"\x05\0\0\0\0"


def test_a_part_of_a_buffer() -> None:
    raw = b"".join(bson.encode({"_id": number, "c": {"s": str(number)}}) for number in range(10))
    parts = list(Documents.of(raw).parts(60))
    assert len(parts) > 1
    found = [row for part in parts for row in bson.decode_all(contents(edited(part, ("c.s",), (), None)))]
    assert found == [{"_id": number, "c": {}} for number in range(10)]


def test_documents_that_are_elements_of_an_array() -> None:
    rows = [{"_id": number, "c": {"s": str(number), "t": [{"s": 1}]}} for number in range(12)]
    raw = bson.encode({"v": rows})
    documents = Documents.of(raw).in_array(7, len(raw) - 1)
    found = [row for part in documents.parts(60) for row in bson.decode_all(contents(edited(part, ("c.s",), (), None)))]
    assert found == [{"_id": number, "c": {"t": [{"s": 1}]}} for number in range(12)]
