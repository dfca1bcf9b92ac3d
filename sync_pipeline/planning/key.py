"""The primary key: the key columns of a merge, and whether a new table declares them."""

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
    """The key columns, with source or destination names; empty to append."""

    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_key(config: SyncConfig, description: SourceDescription, read: Schema) -> ChosenKey:
    """Return the given key, or else the key of a source that updates rows in place.

    Args:
        read: the columns to read.

    Raises:
        SchemaError: parameters make the run read rows again, which without a key would be appended again.
    """
    default = description.default_primary_key
    if config.smart_sync is None or config.primary_key or not default:
        return ChosenKey(config.primary_key)
    key = ", ".join(default)
    if all(name in read for name in default):
        note = f"merged by {key}, because the source updates rows in place and no primary_key is given"
        return ChosenKey(default, (note,))
    for given, name in (
        (config.smart_sync.lookback, "smart_sync_lookback_seconds"),
        (config.smart_sync.include_null_timestamps, "smart_sync_null_timestamps=include"),
    ):
        if given:
            raise SchemaError(
                f"{name} reads rows again, and without {key}, which is excluded, they would be appended again: load "
                f"{key}, or give primary_key"
            )
    return ChosenKey((), (f"appended, because {key} is excluded: a changed row is added as a new version",))


def key_columns(given: tuple[str, ...], schema: Schema, destination_names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the destination names of the key columns, which may be given by either name.

    Raises:
        SchemaError: key columns are missing or cannot be compared; names all of them.
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
    """Return the layout of a new table, with the key declared if the table cannot repeat a key.

    Args:
        key: the key of a merge.
        source_key: the source's own key, with destination names; empty if unknown or not read.
        cannot_repeat: whether each load replaces all rows and the source returns each key once.
    """
    notes = []
    clusterable = tuple(name for name in key if schema.field(name).type in CLUSTERING_TYPES)[:4]
    if clusterable and not layout.clustering_fields:
        layout = replace(layout, clustering_fields=clusterable)
        notes.append(f"clustered by the primary key ({', '.join(clusterable)}), which makes merges faster")
    if key:
        return with_declared_key(layout, key, schema), notes
    if source_key and cannot_repeat:
        return with_declared_key(layout, source_key, schema), notes
    if source_key:
        notes.append(
            f"the source's primary key ({', '.join(source_key)}) is not declared: appended rows, a join or child "
            "tables may repeat it, and BigQuery relies on a declared key. Set "
            f"primary_key={','.join(source_key)} to merge rows instead"
        )
    return layout, notes
