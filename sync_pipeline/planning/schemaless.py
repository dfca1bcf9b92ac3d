"""Columns of sources with a dynamic schema: rows, such as documents, may have columns and types not seen before."""

from __future__ import annotations

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.schema import ARROW_TYPES, REPEATED, Field, Schema
from sync_pipeline.sources.source import SourceDescription
from sync_pipeline.transforms.batches import destination_name


def schemaless_schema(description: SourceDescription, existing: Schema, transformation: TransformationConfig) -> Schema:
    """Return the inferred columns with the user's types, and further columns of the destination that rows may have.

    The read checks every value, so a column may have any type. Every row has the source's key; if the inferred columns
    lack it, the user excluded it.
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
