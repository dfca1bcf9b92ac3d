"""Composer reads launch files as `sync_pipeline.launching` does."""

from __future__ import annotations

import ast
import datetime
from pathlib import Path

import pytest

from orchestration.composer.sync_composer.launch_files import Launch, read_launch_file
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.launching.requests import launch_request

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "\ntemplate:" in path.read_text())
LABEL = {"airflow_run": "1"}
NEEDED = ("job_name", "project", "region", "template")
# What the examples leave out.
OTHERS = """
job_name: a
project: my-project
region: us-central1
template: gs://t/t.json
max_run_seconds: 600
launch_options: {ft_launch_timeout_secs: 1800}
environment:
  tempLocation: gs://b/t
  numWorkers: 1
  additionalUserLabels: {team: sales}
  additionalExperiments: [a]
parameters:
  data_source: bigquery
  source_bigquery_project: my-project
  source_bigquery_query: SELECT 1 AS x
  clustering_fields: [x]
  transformation_config: {field_mappings: {x: y}}
  create_disposition:
  batch_size: 10
  enable_auto_schema: true
  destination_bigquery_project: my-project
  destination_bigquery_dataset: a
  destination_bigquery_table: b
"""


def read(text: str, **overrides: object) -> Launch:
    launch, problems = read_launch_file(text, overrides)
    assert (launch is not None, problems) == (True, [])
    assert launch is not None
    return launch


@pytest.mark.parametrize(
    "text", [*(pytest.param(path.read_text(), id=path.stem) for path in EXAMPLES), pytest.param(OTHERS, id="others")]
)
def test_the_request_is_that_of_the_launch_file(text: str) -> None:
    expected = launch_request(read_launch(text))
    labels = expected["launchParameter"]["environment"].get("additionalUserLabels", {})
    expected["launchParameter"]["environment"]["additionalUserLabels"] = {**labels, **LABEL}
    assert read(text).request(LABEL) == expected


def test_overrides() -> None:
    changed = read(
        OTHERS,
        template="gs://t/2.json",
        environment={"numWorkers": None, "maxWorkers": 3},
        parameters={"batch_size": None, "clustering_fields": ["x", "y"]},
    )
    assert changed.template == "gs://t/2.json"
    assert changed.environment["maxWorkers"] == 3
    assert "numWorkers" not in changed.environment
    assert changed.parameters["clustering_fields"] == "x,y"
    assert "batch_size" not in changed.parameters


def test_a_launch_survives_json() -> None:
    launch = read(OTHERS)
    assert Launch.from_dict(launch.as_dict()) == launch


def test_a_slot_has_a_job_of_its_own() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    start, end = datetime.datetime(2026, 11, 2, 1, tzinfo=zone), datetime.datetime(2026, 11, 3, 1, tzinfo=zone)
    launch = read(OTHERS).with_parameters({"enable_smart_sync": True}).for_slot(start, end)
    assert launch.job_name == "a-20261102t000000"
    assert launch.parameters["interval_start"] == "2026-11-02T00:00:00Z"
    assert launch.parameters["interval_end"] == "2026-11-03T00:00:00Z"
    with pytest.raises(ValueError, match="interval_end is not after it"):
        launch.for_slot(end, start)


@pytest.mark.parametrize("version", ["1.4.0", "2026-11-30", "V_2"])
def test_a_candidate_has_a_name_that_dataflow_takes(version: str) -> None:
    assert read(OTHERS).named(version).job_name == f"a-{version.lower().replace('.', '-').replace('_', '-')}"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "[]", ["this is not a launch file: it has to be a mapping with job_name, project, region, template"]
        ),
        pytest.param("project: p", ["job_name is missing", "region is missing", "template is missing"]),
        pytest.param(
            OTHERS.replace("{ft_launch_timeout_secs: 1800}", "a"),
            ["launch_options is not a mapping of names to values"],
        ),
        pytest.param(
            OTHERS.replace("template: gs://t/t.json", "cloud_run: {image: a}"),
            ["cloud_run is there, and manifests launch jobs of Dataflow: give template instead"],
            id="of Cloud Run",
        ),
    ],
)
def test_what_prevents_a_launch(text: str, problems: list[str]) -> None:
    assert read_launch_file(text, {}) == (None, problems)


def test_composers_python_reads_the_package() -> None:
    for path in (ROOT / "orchestration/composer").rglob("sync_*.py"):
        ast.parse(path.read_text(), feature_version=(3, 11))
    for path in (ROOT / "orchestration/composer/sync_composer").glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 11))
        imported = {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0
        }
        assert not [name for name in imported if name.startswith(("sync_pipeline", "orchestration"))]
