"""What the host of the repository reads: its workflow, its forms and the badges."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

import sync_pipeline

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"


def loaded(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load(re.sub(r"^on:", '"on":', path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_workflow_runs_what_is_run_anywhere_else() -> None:
    workflow = loaded(GITHUB / "workflows/check.yml")
    commands = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert commands == [".ci/run", "make dist"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert re.search(r"^dist:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert workflow["permissions"] == {"contents": "read"}
    assert (ROOT / ".python-version").exists()


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_the_forms_are_complete(name: str) -> None:
    form = loaded(GITHUB / f"ISSUE_TEMPLATE/{name}.yml")
    assert form.keys() >= {"name", "description", "body"}
    kinds = {"markdown", "input", "textarea", "dropdown"}
    for element in form["body"]:
        assert element["type"] in kinds
        assert ("id" in element) == (element["type"] != "markdown")
        assert element["attributes"].keys() & {"label", "value"}


def test_the_badges_are_true() -> None:
    badges = dict(re.findall(r"img\.shields\.io/badge/(\w+)-([^-)]+)-", (ROOT / "README.md").read_text()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (beam,) = [text for text in project["dependencies"] if text.startswith("apache-beam")]
    assert badges == {
        "Python": project["requires-python"].removeprefix(">="),
        "Apache_Beam": re.search(r">=([\d.]+)", beam)[1],  # type: ignore[index]
        "license": project["license"].replace("-", "_"),
    }


def test_the_version_has_one_place() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "sync_pipeline.__version__"}
    changes = re.search(r"^## \[([\d.]+)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes is not None
    assert changes[1] == sync_pipeline.__version__
    assert date.fromisoformat(changes[2]).isoformat() == changes[2]
