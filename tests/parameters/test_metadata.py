"""What consoles and other launchers are told agrees with Dataflow's schema and with our own validation and defaults."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.discovery import read_body, schemas
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.documents import metadata
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType
from sync_pipeline.parameters.parsing import read_values
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS

DOCUMENT = json.loads(metadata())
DESCRIBED = {described["name"]: described for described in DOCUMENT["parameters"]}
WITH_PATTERN = [parameter for parameter in PARAMETERS if "regexes" in DESCRIBED[parameter.name]]

# Why we refuse what a pattern lets through, by type (a NUL always): no rule that says which characters may follow each
# other where the pattern can say it. The last two of a table's are characters on which the syntaxes of patterns differ.
BEYOND_PATTERNS = {
    ParameterType.INTEGER: ("write a whole number from",),
    ParameterType.TIMESTAMP: ("there is no such date or time",),
    ParameterType.DATASET: ("a dataset name has letters, digits and underscores, at most 1,024",),
    ParameterType.TABLE: ("a table name has at most 1,024 bytes", "a table name has letters"),
    ParameterType.COLUMN: ("a BigQuery column name has at most 300 characters", "BigQuery reserves column names"),
    ParameterType.COLUMNS: (
        "a BigQuery column name has at most 300 characters",
        "BigQuery reserves column names",
        "a column is named twice",
        "BigQuery allows at most",
    ),
    ParameterType.TABLE_ID: (
        "a dataset name has letters, digits and underscores, at most 1,024",
        "a table name has at most 1,024 bytes",
        "a table name has letters",
    ),
}

# Characters that mean something to some parameter, to a pattern or to a shell, and some of everything else.
SIGNS = "aZ_09-.,:$*/[]\\^(){}|+?'\" \t\n@#éßΩ٣字🙂"
TEXTS = st.text(st.sampled_from(SIGNS) | st.characters(exclude_categories=["Cs"]))


def pattern_of(parameter: Parameter) -> str:
    (pattern,) = DESCRIBED[parameter.name]["regexes"]
    assert isinstance(pattern, str)
    return pattern


def problems_of(parameter: Parameter, text: str) -> list[str]:
    return read_values({parameter.name: text})[1]


def test_document_is_one_that_dataflow_takes() -> None:
    assert read_body("dataflow.v1b3", "TemplateMetadata", DOCUMENT) == (DOCUMENT, [])


@pytest.mark.parametrize("schema", ["TemplateMetadata", "ParameterMetadata", "ParameterMetadataEnumOption"])
def test_what_dataflow_requires_is_there(schema: str) -> None:
    required = {
        name
        for name, described in schemas("dataflow.v1b3")[schema]["properties"].items()
        if described["description"].startswith("Required.")
    }
    options = [option for described in DESCRIBED.values() for option in described.get("enumOptions", [])]
    parts = {"TemplateMetadata": [DOCUMENT], "ParameterMetadata": list(DESCRIBED.values())}.get(schema, options)
    assert required
    assert all(required <= part.keys() and all(part[name] for name in required) for part in parts)


def let_through(parameter: Parameter, text: str) -> bool:
    """Whether a console sends the text, if we accept it. Spaces only are as good as nothing, and none sends them."""
    return bool(re.fullmatch(pattern_of(parameter), text)) or not text.strip() or bool(problems_of(parameter, text))


@pytest.mark.parametrize("parameter", WITH_PATTERN, ids=lambda parameter: parameter.name)
def test_pattern_lets_through_what_we_accept(parameter: Parameter) -> None:
    right = [parameter.example, *parameter.choices, *([parameter.default] if parameter.default else [])]
    nearly = [text[:place] + sign + text[place:] for text in right for place in range(len(text) + 1) for sign in SIGNS]
    assert [text for text in (*right, *nearly) if not let_through(parameter, text)] == []


@pytest.mark.parametrize("parameter", WITH_PATTERN, ids=lambda parameter: parameter.name)
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_pattern_lets_through_any_text_that_we_accept(parameter: Parameter, text: str) -> None:
    assert let_through(parameter, text)


@pytest.mark.parametrize("parameter", WITH_PATTERN, ids=lambda parameter: parameter.name)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_we_accept_what_the_pattern_lets_through(parameter: Parameter, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern_of(parameter), fullmatch=True))
    known = ("it has a NUL", *BEYOND_PATTERNS.get(parameter.type, ()))
    for problem in problems_of(parameter, text):
        assert any(reason in problem for reason in known), problem


def test_egrep_reads_the_patterns_as_we_do() -> None:
    texts = [text for parameter in WITH_PATTERN for text in (parameter.example, *parameter.choices)]
    texts += [f"{text}{sign}" for text in ("a", "my-project.d.t") for sign in map(chr, range(32, 127))]
    for pattern in {pattern_of(parameter) for parameter in WITH_PATTERN}:
        done = subprocess.run(
            ["grep", "-E", "--", pattern],
            input="".join(f"{text}\n" for text in texts),
            capture_output=True,
            text=True,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            check=False,
        )
        assert done.stdout.splitlines() == [text for text in texts if re.fullmatch(pattern, text)]


def test_fields_of_a_source_are_shown_for_that_source_only() -> None:
    shown = {
        source: [name for name, described in DESCRIBED.items() if described.get("parentTriggerValues") == [source]]
        for source in BY_NAME["data_source"].choices
    }
    assert shown == {
        source: [parameter.name for parameter in PARAMETERS if parameter.sources == (source,)] for source in shown
    }
    assert all(described.get("parentName", "data_source") == "data_source" for described in DESCRIBED.values())
    assert "mongodb_collection" in shown["mongodb"]


def test_choices_have_names_for_people() -> None:
    assert DESCRIBED["data_source"]["enumOptions"] == [
        {"value": "postgresql", "label": "PostgreSQL"},
        {"value": "mongodb", "label": "MongoDB"},
        {"value": "bigquery", "label": "BigQuery"},
    ]


@pytest.mark.parametrize("described", DESCRIBED.values(), ids=DESCRIBED)
def test_help_is_for_people(described: dict[str, str]) -> None:
    assert re.fullmatch(r"[A-Z].*\. Example: .+", described["helpText"])
    assert described["label"][0].isupper()
    assert "_" not in described["label"]


NEEDED = {
    "postgresql": {
        "postgresql_host": "h",
        "postgresql_database": "d",
        "postgresql_username": "u",
        "postgresql_password": "projects/p/secrets/s/versions/1",
        "postgresql_query": "SELECT 1",
    },
    "mongodb": {"mongodb_host": "h", "mongodb_database": "d", "mongodb_collection": "c"},
    "bigquery": {"source_bigquery_project": "my-project", "source_bigquery_query": "SELECT 1"},
}


@pytest.mark.parametrize("source", NEEDED)
def test_launcher_that_imports_the_template_can_run_it(source: str) -> None:
    # It sends every parameter it has found here: what a person filled in, else the default, else an empty text.
    filled_in = {
        "data_source": source,
        "destination_bigquery_project": "my-project",
        "destination_bigquery_dataset": "d",
        "destination_bigquery_table": "t",
        **NEEDED[source],
    }
    inputs = {name for name, described in DESCRIBED.items() if described["customMetadata"]["direction"] == "input"}
    sent = {name: filled_in.get(name, DESCRIBED[name].get("defaultValue", "")) for name in inputs}
    assert {name for name, described in DESCRIBED.items() if not described["isOptional"]} <= filled_in.keys()
    assert all(re.fullmatch(pattern_of(parameter), sent[parameter.name]) for parameter in WITH_PATTERN)
    assert SyncConfig.from_parameters(sent) == SyncConfig.from_parameters(filled_in)
    assert SyncConfig.from_parameters(sent).warnings == ()


def test_only_what_is_always_needed_is_required() -> None:
    assert [name for name, described in DESCRIBED.items() if not described["isOptional"]] == [
        parameter.name for parameter in PARAMETERS if ALWAYS in parameter.required
    ]
