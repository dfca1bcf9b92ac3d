"""Generates `metadata.json`, the JSON Schemas, `docs/reference/parameters.md`, and the names of Beam's options.

python -m sync_pipeline.parameters.documents            writes all of them
python -m sync_pipeline.parameters.documents --check    exits with 1 and prints one line per outdated file
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sync_pipeline.output.run_output import document_schema
from sync_pipeline.parameters.beam_arguments import BeamParser
from sync_pipeline.parameters.declaration import declarations
from sync_pipeline.parameters.identifiers import COLUMN_PATTERN, DATASET_PATTERN, KMS_KEY_PATTERN, PROJECT_PATTERN
from sync_pipeline.parameters.outputs import OUTPUTS, Output
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType
from sync_pipeline.parameters.table import HEADINGS, PARAMETERS
from sync_pipeline.parameters.tables_file_schema import tables_file_schema
from sync_pipeline.parameters.timestamps import TIMESTAMP_PATTERN

ROOT = Path(__file__).parents[2]
METADATA, SCHEMA, OUTPUT_SCHEMA = "metadata.json", "tables-file.schema.json", "run-output.schema.json"
REFERENCE = "docs/reference/parameters.md"
BEAM_NAMES = "sync_pipeline/parameters/beam_names.py"
BEGIN, END = "<!-- parameters:begin -->", "<!-- parameters:end -->"

# https://cloud.google.com/dataflow/docs/reference/rest/v1b3/TemplateMetadata#ParameterType
_PARAM_TYPES: Mapping[ParameterType, str] = {
    ParameterType.BOOLEAN: "BOOLEAN",
    ParameterType.INTEGER: "NUMBER",
    ParameterType.CHOICE: "ENUM",
}

# POSIX tools, RE2 and browsers may read the patterns. In bracket expressions they treat brackets, backslashes and `^`
# differently; a table's name cannot have these. The launched template checks these and non-ASCII characters.
_TABLE_CHARACTER = "[^!\"#$%&'()+*,./:;<=>?@`{|}~]"
_TABLE_PATTERN = f"{_TABLE_CHARACTER}+"
_DESTINATION_PATTERN = f"({_TABLE_CHARACTER}|[{{]schema[}}]|[{{]table[}}])+"

# Patterns that Dataflow may check before a job starts, in POSIX extended syntax. A pattern rejects only texts that the
# template rejects too. The launched template checks everything that a pattern cannot express.
_PATTERNS: Mapping[ParameterType, str] = {
    ParameterType.BOOLEAN: "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]",
    ParameterType.INTEGER: "[0-9]+",
    ParameterType.PROJECT: PROJECT_PATTERN,
    ParameterType.DATASET: DATASET_PATTERN,
    ParameterType.TABLE: _DESTINATION_PATTERN,
    ParameterType.COLUMN: COLUMN_PATTERN,
    ParameterType.COLUMNS: f" *{COLUMN_PATTERN}( *, *{COLUMN_PATTERN})* *",
    ParameterType.KMS_KEY: KMS_KEY_PATTERN,
    ParameterType.TIMESTAMP: TIMESTAMP_PATTERN,
    ParameterType.TABLE_ID: f"({PROJECT_PATTERN})[.]({DATASET_PATTERN})[.]({_TABLE_PATTERN})",
}

# Choices with a label in consoles that differs from the parameter's value.
_CHOICE_LABELS: Mapping[str, str] = {name: source.label for name, source in declarations().items()}


def metadata() -> str:
    """Return the text of `metadata.json` for `gcloud dataflow flex-template build --metadata-file`."""
    document = {
        "name": "Sync to BigQuery",
        "description": "Syncs tables of PostgreSQL, MongoDB or BigQuery into BigQuery tables.",
        "parameters": [
            *(_metadata_parameter(parameter) for parameter in PARAMETERS),
            *(_metadata_output(output) for output in OUTPUTS),
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def reference_tables() -> str:
    """Return the tables of all parameters, a heading and a table for each group."""
    return "\n".join(_table(heading) for heading in HEADINGS)


def with_tables(page: str) -> str:
    """Return the page of the parameters with the tables between their markers. Appends them if they are missing."""
    section = f"{BEGIN}\n\n{reference_tables()}\n{END}"
    if BEGIN not in page:
        return f"{page or '# Parameters\n'}\n{section}\n"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: section, page, flags=re.DOTALL)


def beam_names() -> str:
    """Return the module of the names of Beam's options."""
    parser = BeamParser()
    checked = parser.names - parser.plain_names
    return "\n".join(
        (
            '"""The names of Beam\'s options; `documents.py` writes this module."""',
            "",
            "# Options with one value, which may be any text.",
            *_set_of("PLAIN_OPTIONS", parser.plain_names),
            "",
            "# Options that Beam's parser has to check.",
            *_set_of("CHECKED_OPTIONS", checked),
            "",
        )
    )


