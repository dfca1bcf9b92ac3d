from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.chain.__main__ import main
from orchestration.chain.flow.chain import from_json
from orchestration.chain.flow.names import MAX_NAME_LENGTH, NAME
from orchestration.chain.flow.placeholders import OF_A_RUN
from orchestration.chain.reading import KEYS, REGION_PATTERN, STEP_KEYS, TEMPLATE_PATTERN, read_chain
from sandbox.discovery import read_body

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples/chains/nightly.yaml"
SCHEMA = json.loads((ROOT / "orchestration/chain/chain.schema.json").read_text())

LAUNCH = """
job_name: orders
project: my-project
region: us-central1
template: gs://my-templates/sync-to-bigquery.json
max_run_seconds: 7200
environment: {tempLocation: gs://b/tmp, serviceAccountEmail: s@p.iam.gserviceaccount.com, maxWorkers: 3,
              ipConfiguration: WORKER_IP_PUBLIC}
parameters:
  data_source: bigquery
  source_bigquery_project: my-project
  source_bigquery_query: SELECT 1 AS x
  destination_bigquery_project: my-project
  destination_bigquery_dataset: d
  destination_bigquery_table: t
"""


def write(folder: Path, text: str) -> Path:
    (folder / "orders.yaml").write_text(LAUNCH)
    path = folder / "chain.yaml"
    path.write_text(text)
    return path


HEAD = "name: nightly\nproject: my-project\nregion: us-central1\nsteps:\n"


def problems(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["check", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix(f"error: {path}: ") for line in lines]


def test_example_is_accepted() -> None:
    chain = read_chain(EXAMPLE)
    assert chain.first == ["load-users", "load-orders"]
    assert chain.before("daily-reports") == chain.failures_before("note-failure") == chain.first
    for step in chain.steps.values():
        body = {"launchParameter": {**step.launch, "jobName": "x"}}
        assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", body)[1] == []


def test_rendered_chain_is_the_chain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(EXAMPLE)]) == 0
    assert from_json(capsys.readouterr().out) == from_json(read_chain(EXAMPLE).to_json())
    rendered, chain = from_json(read_chain(EXAMPLE).to_json()), read_chain(EXAMPLE)
    assert (rendered.steps.keys(), rendered.first) == (chain.steps.keys(), chain.first)


def test_step_changes_what_its_launch_file_has(tmp_path: Path) -> None:
    step = "a: {launch: orders.yaml, parameters: {destination_bigquery_table: 't_${date}', batch_size: 5}, "
    path = write(tmp_path, f"{HEAD}  {step}environment: {{maxWorkers: 1}}}}")
    launch = read_chain(path).steps["a"].launch
    assert launch["containerSpecGcsPath"] == "gs://my-templates/sync-to-bigquery.json"
    assert "jobName" not in launch
    assert launch["parameters"]["destination_bigquery_table"] == "t_${date}"
    assert (launch["parameters"]["batch_size"], launch["parameters"]["source_bigquery_query"]) == ("5", "SELECT 1 AS x")
    assert launch["environment"]["maxWorkers"] == 1
    assert launch["environment"]["additionalExperiments"] == ["max_workflow_runtime_walltime_seconds=7200"]


def test_ten_mistakes_are_ten_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path,
        """
name: Nightly
projekt: my-project
project: my-project
region: us-central
time_zone: Berlin
steps:
  extract: {launch: orders.yaml, next: [lod, note]}
  load: {launch: orders.yaml, parameters: {batch_sise: 5}}
  Join: {template: gs://b/t.json, parameters: {x: '${today}'}}
  other: {launch: orders.yaml, template: gs://b/t.json}
  note: {template: b/t.json}
  both: {launch: missing.yaml, on_failure: note}
  late: {template: gs://b/t.json, parameters: {x: '${steps.load.output_table}', y: [1]}}
""",
    )
    assert problems(path, capsys) == [
        "projekt is not known; did you mean project?",
        "name is 'Nightly': give lower-case letters, digits and single hyphens, such as nightly-orders",
        "region is 'us-central': give a region such as us-central1",
        "time_zone is 'Berlin': give a region's name such as Europe/Berlin, or UTC",
        "steps.extract.launch: orders.yaml is for the region us-central1, the chain for us-central: use one",
        "steps.load.launch: orders.yaml: batch_sise is not a parameter of this template; did you mean batch_size?",
        (
            "steps.Join is no name for a step: give at most 40 lower-case letters, digits and single hyphens, such as "
            "load-orders"
        ),
        "steps.other needs either launch, a launch file, or template, the file of a Flex Template in Cloud Storage",
        "steps.note.template is 'b/t.json': give gs://BUCKET/OBJECT",
        "steps.both.launch: missing.yaml cannot be read (FileNotFoundError)",
        "steps.late.parameters.y is not a text: put its value in quotes",
        "steps.extract.next: there is no step lod; did you mean load?",
        "steps.note follows the success of extract and the failure of both: make it two steps",
        "steps.Join: ${today} is not known: use run, date, previous_date, time or steps.STEP.OPTION",
        "steps.late: ${steps.load.output_table}: load has not ended by then",
    ]


