"""Rows that are open: they may have columns, and values of types, that nobody has seen yet, such as documents."""

from __future__ import annotations

from dataclasses import replace

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import ARROW_TYPES, REPEATED, Field, Schema
from sync_pipeline.sources.source import SourceDescription
from sync_pipeline.transforms.batches import destination_name, read_schema


def schemaless_schema(description: SourceDescription, existing: Schema, transformation: TransformationConfig) -> Schema:
    """Return the columns that were seen, as the user wants them, and those of the destination that a row may have.

    Whatever types were seen, each value is checked, so that a column may become any type. Every row has the key: where
    there are rows and none has it, it was left out.
    """
    overrides = transformation.type_overrides
    seen = [field.as_type(overrides.get(field.name, field.type)) for field in description.schema]
    sources = {new.lower(): old for old, new in transformation.field_mappings.items()}
    here = {destination_name(field.name, transformation).lower() for field in seen}
    here |= {name.lower() for name in transformation.constant_fields}
    more = []
    for field in existing:
        name = sources.get(field.name.lower(), field.name)
        is_wanted = (
            name not in transformation.exclude_fields
            and (not transformation.include_fields or name in transformation.include_fields)
            and not (name in description.default_primary_key and seen)
        )
        if field.name.lower() not in here and is_wanted and field.mode != REPEATED and field.type in ARROW_TYPES:
            more.append(Field(name, field.type, source_type="none seen"))
    return Schema((*seen, *more))


def with_default_key(config: SyncConfig, description: SourceDescription) -> tuple[SyncConfig, tuple[str, ...]]:
    """Return the configuration with the key of rows that are updated in place, where none was given."""
    if config.smart_sync is None or config.primary_key or not description.default_primary_key:
        return config, ()
    key = ", ".join(description.default_primary_key)
    read = read_schema(description.schema, config.transformation, has_dynamic_schema=description.has_dynamic_schema)
    if all(name in read for name in description.default_primary_key):
        note = f"merged by {key}, as rows of this source are updated in place and no primary_key was given"
        return replace(config, primary_key=description.default_primary_key), (note,)
    for given, name in (
        (config.smart_sync.lookback, "smart_sync_lookback_seconds"),
        (config.smart_sync.include_null_timestamps, "smart_sync_null_timestamps=include"),
    ):
        if given:
            raise SchemaError(
                f"{name} reads rows again, and without {key}, which is left out, they would be appended again: load "
                f"{key}, or give primary_key"
            )
    return config, (f"appended, as {key} is left out: a row that has changed is there once more",)
