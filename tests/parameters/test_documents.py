from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sync_pipeline.parameters.documents import BEGIN, END, ROOT, main, metadata, reference_tables, with_tables
from sync_pipeline.parameters.outputs import OUTPUT_NAMES, OUTPUTS
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType
from sync_pipeline.parameters.parsing import read_values
from sync_pipeline.parameters.table import HEADINGS, PARAMETERS

DOCUMENT = json.loads(metadata())
BY_NAME = {described["name"]: described for described in DOCUMENT["parameters"]}

# Texts of every type, right and wrong; each parameter is tried with all of them.
TEXTS = (
    *(parameter.example for parameter in PARAMETERS),
    *(choice for parameter in PARAMETERS for choice in parameter.choices),
    *("", "0", "1", "5432", "65536", "-1", "1.5", "true", "FALSE", "True", "yes", "id", "id,status", "id, status , b"),
    *("a,b,c,d", "a,b,c,d,e", "a,,b", "_x", "1x", "x y", "a.b", "a:b", "a$1", "a*", "größe", "example.com:my-project"),
    *("my-project", "my-project-", "My-Project", "write_append", "postgres", "{}", "c" * 300, "d" * 1024),
    *("{schema}_{table}", "{table}", "{tabel}", "{schema", "x{}"),
)


@pytest.mark.parametrize(
    "name", ["metadata.json", "tables-file.schema.json", "run-output.schema.json", "docs/reference/parameters.md"]
)
def test_generated_file_is_up_to_date(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) in (0, 1)
    assert name not in capsys.readouterr().out


def test_metadata_has_every_parameter_in_order() -> None:
    names = [parameter.name for parameter in PARAMETERS]
    assert list(BY_NAME) == names + [output.name for output in OUTPUTS]


def test_metadata_has_directions() -> None:
    directions = {name: described["customMetadata"]["direction"] for name, described in BY_NAME.items()}
    assert directions == {
        **{parameter.name: "input" for parameter in PARAMETERS},
        **{output.name: "output" for output in OUTPUTS},
    }
    # What nobody gives is not asked for.
    assert {name for name, described in BY_NAME.items() if described.get("hiddenUi")} == OUTPUT_NAMES


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_metadata_equals_the_table(parameter: Parameter) -> None:
    described = BY_NAME[parameter.name]
    assert described["label"] == parameter.label
    assert described["helpText"].startswith(parameter.help)
    assert described["helpText"].endswith(f" Example: {parameter.example}")
    assert described["isOptional"] is (ALWAYS not in parameter.required)
    assert described.get("defaultValue") == (None if parameter.asks else parameter.default)
    assert [option["value"] for option in described.get("enumOptions", [])] == list(parameter.choices)
    assert described["paramType"] == {
        ParameterType.BOOLEAN: "BOOLEAN",
        ParameterType.INTEGER: "NUMBER",
        ParameterType.CHOICE: "ENUM",
    }.get(parameter.type, "TEXT")
    if not parameter.sources:
        assert described["groupName"] == parameter.group
        assert "parentName" not in described
    else:
        assert (described["parentName"], described["parentTriggerValues"]) == ("data_source", list(parameter.sources))
        assert "groupName" not in described


def test_metadata_has_the_keys_dataflow_knows() -> None:
    assert DOCUMENT.keys() == {"name", "description", "parameters"}
    known = {"name", "label", "helpText", "isOptional", "regexes", "paramType", "defaultValue", "enumOptions"}
    known |= {"groupName", "parentName", "parentTriggerValues", "customMetadata", "hiddenUi"}
    assert set().union(*BY_NAME.values()) <= known


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_conditions_are_in_the_help(parameter: Parameter) -> None:
    conditional = bool(parameter.required) and ALWAYS not in parameter.required
    assert (f" Required {parameter.required_text}." in BY_NAME[parameter.name]["helpText"]) == conditional


