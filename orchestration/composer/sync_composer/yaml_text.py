"""Strict YAML: what YAML 1.1 would change silently is refused, as `sync_pipeline.launching` refuses it."""

from __future__ import annotations

import re
from typing import Any

import yaml


def read_yaml(text: str) -> tuple[Any, list[str]]:
    """Return the value of a YAML text, and the problems; with a problem the value is None."""
    try:
        return yaml.load(text, _Loader), []  # noqa: S506 (derived from the safe loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return None, [f"this is not YAML: {error.problem}{place}"]
    except (yaml.YAMLError, ValueError, RecursionError):
        return None, ["this is not YAML: a character, date or number cannot be read; put it in quotes"]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 would read `no` as false, 0123 as 83 and 12:30 as 750, and take the last of two equal keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in keys:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                keys.add(key.value)
        return super().construct_mapping(node, deep)

    def truth_value(self, node: Any) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise _unclear(node, "put it in quotes, or write true or false")
        return bool(self.construct_yaml_bool(node))

    def whole_number(self, node: Any) -> int:
        if not re.fullmatch("[-+]?(0|[1-9][0-9]*)", node.value):
            raise _unclear(node, "put it in quotes, or write the number in plain digits")
        return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.truth_value)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def _unclear(node: Any, remedy: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, f"a value is unclear: {remedy}", node.start_mark)