def _set_of(name: str, items: Iterable[str]) -> list[str]:
    return [f"{name} = frozenset(", "    {", *(f'        "{item}",' for item in sorted(items)), "    }", ")"]


def main(argv: Sequence[str], root: Path = ROOT) -> int:
    """Write the files, or compare them with `--check`, and return the exit code."""
    stale = [(path, text) for path, text in _expected(root) if _text(path) != text]
    if "--check" in argv:
        for path, _ in stale:
            print(f"{path.relative_to(root)} is not up to date: run python -m sync_pipeline.parameters.documents")
        return 1 if stale else 0
    for path, text in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _expected(root: Path) -> Iterator[tuple[Path, str]]:
    yield root / METADATA, metadata()
    for name, schema in ((SCHEMA, tables_file_schema()), (OUTPUT_SCHEMA, document_schema())):
        yield root / name, json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    yield root / BEAM_NAMES, beam_names()
    yield root / REFERENCE, with_tables(_text(root / REFERENCE))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _metadata_parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "label": parameter.label,
        "helpText": _help_text(parameter),
        # Metadata supports only always and never; the launched template checks conditions.
        "isOptional": ALWAYS not in parameter.required,
        "paramType": _PARAM_TYPES.get(parameter.type, "TEXT"),
        # Dataflow keeps it and gives it no meaning; launchers read it.
        "customMetadata": {"direction": "input"},
    }
    pattern = _pattern(parameter)
    if pattern is not None:
        # Consoles may send an empty text for an empty field.
        described["regexes"] = [f"^({pattern})$" if ALWAYS in parameter.required else f"^({pattern})?$"]
    if parameter.choices:
        described["enumOptions"] = [
            {"value": choice, "label": _CHOICE_LABELS.get(choice, choice)} for choice in parameter.choices
        ]
    if parameter.default is not None and not parameter.asks:
        described["defaultValue"] = parameter.default
    if not parameter.sources:
        described["groupName"] = str(parameter.group)
    else:
        # A parameter has a group only when it has no parent.
        described["parentName"] = "data_source"
        described["parentTriggerValues"] = list(parameter.sources)
    return described


def _metadata_output(output: Output) -> dict[str, Any]:
    return {
        "name": output.name,
        "label": output.label,
        "helpText": f"{output.help} An output of the run: do not give it. Example: {output.example}",
        "isOptional": True,
        "hiddenUi": True,
        "paramType": "TEXT",
        "customMetadata": {"direction": "output"},
    }


def _pattern(parameter: Parameter) -> str | None:
    if parameter.type is ParameterType.CHOICE:
        return "|".join(parameter.choices)
    return _PATTERNS.get(parameter.type)


def _help_text(parameter: Parameter) -> str:
    text = parameter.help
    if parameter.required and ALWAYS not in parameter.required:
        text += f" Required {parameter.required_text}."
    return f"{text} Example: {parameter.example}"


def _table(heading: str) -> str:
    lines = [
        f"## {heading}\n",
        "| Parameter | Type | Required | Default | By table | Description | Example |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for parameter in PARAMETERS:
        if parameter.group == heading:
            cells = (
                f"`{parameter.name}`",
                _type_cell(parameter),
                parameter.required_text[0].upper() + parameter.required_text[1:],
                f"`{parameter.default}`" if parameter.default is not None else "",
                "Yes" if parameter.by_table else "",
                parameter.help,
                _code(parameter.example),
            )
            row = " | ".join(cell.replace("|", "\\|") for cell in cells)
            lines.append(f"| {row} |")
    return "\n".join(lines) + "\n"


def _type_cell(parameter: Parameter) -> str:
    if parameter.type is ParameterType.CHOICE:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.type is ParameterType.INTEGER:
        return f"{parameter.type}, {parameter.minimum} to {parameter.maximum}"
    return f"{parameter.type}{', secret' if parameter.secret else ''}"


def _code(text: str) -> str:
    # Code that contains a backtick is fenced by two.
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
