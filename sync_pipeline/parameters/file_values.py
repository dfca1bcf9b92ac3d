"""Parameters in YAML or JSON files: launch files and `tables_file`."""

from __future__ import annotations

import json
from typing import Any

from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.parsing import read_json_object
from sync_pipeline.parameters.table import BY_NAME

_LISTS = (ParameterType.COLUMNS, ParameterType.TABLES)


def content_of(text: str) -> Any:
    """Return the value of a YAML or JSON text.

    Raises:
        ConfigError: see `read_yaml`.
    """
    try:
        # The YAML parser accepts most JSON, but rejects tabs and splits characters beyond 16 bits into surrogates.
        return read_json_object(text)
    except (ValueError, RecursionError):
        from sync_pipeline.parameters.yaml_text import read_yaml

        return read_yaml(text)


def text_of(name: str, value: Any) -> str | None:
    """Return the value of a parameter as its text, None if the text is ambiguous."""
    kind = BY_NAME[name].type if name in BY_NAME else None
    if isinstance(value, dict) and kind is ParameterType.JSON:
        try:
            return json.dumps(value)
        except TypeError:
            # YAML has dates, JSON does not.
            return None
    if isinstance(value, list) and kind in _LISTS:
        return ",".join(value) if all(isinstance(item, str) for item in value) else None
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, int | str):
        return "" if value is None else str(value)
    return None
