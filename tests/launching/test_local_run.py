"""`--config FILE`: a run here takes the parameters of a launch file, and the command line takes precedence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.command import main
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.local_run import read_local_run, with_config
from tests.test_docs import ROOT

FILE = """
environment: {tempLocation: gs://bucket/tmp}
parameters:
  data_source: postgresql
  postgresql_port: 5433
  postgresql_password: env:PASSWORD
  dry_run: true
  primary_key: [id, at]
  transformation_config: {exclude_fields: [a]}
"""
TEXTS = {
    "data_source": "postgresql",
    "postgresql_port": "5433",
    "postgresql_password": "env:PASSWORD",
    "dry_run": "true",
    "primary_key": "id,at",
    "transformation_config": '{"exclude_fields": ["a"]}',
    "temp_location": "gs://bucket/tmp",
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "sync.yaml"
    path.write_text(FILE)
    return str(path)


def test_a_file_without_a_launch_is_enough() -> None:
    assert read_local_run(FILE) == TEXTS


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_can_be_run_here(path: Path) -> None:
    assert {"data_source", "temp_location"} <= read_local_run(path.read_text(encoding="utf-8")).keys()


@pytest.mark.parametrize("words", [["--config={}"], ["--config", "{}"]])
def test_the_words_of_a_file(words: list[str], file: str) -> None:
    found = with_config([*(word.format(file) for word in words), "--dry_run=false", "--postgresql_port="])
    assert found[:2] == ["--dry_run=false", "--postgresql_port="]
    rest = {name: text for name, text in TEXTS.items() if name not in ("dry_run", "postgresql_port")}
    assert found[2:] == [f"--{name}={text}" for name, text in rest.items()]


def test_without_a_file_the_words_stay() -> None:
    assert with_config(["--dry_run", "true"]) == ["--dry_run", "true"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a", "this is not a launch file", id="a word"),
        pytest.param("paramters: {}", "paramters is not known; did you mean parameters?", id="a key"),
        pytest.param("parameters: [a]", "parameters is not a mapping", id="a list"),
        pytest.param("parameters: {data_sorce: x}", "did you mean data_source?", id="a parameter"),
        pytest.param("parameters: {runner: x}", "parameters.runner is not a parameter of this template", id="Beam's"),
        pytest.param("parameters: {primary_key: {a: b}}", "put its value in quotes", id="a value"),
    ],
)
def test_mistakes_name_the_file(text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert main([f"--config={path}"]) == 2
    complained = capsys.readouterr().err
    assert f"error: {path}: " in complained
    assert expected in complained


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--config=nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["--config"], "--config is given no file"),
        (["--config=a", "--config=b"], "--config is given twice"),
    ],
)
def test_a_file_that_cannot_be_read(argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        with_config(argv)


def test_what_a_file_lacks_is_told_as_of_a_command_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--config={file}"]) == 2
    assert "postgresql_host is missing" in capsys.readouterr().err
