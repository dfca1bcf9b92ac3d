"""Selects, renames, converts, hashes and adds columns: of schemas at launch, of batches on the workers.

source columns ── read_schema ──▶ columns to read ── transform_schema ──▶ columns of the destination
                                  batches as read ── transform_batch ───▶ batches as staged
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.identifiers import check_column, sanitised_column
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.transformation_config import Constant, TransformationConfig
from sync_pipeline.schema import EXPLICIT_CASTS, LOSSLESS_CASTS, NULLABLE, REPEATED, Field, Schema
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.transforms.hashing import hash_column

# bool precedes int, because it is a subclass of int.
_CONSTANT_TYPES: tuple[tuple[type, str], ...] = ((bool, "BOOL"), (int, "INT64"), (float, "FLOAT64"), (str, "STRING"))


def read_schema(source: Schema, config: TransformationConfig, *, has_dynamic_schema: bool = False) -> Schema:
    """Return the columns to read, with their source names and in the source's order, and the types to read them as.

    A hashed column is read as STRING, because the text is hashed; BYTES stay BYTES. With
    `SourceDescription.has_dynamic_schema`, selected and hashed columns may be missing from the source.

    Raises:
        SchemaError: `config` names columns that the source does not have, or types that they cannot be read as.
    """
    problems = list(_unknown_columns(source, config, has_dynamic_schema=has_dynamic_schema))
    chosen = [
        field
        for field in source
        if field.name not in config.exclude_fields
        and (not config.include_fields or field.name in config.include_fields)
    ]
    if not chosen:
        problems.append("include_fields and exclude_fields leave no column to read")
    fields = []
    for field in chosen:
        try:
            fields.append(_field_to_read(field, config))
        except SchemaError as error:
            problems.append(str(error))
    if problems:
        raise SchemaError("; ".join(problems))
    return Schema(tuple(fields))


def transform_schema(read: Schema, config: TransformationConfig) -> Schema:
    """Return the destination's columns: the columns read, hashed and renamed, then the constants.

    Raises:
        SchemaError: BigQuery does not allow a name, or two names differ only in case.
    """
    _check_names(read, config)
    fields = [
        replace(
            field.as_type("STRING") if field.name in config.hash_fields else field,
            name=destination_name(field.name, config),
            # A hash has 64 characters and may exceed the source column's maximum length.
            parameters="" if field.name in config.hash_fields else field.parameters,
        )
        for field in read
    ]
    fields += [Field(name, _constant_type(value)) for name, value in config.constant_fields.items()]
    return Schema(tuple(fields))


def destination_name(source_name: str, config: TransformationConfig) -> str:
    """Return the destination's name of a source column."""
    return config.field_mappings.get(source_name, source_name)


def transform_batch(
    batch: pa.RecordBatch, config: TransformationConfig, schema: Schema, hash_key: Secret | None
) -> pa.RecordBatch:
    """Return a batch with the columns of `read_schema` converted to the columns of `schema` (`transform_schema`).

    Copies no data except that of hashed and constant columns.

    Raises:
        ConfigError: the hash key cannot be read or is empty.
        SourceUnavailableError: Secret Manager does not answer.
    """
    arrow_schema = schema.arrow
    if not config.hash_fields and batch.schema.equals(arrow_schema):
        return batch
    columns = [
        hash_column(column, hash_key) if name in config.hash_fields else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    columns += [
        pa.repeat(pa.scalar(value, type=schema.field(name).arrow_type), batch.num_rows)
        for name, value in config.constant_fields.items()
    ]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema)


@dataclass(frozen=True)
class Transformation:
    """The transformation of one table.

    Attributes:
        schema: the destination's columns, from `transform_schema`.
        hash_key: see `hashing.digest`.
    """

    config: TransformationConfig
    schema: Schema
    hash_key: Secret | None


# A batch with the number of its table in the run's plan.
TableBatch = tuple[int, pa.RecordBatch]


