"""Google's discovery documents: what a REST body may contain, and Google's messages for what it may not."""

import importlib.util
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.processes import SandboxError

_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), None: (-(2**31), 2**31 - 1)}


@cache
def schemas(document: str) -> dict[str, Any]:
    """Return the schemas of an API such as "dataflow.v1b3", by name."""
    package = importlib.util.find_spec("googleapiclient")
    if package is None or not package.submodule_search_locations:
        raise SandboxError("the package google-api-python-client is not installed; run `make install`")
    folder = Path(package.submodule_search_locations[0], "discovery_cache", "documents")
    found: dict[str, Any] = json.loads((folder / f"{document}.json").read_text(encoding="utf-8"))["schemas"]
    return found


def read_body(document: str, schema: str, body: Any) -> tuple[Any, list[str]]:
    """Return `body` with the discovery document's names, and an error message in Google's words for each problem.

    Like Google's parser, it accepts names in snake case and numbers as strings, and treats null as absent.
    """
    problems: list[str] = []
    return _Reader(schemas(document), problems).read({"$ref": schema}, body, ""), problems


class _Reader:
    def __init__(self, schemas: dict[str, Any], problems: list[str]) -> None:
        self._schemas = schemas
        self._problems = problems

    def read(self, schema: dict[str, Any], value: Any, path: str) -> Any:
        if "$ref" in schema:
            return self.read(self._schemas[schema["$ref"]], value, path)
        kind = schema.get("type", "any")
        if kind == "object" and not isinstance(value, dict):
            return self._wrong(path, "TYPE_MESSAGE", value)
        if kind == "object" and "properties" in schema:
            return self._read_message(schema["properties"], value, path)
        if kind == "object":
            entries = schema.get("additionalProperties", {"type": "any"})
            return {key: self.read(entries, each, f"{path}[{key}]") for key, each in value.items()}
        if kind == "array":
            if not isinstance(value, list):
                return self._wrong(path, "TYPE_MESSAGE", value)
            return [self.read(schema["items"], each, f"{path}[{index}]") for index, each in enumerate(value)]
        if not _KINDS[kind](schema, value):
            return self._wrong(path, _TYPE_NAMES.get(kind, kind), value)
        return value

    def _read_message(self, properties: dict[str, Any], value: dict[str, Any], path: str) -> dict[str, Any]:
        read = {}
        for name, each in value.items():
            known = name if name in properties else _camel_case(name)
            if known not in properties:
                where = f" at '{path}'" if path else ""
                self._problems.append(
                    f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
                )
            elif each is not None:
                inner = f"{path}.{_snake_case(known)}" if path else _snake_case(known)
                read[known] = self.read(properties[known], each, inner)
        return read

    def _wrong(self, path: str, kind: str, value: Any) -> Any:
        self._problems.append(f"Invalid value at '{path}' ({kind}), {json.dumps(value)}")
        return value


def _is_string(schema: dict[str, Any], value: Any) -> bool:
    if schema.get("format") in ("int64", "uint64") and isinstance(value, int) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and ("enum" not in schema or value in schema["enum"])


def _is_integer(schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"-?\d+", value)):
        return False
    least, most = _INTEGERS[schema.get("format")]
    return isinstance(value, int | str) and least <= int(value) <= most


_KINDS: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "any": lambda _schema, _value: True,
    "string": _is_string,
    "integer": _is_integer,
    "number": lambda _schema, value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda _schema, value: isinstance(value, bool),
}
_TYPE_NAMES = {"string": "TYPE_STRING", "integer": "TYPE_INT32", "number": "TYPE_DOUBLE", "boolean": "TYPE_BOOL"}


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
