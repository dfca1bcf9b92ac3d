"""The primary key: by which columns rows are merged, and whether a new table declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sync_pipeline.auto_schema.layout import TableLayout, with_declared_key
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.schema import CLUSTERING_TYPES, KEY_TYPES, REPEATED, Schema
from sync_pipeline.sources.source import SourceDescription
from sync_pipeline.suggestions import did_you_mean


@dataclass(frozen=True)
class ChosenKey:
    """The columns that tell rows apart, by source or destination names; none where rows are appended."""

    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_key(config: SyncConfig, description: SourceDescription, read: Schema) -> ChosenKey:
    """Return the key that was given, or else that of a source whose rows are updated in place.

    `read` are the columns that are read. Raises SchemaError where rows are read again and cannot be told apart.
    """
    default = description.default_primary_key
    if config.smart_sync is None or config.primary_key or not default:
        return ChosenKey(config.primary_key)
    key = ", ".join(default)
    if all(name in read for name in default):
        note = f"merged by {key}, as rows of this source are updated in place and no primary_key was given"
        return ChosenKey(default, (note,))
    for given, name in (
        (config.smart_sync.lookback, "smart_sync_lookback_seconds"),
        (config.smart_sync.include_null_timestamps, "smart_sync_null_timestamps=include"),
    ):
        if given:
            raise SchemaError(
                f"{name} reads rows again, and without {key}, which is left out, they would be appended again: load "
                f"{key}, or give primary_key"
            )
    return ChosenKey((), (f"appended, as {key} is left out: a row that has changed is there once more",))


def key_columns(given: tuple[str, ...], schema: Schema, destination_names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the key's columns by their destination names; they may be given by either name.

    Raises SchemaError naming those that are missing, or cannot be compared.
    """
    names = []
    problems = []
    for name_given in given:
        name = name_given if name_given in schema else destination_names.get(name_given, name_given)
        if name not in schema:
            problems.append(f"there is no column {name_given}{did_you_mean(name_given, schema.names)}")
            continue
        field = schema.field(name)
        if field.mode == REPEATED or field.type not in KEY_TYPES:
            problems.append(
                f"{name} is {field.type_name}, which cannot be compared: use {', '.join(sorted(KEY_TYPES))}"
            )
        names.append(name)
    if problems:
        raise SchemaError("\n".join(f"primary_key: {problem}" for problem in problems))
    return tuple(names)


def with_key(
    layout: TableLayout,
    key: tuple[str, ...],
    schema: Schema,
    source_key: tuple[str, ...],
    *,
    cannot_repeat: bool,
) -> tuple[TableLayout, list[str]]:
    """Return the layout of a new table with the key declared where the table cannot hold two rows of one key.

    Args:
        key: by which rows are merged.
        source_key: the source's own key, by destination names; empty where it is not known, or not read.
        cannot_repeat: each load replaces all rows, and the source returns a key of its own once.
    """
    notes = []
    clusterable = tuple(name for name in key if schema.field(name).type in CLUSTERING_TYPES)[:4]
    if clusterable and not layout.clustering_fields:
        layout = replace(layout, clustering_fields=clusterable)
        notes.append(f"clustered by the primary key ({', '.join(clusterable)}), by which every merge looks rows up")
    if key:
        return with_declared_key(layout, key, schema), notes
    if source_key and cannot_repeat:
        return with_declared_key(layout, source_key, schema), notes
    if source_key:
        notes.append(
            f"the source's primary key ({', '.join(source_key)}) is not declared: appended rows, a join or child "
            "tables may repeat it, and BigQuery trusts a declared key. With "
            f"primary_key={','.join(source_key)} rows are merged instead"
        )
    return layout, notes
