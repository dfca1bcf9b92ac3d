"""`launch` prints what the launching program prints, takes parameters, and runs the command when it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.cli.program import main
from tests.test_docs import ROOT

FILE = str(ROOT / "examples/mirror.yaml")
CLOUD_RUN = str(ROOT / "examples/cloud-run/hourly-events.yaml")

GCLOUD = """#!/bin/sh
{ echo "$@"; cat; } > "$RECORD"
exit ${CODE:-0}
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a program in gcloud's place was called with."""
    program = tmp_path / "gcloud"
    program.write_text(GCLOUD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


def test_it_prints_and_runs_nothing(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", FILE]) == 0
    assert "gcloud dataflow flex-template run orders-mirror" in capsys.readouterr().out
    assert not record.exists()


def test_it_runs_the_command(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", FILE, "--execute", "--deletes=mark"]) == 0
    assert record.read_text().startswith("dataflow flex-template run orders-mirror --flags-file=-\n")
    assert '"deletes": "mark"' in record.read_text()
    assert main(["launch", FILE, "--execute", "--only=schedule"]) == 0
    assert record.read_text().startswith("scheduler jobs create http orders-mirror ")
    assert main(["launch", CLOUD_RUN, "--execute", "--only=create"]) == 0
    assert record.read_text().startswith("run jobs create ")


def test_a_command_that_fails_is_an_error(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "3")
    assert main(["launch", FILE, "--execute"]) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--execute", "--only=request"], "--only=request is a request: omit one of them"),
        (["--postgresql_hst=x"], "did you mean postgresql_host?"),
        (["--deletes"], "--deletes has no value: write --deletes=VALUE"),
        (["--postgresql_password=hunter2"], "postgresql_password is not the name of a secret"),
    ],
)
def test_mistakes(words: list[str], expected: str, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", FILE, *words]) == 2
    complained = capsys.readouterr().err
    assert expected in complained
    assert "hunter2" not in complained
    assert not record.exists()


def test_without_gcloud(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["launch", FILE, "--execute"]) == 2
    assert "--execute needs gcloud, which is not installed here" in capsys.readouterr().err
