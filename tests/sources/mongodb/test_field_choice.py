"""What the server is asked to send, and what the worker does with the rest."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.sources.mongodb.field_choice import FieldChoice, choose_fields


def choose(projection: dict[str, Any] | None = None, *, document_mode: bool = False, **keys: Any) -> FieldChoice:
    given = {key: names for key, names in keys.items() if names}
    return choose_fields(TransformationConfig(**given), projection or {}, document_mode=document_mode)


@pytest.mark.parametrize("document_mode", [False, True])
@pytest.mark.parametrize(
    ("user", "excluded", "included", "projection", "removed"),
    [
        pytest.param({}, (), (), {}, (), id="nothing"),
        pytest.param({"a": {"b": 1}}, (), (), {"a": {"b": 1}}, (), id="the user's alone"),
        pytest.param({}, ("ssn",), (), {"ssn": 0}, (), id="excluded"),
        pytest.param({}, ("c.ssn",), (), {"c.ssn": 0}, ("c.ssn",), id="nested, or a name with a dot"),
        pytest.param({}, ("c.ssn", "c"), (), {"c": 0}, ("c.ssn",), id="one in the other"),
        pytest.param({}, ("_id",), (), {"_id": 0}, (), id="_id"),
        pytest.param({"a": 0, "_id": 0}, ("b",), (), {"b": 0, "a": 0, "_id": 0}, (), id="both exclude"),
        pytest.param({"a": {"x": 0}}, ("a",), (), {"a": 0}, (), id="more than the user"),
        pytest.param({"_id": 1, "a": 0}, ("b",), (), {"b": 0, "a": 0}, (), id="_id chosen besides"),
        pytest.param({"a": 1, "ssn": 1}, ("ssn",), (), {"_id": 1, "a": 1}, (), id="removed from what is chosen"),
        pytest.param({"a": 1, "_id": 0}, ("ssn",), (), {"a": 1, "_id": 0}, (), id="not chosen anyway"),
        pytest.param({"a": 1}, ("_id",), (), {"a": 1, "_id": 0}, (), id="_id beside what is chosen"),
        pytest.param({"a": 1}, ("a",), (), {"_id": 1}, (), id="all but _id"),
        pytest.param({"_id": 1}, ("a",), (), {"_id": 1}, (), id="only _id"),
        pytest.param({"_id": 0}, ("a",), (), {"a": 0, "_id": 0}, (), id="all but _id, less one"),
        pytest.param({"c": 1}, ("c.ssn",), (), {"_id": 1, "c": 1}, ("c.ssn",), id="a part of what is chosen"),
        pytest.param({"c": {"ssn": 1, "x": True}}, ("c.ssn",), (), {"_id": 1, "c.x": True}, ("c.ssn",), id="nested"),
        pytest.param({"c.ssn": 1, "d": 1}, ("c",), (), {"_id": 1, "d": 1}, (), id="what is around it"),
        pytest.param({"t": {"$size": "$a"}}, ("a",), (), {"_id": 1, "t": {"$size": "$a"}}, (), id="computed"),
        pytest.param({}, ("$x", "a..b"), (), {}, ("$x", "a..b"), id="no projection names it"),
        pytest.param({}, (), ("a", "_id"), {"a": 1, "_id": 1}, (), id="included"),
        pytest.param({}, (), ("a",), {"a": 1, "_id": 0}, (), id="included without _id"),
        pytest.param({}, (), ("a.b", "a"), {"a": 1, "_id": 0}, (), id="included twice"),
        pytest.param({}, ("c.ssn",), ("c",), {"c": 1, "_id": 0}, ("c.ssn",), id="a part of what is included"),
        pytest.param(
            {"x": 0, "a.y": 0}, (), ("a",), {"a": 1, "_id": 0}, ("a.y",), id="included, and user's exclusions"
        ),
        pytest.param({"a": 1, "b": 1}, (), ("b", "c"), {"b": 1, "_id": 0}, (), id="both choose"),
        pytest.param({"a": 1}, (), ("a.b", "_id"), {"_id": 1, "a.b": 1}, (), id="a part of the user's"),
        pytest.param({"a.b": 1}, (), ("a", "_id"), {"_id": 1, "a.b": 1}, (), id="the user's part of it"),
        pytest.param({"_id.x": 1}, ("b",), (), {"_id.x": 1}, (), id="a part of _id"),
    ],
)
def test_projections(
    user: dict[str, Any],
    excluded: tuple[str, ...],
    included: tuple[str, ...],
    projection: dict[str, Any],
    removed: tuple[str, ...],
    document_mode: bool,
) -> None:
    choice = choose(user, document_mode=document_mode, exclude_fields=excluded, include_fields=included)
    assert (choice.projection, choice.removed) == (projection, removed)


@pytest.mark.parametrize(
    ("user", "keys"),
    [
        pytest.param({"a": 1, "_id": 0}, {"exclude_fields": ("a",)}, id="all is excluded"),
        pytest.param({"a": 1}, {"exclude_fields": ("a", "_id")}, id="_id too"),
        pytest.param({"a": 1}, {"include_fields": ("b",)}, id="nothing is chosen twice"),
        pytest.param({"a": 0}, {"include_fields": ("a",)}, id="included and excluded"),
    ],
)
def test_an_empty_projection_would_send_all(user: dict[str, Any], keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="leave no field to read"):
        choose(user, **keys)


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"include_fields names '\$x', which MongoDB cannot select"):
        choose(include_fields=("$x", "a"))
    with pytest.raises(ConfigError, match=r"computes 'a', but include_fields names part of it, 'a.b'"):
        choose({"a": {"$first": "$b"}}, include_fields=("a.b",))


def test_columns() -> None:
    names = frozenset({"int"})
    types = dict.fromkeys(("_id", "a", "first name", "c.ssn", "c"), names)
    assert list(choose(exclude_fields=("first_name", "c.ssn")).columns(types)) == ["_id", "a", "c"]
    assert list(choose(include_fields=("c.x", "a")).columns(types)) == ["a", "c"]
    assert choose(hash_fields=("c.ssn", "a")).columns(types)["c.ssn"] == frozenset({"string"})


def test_what_is_left_to_do_with_columns() -> None:
    choice = choose(exclude_fields=("x y", "c.d"), hash_fields=("größe", "c.e"))
    assert choice.transformation.exclude_fields == ("x y", "x_y")
    assert choice.transformation.hash_fields == ("größe", "grosse")
    assert choice.hashed == ("c.e",)
    assert choice.hashed_in_document == ()
    assert choose(hash_fields=("a", "c.e"), document_mode=True).hashed_in_document == ("a",)


def test_in_document_mode_the_documents_can_be_chosen() -> None:
    choice = choose(include_fields=("_id", "document"), document_mode=True)
    assert (choice.projection, choice.transformation.include_fields) == ({}, ("_id", "document"))


def test_what_the_server_sends_nevertheless_is_said() -> None:
    types = dict.fromkeys(("_id", "a", "first name", "c.ssn", "c", "$x"), frozenset({"int"}))
    (note,) = choose(exclude_fields=("a", "first_name", "c.ssn", "$x")).sent_notes(types)
    assert note.startswith("first name, c.ssn, $x: excluded by the workers, but sent by the server: ")
    assert choose(exclude_fields=("a", "c")).sent_notes(types) == []
    (note,) = choose({"c": 1}, exclude_fields=("c.ssn",)).sent_notes({"c": frozenset({"object"})})
    assert note.startswith("c.ssn: ")
