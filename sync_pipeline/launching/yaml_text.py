"""YAML as a launch file may have it: nothing is changed in silence, and whatever cannot be read is one error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sync_pipeline.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"

# A launch file has a few hundred. A short text can stand for billions, by aliases of aliases.
_MAX_NODES = 100_000


def read_yaml(text: str) -> Any:
    """Return what a YAML text holds. Anchors, aliases and merge keys (`<<`) may be used.

    Raises:
        ConfigError: it is not YAML, refers to itself, has a key twice, or has a text that YAML 1.1 takes for something
            else. The error names the line, and never the value, which may be a secret.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([f"this is not YAML: a character that cannot be shown (line {line})"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"this is not YAML: {_place_of(error)}"]) from None
    except RecursionError:
        raise ConfigError(["this is not YAML: it is nested too deeply"]) from None
    except (AttributeError, TypeError, ValueError):
        # So end the constructors of PyYAML, with texts such as 2026-13-01 or !!float x.
        raise ConfigError(["this is not YAML: a date or a number cannot be read; put it in quotes"]) from None
    finally:
        if loader is not None:
            loader.dispose()


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many nodes the tree below `node` has when all aliases are followed; `sizes` is by the nodes' ids."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise _refused("it refers to itself", node)
        return sizes[id(node)]
    sizes[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for name, part in node.value:
            parts += [name, part]
            if name.tag != _MERGE and isinstance(name, yaml.ScalarNode):
                if (name.tag, name.value) in keys:
                    raise _refused(f"{name.value} is there twice", name)
                keys.add((name.tag, name.value))
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    size = 1 + sum(_size(part, sizes) for part in parts)
    if size > _MAX_NODES:
        raise _refused("its aliases stand for too much", node)
    sizes[id(node)] = size
    return size


class _Loader(yaml.SafeLoader):
    """Refuses what YAML's own changes in silence, and reads all numbers of JSON.

    Those are texts without quotes that only YAML 1.1 takes for something else: `no` would become false, 0123 become 83,
    and 12:30 become 750.
    """

    def construct_truth_value(self, node: Any) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise _unclear(node, "a text or a truth value: put it in quotes, or write true or false")
        return bool(self.construct_yaml_bool(node))

    def construct_whole_number(self, node: Any) -> int:
        if not re.fullmatch("[-+]?(0|[1-9][0-9]*)", node.value):
            raise _unclear(node, "a text or a number: put it in quotes, or write the number in plain digits")
        return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_truth_value)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
# YAML 1.1 wants a point and a sign in it; elsewhere 1e6 is a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _refused(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _unclear(node: Any, reading: str) -> ConfigError:
    mark = node.start_mark
    return ConfigError([f"line {mark.line + 1}, column {mark.column + 1}, may be {reading}"])


def _place_of(error: yaml.YAMLError) -> str:
    # Without the excerpt that the error would show.
    problem = getattr(error, "problem", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else problem