A = "template: gs://b/t.json"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[]", "this is not a chain file: it has to be a mapping with", id="no mapping"),
        pytest.param("a: [", "YAML", id="no YAML"),
        pytest.param(HEAD, "steps is missing: give a mapping of names to steps", id="no steps"),
        pytest.param(f"{HEAD}  a:", "steps.a is not a mapping with launch, template", id="empty step"),
        pytest.param(f"{HEAD}  a: {{{A}, nxt: b}}", "steps.a.nxt is not known; did you mean next?", id="unknown key"),
        pytest.param(f"{HEAD}  a: {{{A}, next: a}}", "steps go in a circle: a -> a", id="itself"),
        pytest.param(
            f"{HEAD}  a: {{{A}, next: b}}\n  b: {{{A}, on_failure: c}}\n  c: {{{A}, next: b}}",
            "steps go in a circle: b -> c -> b",
            id="circle",
        ),
        pytest.param(
            f"{HEAD}  a: {{{A}, next: b, on_failure: b}}\n  b: {{{A}}}",
            "steps.a has b in next and in on_failure: it would start in any case; use one",
            id="in any case",
        ),
        pytest.param(f"{HEAD}  a: {{{A}, next: 3}}", "steps.a.next is 3: give the name of a step", id="no name"),
        pytest.param(f"{HEAD}  a: {{{A}, next: [b, b]}}\n  b: {{{A}}}", "steps.a.next names a step twice", id="twice"),
        pytest.param(f"{HEAD}  a: {{{A}, parameters: [x]}}", "steps.a.parameters is not a mapping", id="parameters"),
        pytest.param(
            f"{HEAD}  a: {{{A}, next: b}}\n  b: {{{A}, parameters: {{x: '${{steps.a.output_tabel}}'}}}}",
            "${steps.a.output_tabel} is no output; did you mean output_table?",
            id="output",
        ),
        pytest.param(f"{HEAD}  a-{'b' * 40}: {{{A}}}", "is no name for a step: give at most 40", id="long name"),
        pytest.param(f"{HEAD}  a--b: {{{A}}}", "is no name for a step", id="separator"),
    ],
)
def test_mistake(text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = problems(write(tmp_path, text), capsys)
    assert problem in found


def test_schema_says_what_the_reader_does() -> None:
    step = SCHEMA["properties"]["steps"]["additionalProperties"]
    assert (tuple(SCHEMA["properties"]), tuple(step["properties"])) == (KEYS, STEP_KEYS)
    assert SCHEMA["definitions"]["name"] == {
        "type": "string",
        "pattern": f"^{NAME.pattern}$",
        "maxLength": MAX_NAME_LENGTH,
    }
    assert SCHEMA["properties"]["region"]["pattern"] == f"^{REGION_PATTERN}$"
    assert step["properties"]["template"]["pattern"] == f"^{TEMPLATE_PATTERN}$"
    named = re.findall(r"\$\{(\w+)\}", step["properties"]["parameters"]["description"])
    assert tuple(named) == ("run", "date", "previous_date", "time") == OF_A_RUN


def test_graph(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(EXAMPLE)]) == 0
    assert capsys.readouterr().out == (
        'flowchart TD\n    s0["load-users"]\n    s1["load-orders"]\n    s2["daily-reports"]\n    s3["note-failure"]\n'
        "    s0 --> s2\n    s1 --> s2\n    s0 -. on failure .-> s3\n    s1 -. on failure .-> s3\n"
    )


def test_function_needs_nothing_of_the_repository() -> None:
    """Its folder is deployed alone: what it imports is in its own requirements."""
    program = "import sys; sys.path.insert(0, 'orchestration/chain'); import flow.conductor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith(("sync_pipeline", "orchestration", "apache"))]


def test_example_has_what_the_schema_requires() -> None:
    content: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    assert set(SCHEMA["required"]) <= content.keys() <= set(SCHEMA["properties"])