def egrep(pattern: str, texts: list[str]) -> set[str]:
    done = subprocess.run(
        ["grep", "-E", "--", pattern],
        input="".join(f"{text}\n" for text in texts),
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert done.returncode in (0, 1)
    return set(done.stdout.split("\n")[:-1])


def accepted(parameter: Parameter, text: str) -> bool:
    if not text:
        return ALWAYS not in parameter.required
    return not read_values({parameter.name: text})[1]


WITH_PATTERN = [parameter for parameter in PARAMETERS if "regexes" in BY_NAME[parameter.name]]


@pytest.mark.parametrize("parameter", WITH_PATTERN, ids=lambda parameter: parameter.name)
def test_pattern_refuses_nothing_that_we_accept(parameter: Parameter) -> None:
    texts = list(dict.fromkeys(TEXTS))
    (pattern,) = BY_NAME[parameter.name]["regexes"]
    matching = egrep(pattern, texts)
    assert [text for text in texts if accepted(parameter, text) and text not in matching] == []
    assert matching == {text for text in texts if re.fullmatch(pattern, text)}


@pytest.mark.parametrize(
    "parameter",
    [p for p in WITH_PATTERN if p.type in (ParameterType.BOOLEAN, ParameterType.CHOICE, ParameterType.PROJECT)],
    ids=lambda parameter: parameter.name,
)
def test_pattern_says_all(parameter: Parameter) -> None:
    texts = list(dict.fromkeys(TEXTS))
    matching = egrep(BY_NAME[parameter.name]["regexes"][0], texts)
    assert matching == {text for text in texts if accepted(parameter, text)}


@pytest.mark.parametrize("parameter", WITH_PATTERN, ids=lambda parameter: parameter.name)
def test_pattern_is_posix_and_within_the_limits_of_re2(parameter: Parameter) -> None:
    (pattern,) = BY_NAME[parameter.name]["regexes"]
    assert not re.search(r"\\|\(\?|[*+?}][+?]", pattern)
    assert all(int(number) <= 255 for number in re.findall(r"\{(?:\d+,)?(\d+)\}", pattern))


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_accepts_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text(metadata())
    command = "gcloud dataflow flex-template build gs://b/t.json --image gcr.io/x/y --sdk-language PYTHON --print-only"
    done = subprocess.run(
        [*command.split(), "--format=json", f"--metadata-file={tmp_path / 'metadata.json'}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": "demo",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": "http://127.0.0.1:9/",
        },
    )
    assert done.returncode == 0, done.stderr
    # gcloud prints the template's JSON as one JSON string.
    assert json.loads(json.loads(done.stdout))["metadata"] == DOCUMENT


def test_the_reference_has_a_row_for_every_parameter() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", reference_tables(), flags=re.MULTILINE)
    assert rows == [parameter.name for heading in HEADINGS for parameter in PARAMETERS if parameter.group == heading]


def test_reference_row() -> None:
    assert (
        "| `fallback_days` | Integer, 1 to 36500 | No | `1` | Yes | Days that a first run reads if "
        "sync_all_on_empty_table is false. | `7` |\n"
    ) in reference_tables()


@pytest.mark.parametrize("line", reference_tables().splitlines())
def test_reference_rows_have_seven_cells(line: str) -> None:
    if line.startswith("|"):
        assert len(re.findall(r"(?<!\\)\|", line)) == 8


def test_tables_are_appended_to_a_page_without_them() -> None:
    assert with_tables("# Title\n").startswith(f"# Title\n\n{BEGIN}\n")
    assert with_tables("").startswith(f"# Parameters\n\n{BEGIN}\n")


def test_tables_are_replaced_and_the_rest_kept() -> None:
    page = with_tables(f"# Title\n\n{BEGIN}\nold \\1 text\n{END}\n\n## After\n")
    assert page == f"# Title\n\n{BEGIN}\n\n{reference_tables()}\n{END}\n\n## After\n"
    assert with_tables(page) == page


def test_files_are_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], root=tmp_path) == 1
    assert capsys.readouterr().out == (
        "metadata.json is not up to date: run python -m sync_pipeline.parameters.documents\n"
        "tables-file.schema.json is not up to date: run python -m sync_pipeline.parameters.documents\n"
        "run-output.schema.json is not up to date: run python -m sync_pipeline.parameters.documents\n"
        "sync_pipeline/parameters/beam_names.py is not up to date: run python -m sync_pipeline.parameters.documents\n"
        "docs/reference/parameters.md is not up to date: run python -m sync_pipeline.parameters.documents\n"
    )
    assert main([], root=tmp_path) == 0
    assert main(["--check"], root=tmp_path) == 0
    assert (tmp_path / "metadata.json").read_text() == (ROOT / "metadata.json").read_text()
    (tmp_path / "metadata.json").write_text("{}")
    assert main(["--check"], root=tmp_path) == 1
    assert (
        capsys.readouterr().out == "metadata.json is not up to date: run python -m sync_pipeline.parameters.documents\n"
    )