@dataclass
class ApplyTransformation(beam.PTransform[PCollection[TableBatch], PCollection[TableBatch]]):
    """Applies `transform_batch` to each batch: PCollection of TableBatch, as read → as staged.

    Attributes:
        transformations: by the number of the table.
    """

    transformations: Mapping[int, Transformation]

    def expand(self, batches: PCollection[TableBatch]) -> PCollection[TableBatch]:
        """Return the transformed batches, one per input batch."""
        transform = beam.Map(_transformed, self.transformations).with_output_types(TableBatch)
        transformed: PCollection[TableBatch] = batches | "TransformBatch" >> transform
        return transformed


def _transformed(element: TableBatch, transformations: Mapping[int, Transformation]) -> TableBatch:
    table, batch = element
    todo = transformations[table]
    return table, transform_batch(batch, todo.config, todo.schema, todo.hash_key)


def _unknown_columns(source: Schema, config: TransformationConfig, *, has_dynamic_schema: bool) -> Iterator[str]:
    keys = {
        "field_mappings": config.field_mappings,
        "include_fields": config.include_fields,
        "exclude_fields": config.exclude_fields,
        "type_overrides": config.type_overrides,
        "hash_fields": config.hash_fields,
    }
    for key, names in keys.items():
        if has_dynamic_schema and key in ("include_fields", "exclude_fields", "hash_fields"):
            continue
        for name in names:
            if name not in source and not (has_dynamic_schema and name in config.exclude_fields):
                yield f"transformation_config.{key} names {name}, which the source does not have" + did_you_mean(
                    name, source.names
                )


def _field_to_read(field: Field, config: TransformationConfig) -> Field:
    if field.name in config.hash_fields:
        return _hashable(field)
    override = config.type_overrides.get(field.name)
    if override is None or (override == field.type and field.mode != REPEATED):
        return field
    if field.mode == REPEATED:
        allowed = frozenset({"JSON"})
    else:
        allowed = LOSSLESS_CASTS.get(field.type, frozenset()) | EXPLICIT_CASTS.get(field.type, frozenset())
    if override not in allowed:
        described = f"an array of {field.type}" if field.mode == REPEATED else field.type
        raise SchemaError(
            f"transformation_config.type_overrides.{field.name}: the column is {described}, which can become "
            f"{', '.join(sorted(allowed)) or 'nothing else'}, not {override}"
        )
    retyped = field.as_type(override)
    return replace(retyped, mode=NULLABLE) if field.mode == REPEATED else retyped


def _hashable(field: Field) -> Field:
    if field.mode == REPEATED:
        raise SchemaError(f"transformation_config.hash_fields: {field.name} is an array; only single values are hashed")
    if field.type in ("STRING", "BYTES"):
        return field
    if "STRING" not in LOSSLESS_CASTS.get(field.type, frozenset()):
        raise SchemaError(
            f"transformation_config.hash_fields: {field.name} is {field.type}, which has no unique text to hash"
        )
    return field.as_type("STRING")


def _check_names(read: Schema, config: TransformationConfig) -> None:
    sources: dict[str, list[str]] = {}
    for name in read.names:
        sources.setdefault(destination_name(name, config).lower(), []).append(name)
    for name in config.constant_fields:
        sources.setdefault(name.lower(), []).append(f"constant_fields.{name}")
    clashes = [" and ".join(names) for names in sources.values() if len(names) > 1]
    if clashes:
        raise SchemaError(
            f"duplicate column names, as BigQuery ignores case: {'; '.join(clashes)}. Rename all but one with "
            "transformation_config.field_mappings, or leave them out with exclude_fields"
        )
    refused = [name for name in read.names if check_column(destination_name(name, config)) is not None]
    if refused:
        taken = set(sources)
        remedy = {}
        for name in refused:
            remedy[name] = sanitised_column(name, taken)
            taken.add(remedy[name].lower())
        raise SchemaError(
            f"BigQuery does not allow these column names: {', '.join(refused)}. Rename them, for example with "
            f"transformation_config={json.dumps({'field_mappings': remedy}, ensure_ascii=False)}"
        )


def _constant_type(value: Constant) -> str:
    return next(name for type_, name in _CONSTANT_TYPES if isinstance(value, type_))
