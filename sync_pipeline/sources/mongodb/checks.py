"""Checks across the parameters of the MongoDB source, and the fields that its filter compares with placeholders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sync_pipeline.parameters.parameter import ParameterValues, ignored


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each contradictory combination."""
    path = values["smart_sync_timestamp_column"]
    is_path = path is None or all(name and not name.startswith("$") for name in path.split("."))
    if values["enable_smart_sync"] and not is_path:
        yield (
            f"smart_sync_timestamp_column is {path!r}: give the name of a field, or a path such as meta.updatedAt, "
            "without empty names and names that begin with $"
        )
    both = values.given_of("mongodb_username", "mongodb_password")
    if both and "mongodb_connection_string" in values.given:
        yield f"{' and '.join(both)} cannot be given with mongodb_connection_string, which includes them"


def asks(values: ParameterValues) -> Iterator[str]:
    """Yield the parameters of the connection that `init` asks for, by what is given."""
    if "mongodb_host" not in values.given:
        yield "mongodb_connection_string"
    if "mongodb_connection_string" in values.given:
        yield "mongodb_database"
        return
    yield from ("mongodb_host", "mongodb_port", "mongodb_database", "mongodb_username")
    if "mongodb_username" in values.given:
        yield "mongodb_password"
    yield "mongodb_tls"


def warnings(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each given parameter without effect."""
    if values["mongodb_document_mode"] and "mongodb_schema_sample_size" in values.given:
        yield ignored(["mongodb_schema_sample_size"], "mongodb_document_mode is true")
    if values["enable_smart_sync"] and "smart_sync_time_zone" in values.given:
        yield ignored(["smart_sync_time_zone"], "MongoDB's dates are always in UTC")


def comparisons(query: str, _: str, placeholder: str) -> Iterator[str | None]:
    """Yield the fields that a filter compares with a placeholder, None where they cannot be determined."""
    try:
        document = json.loads(query)
    except (ValueError, RecursionError):
        yield None
        return
    yield from _compared_fields(document, placeholder, None)


def _compared_fields(value: Any, placeholder: str, field: str | None) -> Iterator[str | None]:
    """Yield the field that a MongoDB filter compares with each placeholder, None if it cannot be determined."""
    if isinstance(value, str):
        if placeholder in value:
            yield field.lower() if field is not None else None
    elif isinstance(value, list):
        # The form of $expr: {"$gt": ["$updated_at", {"$date": …}]}.
        paths = [member[1:] for member in value if isinstance(member, str) and member.startswith("$")]
        for member in value:
            yield from _compared_fields(member, placeholder, paths[0] if len(paths) == 1 else field)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _compared_fields(member, placeholder, field if key.startswith("$") else key)
