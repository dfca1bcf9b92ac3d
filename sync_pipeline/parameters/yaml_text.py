"""Strict YAML for users' files: rejects values that YAML 1.1 silently changes, and reports one clear error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sync_pipeline.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"

# A file with settings of a thousand tables has some ten thousand nodes. Nested aliases can expand a short text to
# billions.
_MAX_NODES = 100_000


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text. Anchors, aliases and merge keys (`<<`) are allowed.

    Raises:
        ConfigError: the text is not YAML, refers to itself, has a duplicate key, or has a text that YAML 1.1 reads as
            another type. The error names the line, never the value, which may be a secret.
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
        raise ConfigError([f"this is not YAML: an unprintable character (line {line})"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"this is not YAML: {_place_of(error)}"]) from None
    except RecursionError:
        raise ConfigError(["this is not YAML: it is nested too deeply"]) from None
    except (AttributeError, TypeError, ValueError):
        # PyYAML's constructors raise these for texts such as 2026-13-01 or !!float x.
        raise ConfigError(["this is not YAML: a date or a number cannot be read; put it in quotes"]) from None
    finally:
        if loader is not None:
            loader.dispose()


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many nodes the tree below `node` has with all aliases expanded. `sizes` caches by the nodes' ids."""
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
                    raise _refused(f"{name.value} is a duplicate key", name)
                keys.add((name.tag, name.value))
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    size = 1 + sum(_size(part, sizes) for part in parts)
    if size > _MAX_NODES:
        raise _refused("its aliases expand to too many values", node)
    sizes[id(node)] = size
    return size


class _Loader(yaml.SafeLoader):
    """Rejects unquoted texts that YAML 1.1 silently changes, and reads every JSON number.

    YAML 1.1 would read `no` as false, 0123 as 83, and 12:30 as 750.
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
# YAML 1.1 requires a point and a signed exponent; JSON and YAML 1.2 read 1e6 as a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _refused(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _unclear(node: Any, reading: str) -> ConfigError:
    mark = node.start_mark
    return ConfigError([f"line {mark.line + 1}, column {mark.column + 1}, may be {reading}"])


def _place_of(error: yaml.YAMLError) -> str:
    # PyYAML's own message would include an excerpt, which may contain a secret.
    problem = getattr(error, "problem", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else problem
