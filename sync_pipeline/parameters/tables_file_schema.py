"""The JSON Schema of `tables_file`, by which editors check and complete it."""

from __future__ import annotations

from typing import Any

from sync_pipeline.parameters.declaration import declarations
from sync_pipeline.parameters.parameter import Parameter, ParameterType
from sync_pipeline.parameters.table import PARAMETERS
from sync_pipeline.parameters.transformation_config import ROOT, TransformationConfig

_TEXT = {"type": "string"}
_LIST = {"type": "array", "items": _TEXT, "minItems": 1}


def tables_file_schema() -> dict[str, Any]:
    """Return the schema. Editors know this draft best."""
    rows = [row for row in PARAMETERS if row.by_table]
    tables = [source.tables for source in declarations().values() if source.tables is not None]
    chooses = [name for source in tables for name in (source.parameter, *source.queries)]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Tables of a sync to BigQuery",
        "description": "The file of the parameter tables_file: which tables to sync, and what differs by table.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "defaults": {
                "description": "Parameters of all tables. They take precedence over those of the run.",
                **_mapping([row for row in rows if row.name not in chooses]),
            },
            "tables": {
                "description": "The tables to sync. If a parameter of the run names tables, only those are synced, and "
                "the entries say what differs. An exact name takes precedence over wildcards, and the first of several "
                "wildcards over the others. An entry with only names after ! excludes them.",
                "type": "array",
                "items": {**_mapping(rows), "anyOf": [{"required": [name]} for name in chooses]},
            },
        },
        "definitions": {row.name: _definition(row) for row in rows},
    }


def _mapping(rows: list[Parameter]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {row.name: {"$ref": f"#/definitions/{row.name}"} for row in rows},
    }


def _definition(parameter: Parameter) -> dict[str, Any]:
    return {"description": parameter.help, **_type(parameter)}


def _type(parameter: Parameter) -> dict[str, Any]:
    match parameter.type:
        case ParameterType.BOOLEAN:
            return {"type": "boolean"}
        case ParameterType.INTEGER:
            return {"type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
        case ParameterType.CHOICE:
            return {"enum": list(parameter.choices)}
        case ParameterType.COLUMNS:
            return {"anyOf": [_TEXT, {**_LIST, "maxItems": parameter.maximum}]}
        case ParameterType.TABLES:
            return {"anyOf": [_TEXT, _LIST]}
        case ParameterType.JSON:
            return {"anyOf": [_transformation() if parameter.name == ROOT else {"type": "object"}, _TEXT]}
    return _TEXT


def _transformation() -> dict[str, Any]:
    schema = TransformationConfig.model_json_schema()
    for key in ("description", "title"):
        del schema[key]
    for described in schema["properties"].values():
        del described["title"], described["default"]
    return schema
