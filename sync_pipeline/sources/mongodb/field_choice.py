"""Decides which fields the server sends, which the worker removes, and which it hashes.

`exclude_fields`, `include_fields` and `hash_fields` name fields by path, such as `customer.address.city`. As in a
MongoDB projection, a path passes through arrays. A name with dots also matches a field with exactly that name. MongoDB
allows such fields, but no projection can name them, so the worker removes them.
https://www.mongodb.com/docs/manual/core/dot-dollar-considerations/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bson.decimal128 import Decimal128

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.identifiers import column_name
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.sources.mongodb.bson_types import DOCUMENT, ID
from sync_pipeline.sources.mongodb.filters import Filter


@dataclass(frozen=True)
class FieldChoice:
    """The handling of the documents' fields.

    Attributes:
        projection: the projection for the server.
        removed: paths that the server may send and the worker removes.
        hashed: paths whose values the worker replaces by hashes.
        hashed_in_document: paths whose values it replaces by hashes only in the document column.
        transformation: the remaining transformation of columns, by their names.
    """

    projection: Filter
    removed: tuple[str, ...]
    hashed: tuple[str, ...]
    hashed_in_document: tuple[str, ...]
    transformation: TransformationConfig
    _excluded: frozenset[str]
    _included: frozenset[str]

    @property
    def sends_id(self) -> bool:
        """Whether the server sends `_id` or part of it."""
        if ID in self.projection:
            return not _is_zero(self.projection[ID])
        return True

    def has_column(self, key: str) -> bool:
        """Whether the top-level field of this name is selected."""
        names = {key, column_name(key)}
        return names.isdisjoint(self._excluded) and (not self._included or key in self._included)

    def sent_notes(self, types: Mapping[str, frozenset[str]]) -> list[str]:
        """Return a note on excluded fields in `types` that the server sends anyway."""
        keys = [key for key in types if not self.has_column(key) and not self._is_projected_away(key)]
        keys += [path for path in self.removed if any(_is_below(path, field) for field in self.projection)]
        if not keys:
            return []
        reason = (
            "excluded by the workers, but sent by the server: a projection cannot exclude a name with a dot, a name "
            "that begins with a dollar, a column name that differs from the field's, or part of an included field"
        )
        return [f"{', '.join(dict.fromkeys(keys))}: {reason}"]

    def _is_projected_away(self, key: str) -> bool:
        chooses = any(not _is_zero(value) for value in self.projection.values())
        if chooses:
            return not any(field == key or _is_below(field, key) for field in self.projection)
        return key in self.projection and "." not in key

    def columns(self, types: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Return the selected fields with their types. A hash is a string."""
        return {
            key: frozenset({"string"}) if key in self.hashed else names
            for key, names in types.items()
            if self.has_column(key)
        }


def choose_fields(config: TransformationConfig, projection: Filter, *, document_mode: bool) -> FieldChoice:
    """Return the handling of fields. Raises ConfigError when no field is left, or MongoDB cannot select a field."""
    # In document mode, the name of the document column stands for all fields.
    is_column_choice = document_mode and DOCUMENT in config.include_fields
    included = () if is_column_choice else config.include_fields
    if wrong := [path for path in included if not _can_be_projected(path)]:
        named = f"transformation_config.include_fields names {', '.join(map(repr, wrong))}, which MongoDB cannot select"
        raise ConfigError([f"{named}: name the other fields in exclude_fields instead"])
    combined, removed = _combined(projection, included, config.exclude_fields)
    nested = tuple(path for path in config.hash_fields if "." in path)
    plain = [path for path in config.hash_fields if "." not in path]
    heads = tuple(path.split(".")[0] for path in included)
    if document_mode and included:
        heads = (*heads, DOCUMENT)
    transformation = config.model_copy(
        update={
            "exclude_fields": _column_names(path for path in config.exclude_fields if "." not in path),
            "include_fields": config.include_fields if is_column_choice else _column_names(heads),
            "hash_fields": _column_names(plain),
        }
    )
    return FieldChoice(
        combined,
        removed,
        hashed=nested,
        hashed_in_document=tuple(plain) if document_mode else (),
        transformation=transformation,
        _excluded=frozenset(config.exclude_fields),
        _included=frozenset(path.split(".")[0] for path in included),
    )


def _combined(user: Filter, included: Iterable[str], excluded: Iterable[str]) -> tuple[Filter, tuple[str, ...]]:
    """Return the user's projection without excluded fields, and the paths that the worker has to remove."""
    included, excluded = _outermost(included), tuple(excluded)
    if not included and not excluded:
        return user, ()
    removed = [path for path in excluded if "." in path or not _can_be_projected(path)]
    fields = _flattened(user)
    has_id = not _is_zero(fields.pop(ID, 1))
    unwanted = [path for path in excluded if _can_be_projected(path)]
    chosen = {path: value for path, value in fields.items() if not _is_zero(value)}
    unwanted += [path for path, value in fields.items() if _is_zero(value)]
    if not has_id:
        unwanted.append(ID)
    if not chosen and not (ID in user and has_id and not fields):
        if not included:
            return dict.fromkeys(_outermost(unwanted), 0), tuple(removed)
        chosen = dict.fromkeys(included, 1)
    else:
        if has_id and not any(_is_below(field, ID) for field in chosen):
            chosen = {ID: 1} | chosen
        if included:
            chosen = _intersection(chosen, included)
    for path in unwanted:
        removed += [path for field in chosen if _is_below(path, field)]
        chosen = {field: value for field, value in chosen.items() if field != path and not _is_below(field, path)}
    if not chosen:
        raise ConfigError(
            ["mongodb_projection, include_fields and exclude_fields leave no field to read: omit one of them"]
        )
    if not any(field == ID or _is_below(field, ID) for field in chosen):
        chosen[ID] = 0
    return chosen, tuple(dict.fromkeys(removed))


def _intersection(chosen: Filter, included: Iterable[str]) -> Filter:
    """Return the fields that both the user's projection and `include_fields` select."""
    both: Filter = {}
    for field, value in chosen.items():
        for path in included:
            if field == path or _is_below(field, path):
                both[field] = value
            elif _is_below(path, field):
                if not isinstance(value, bool | int | float):
                    problem = f"mongodb_projection computes {field!r}, but include_fields names part of it, {path!r}"
                    raise ConfigError([f"{problem}: include the whole field, or select in the projection"])
                both[path] = 1
    return both


def _flattened(projection: Filter, prefix: str = "") -> Filter:
    """Return the projection with paths instead of nested objects."""
    flat: Filter = {}
    for key, value in projection.items():
        if isinstance(value, Mapping) and value and not any(str(name).startswith("$") for name in value):
            flat |= _flattened(dict(value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths without those below another path: MongoDB rejects overlapping paths."""
    distinct = tuple(dict.fromkeys(paths))
    return tuple(path for path in distinct if not any(_is_below(path, other) for other in distinct))


def _is_below(path: str, other: str) -> bool:
    return path.startswith(f"{other}.")


def _can_be_projected(path: str) -> bool:
    return all(part and not part.startswith("$") and "\0" not in part for part in path.split("."))


def _is_zero(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal() == 0
    return isinstance(value, bool | int | float) and not value


def _column_names(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the fields and of their columns."""
    return tuple(dict.fromkeys(name for key in keys for name in (key, column_name(key))))
