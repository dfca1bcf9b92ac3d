"""Whether a value fits a JSON Schema, by the keywords that our schemas use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def is_valid(value: Any, schema: dict[str, Any], document: dict[str, Any] | None = None) -> bool:
    """Whether the schema allows a value; `document` is what its references point into, by default itself."""
    document = document or schema

    def allows(value: Any, schema: dict[str, Any]) -> bool:
        return is_valid(value, schema, document)

    if "$ref" in schema:
        _, group, name = schema["$ref"].split("/")
        return allows(value, document[group][name])
    kind = schema.get("type")
    known = schema.get("properties", {})
    members = value.items() if isinstance(value, dict) else ()
    further = schema.get("additionalProperties", True)
    of_others = further if isinstance(further, dict) else {}
    return (
        (kind is None or (isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")))
        and ("enum" not in schema or value in schema["enum"])
        and ("const" not in schema or value == schema["const"])
        and ("anyOf" not in schema or any(allows(value, other) for other in schema["anyOf"]))
        and all(name in value for name in schema.get("required", ()))
        and (kind != "integer" or schema.get("minimum", value) <= value <= schema.get("maximum", value))
        and all(allows(item, schema.get("items", {})) for item in (value if isinstance(value, list) else ()))
        and all(name in known or further is not False for name, _ in members)
        and all(allows(member, known.get(name, of_others)) for name, member in members)
    )


def broken(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a JSON value, each with one property removed or with a value of a type that nothing has."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, {other: value[other] for other in value if other != name}
            yield name, {**value, name: {"wrong": ["type"]}}
            for path, changed in broken(member):
                yield f"{name}.{path}", {**value, name: changed}
    if isinstance(value, list):
        for number, item in enumerate(value):
            for path, changed in broken(item):
                yield f"{number}.{path}", [*value[:number], changed, *value[number + 1 :]]
