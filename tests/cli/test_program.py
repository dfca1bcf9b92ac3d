"""The console command finds its commands, helps, and answers at once."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import sync_pipeline
from sync_pipeline import command
from sync_pipeline.cli import init
from sync_pipeline.cli.program import COMMANDS, main
from sync_pipeline.cli.questions import Questions
from tests.test_command_start import SLOW
from tests.test_docs import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_package_installs_it() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"sync-to-bigquery": f"{main.__module__}:{main.__name__}"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--help"]), main([])) == (0, 2)
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and text in printed for name, text in COMMANDS.items())


def test_help_about_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "plan"]) == 0
    assert capsys.readouterr().out.startswith("usage: sync-to-bigquery plan [FILE]")


def test_whoever_reads_may_have_enough() -> None:
    code = "import sys; from sync_pipeline.cli.program import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, "completion", "bash"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("interruption", [EOFError, KeyboardInterrupt])
def test_a_person_stops(
    interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end() -> str:
        raise interruption

    monkeypatch.setattr(init, "Questions", lambda: Questions(end))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["init"]) == 130
    assert capsys.readouterr().err.endswith("\nstopped\n")


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"{sync_pipeline.__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"version"}))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"sync_pipeline.cli.{name}").main
    with contextlib.suppress(SystemExit):
        assert command(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: sync-to-bigquery {name} ")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["pln"], "pln is not a command; did you mean plan?"),
        (["version", "x"], "version takes no words"),
        (["run"], "there is no sync.yaml in this folder: write it with sync-to-bigquery init"),
        (["run", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["launch"], "a launch needs a launch file"),
        (["launch", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["plan", "--dta_source=x"], "did you mean --data_source?"),
        (["reconcile", "--repair", "--data_source=x"], "data_source is 'x'"),
        (["check", "--data_source=postgresql"], "postgresql_host is missing"),
        (["check", "--data_source=postgresql", "--output=json"], "--output=json is for runs: check does not take it"),
        (["plan", "a.yaml", "b.yaml"], "b.yaml is a second launch file: give one"),
        (["init", "--data_source", "mongodb", "a.yaml", "--bogus=x"], "--bogus is not a parameter"),
    ],
)
def test_mistakes_are_one_clear_error(argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    complained = capsys.readouterr().err
    assert expected in complained
    assert all(line.startswith("error: ") for line in complained.splitlines())


def test_the_file_of_the_folder_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sync.yaml").write_text("parameters: {data_source: mongodb}")
    assert main(["plan"]) == 2
    assert "mongodb_database is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "exit_code"),
    [(["--help"], 0), (["version"], 0), (["run", "--help"], 0), (["plan", "--data_source=x"], 2), (["pln"], 2)],
)
def test_a_start_that_runs_nothing_imports_little(argv: list[str], exit_code: int) -> None:
    code = "import sys; from sync_pipeline.cli.program import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert done.returncode == exit_code
    assert imported.isdisjoint(SLOW), sorted(imported.intersection(SLOW))


@pytest.mark.parametrize("exit_code", [0, 3, 4, 5])
def test_a_run_ends_with_the_code_of_the_template(exit_code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Sequence[str]] = []

    def template(argv: Sequence[str]) -> int:
        given.append(argv)
        return exit_code

    monkeypatch.setattr(command, "main", template)
    assert main(["run", "--detailed-exitcode", "shop.yaml"]) == exit_code
    assert given == [["--config=shop.yaml", "--detailed-exitcode"]]
