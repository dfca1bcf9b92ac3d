from __future__ import annotations

import json
from typing import Any

from sync_pipeline.output.run_output import document_schema
from sync_pipeline.parameters.documents import OUTPUT_SCHEMA, ROOT
from tests.json_schemas import is_valid

SCHEMA: dict[str, Any] = json.loads((ROOT / OUTPUT_SCHEMA).read_text(encoding="utf-8"))
FAILED = {
    "version": 1,
    "kind": "plan",
    "exit_code": 2,
    "seconds": 0.1,
    "error": {"kind": "ConfigError", "message": "x"},
    "summary": [],
    "estimate": None,
    "tables": [],
    "notes": [],
    "risks": [],
}


def test_the_schema_tells_plans_and_reports() -> None:
    assert is_valid(FAILED, SCHEMA)
    assert not is_valid(FAILED | {"kind": "report"}, SCHEMA)
    assert not is_valid(FAILED | {"version": 2}, SCHEMA)
    assert not is_valid({name: value for name, value in FAILED.items() if name != "error"}, SCHEMA)


def test_a_later_version_may_add_properties() -> None:
    assert is_valid(FAILED | {"new": 1}, SCHEMA)


def test_every_property_that_needs_it_is_described() -> None:
    definitions = document_schema()["$defs"]
    assert all("description" in definition for definition in definitions.values())
    undescribed = {name for one in definitions.values() for name, row in one["properties"].items() if len(row) == 1}
    assert undescribed <= {"run_id", "seconds", "exit_code", *definitions["Totals"]["properties"]} | {"totals"}
