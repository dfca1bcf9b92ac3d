"""`init` before it connects: what is missing, and that no secret is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.cli.init import main as init
from sync_pipeline.cli.program import main
from sync_pipeline.cli.questions import Questions
from sync_pipeline.errors import SourceUnavailableError

SERVER = [
    "--data_source=postgresql",
    "--postgresql_host=127.0.0.1",
    "--postgresql_database=shop",
    "--postgresql_username=reader",
]
DESTINATION = ["--destination_bigquery_project=my-project", "--destination_bigquery_dataset=shop"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["init", "--no-input", *argv]) == 2
    assert not Path("sync.yaml").exists() or not Path("sync.yaml").read_text()
    return capsys.readouterr().err


def test_all_that_is_missing_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data_source is missing" in refused([], capsys)
    told = refused(["--data_source=postgresql"], capsys)
    for name in ("postgresql_host", "postgresql_database", "postgresql_username", "destination_bigquery_dataset"):
        assert f"{name} is missing" in told
    assert "postgresql_table" not in told


def test_a_secret_is_refused_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused([*SERVER, *DESTINATION, "--postgresql_password=hunter2"], capsys)
    assert "postgresql_password is the secret itself" in told
    assert "give env:NAME or projects/PROJECT/secrets" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--postgresql_hst=x", "did you mean postgresql_host?"),
        ("--postgresql_host", "--postgresql_host has no value"),
        ("--batch_size=many", "batch_size"),
    ],
)
def test_wrong_words(word: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*SERVER[:1], *SERVER[2:], *DESTINATION, "--postgresql_password=env:P", word]
    assert expected in refused(argv, capsys)


def test_an_existing_file_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sync.yaml").write_text("")
    assert "sync.yaml exists: give another name, or --force" in refused([*SERVER, *DESTINATION], capsys)


def test_questions_are_asked_again_until_the_answer_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["", "x", "b"])
    questions = Questions(read=lambda: next(answers))
    assert questions.ask("Which", check=lambda text: None if text == "b" else "a or b") == "b"
    assert capsys.readouterr().err.count("  a or b") == 2
    answers = iter([""])
    assert Questions(read=lambda: next(answers)).ask("Which", "c") == "c"


def test_answers_are_not_lost(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise SourceUnavailableError

    monkeypatch.setattr("sync_pipeline.cli.init._read_catalog", unreachable)
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    answers = iter(["127.0.0.1", "1", "my shop", "reader", "env:SHOP_PASSWORD"])
    with pytest.raises(SourceUnavailableError):
        init(["--data_source=postgresql", "--max_retries=0"], Questions(lambda: next(answers)))
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            "To try again: sync-to-bigquery init sync.yaml --data_source=postgresql --max_retries=0 "
            "--postgresql_host=127.0.0.1 --postgresql_port=1 '--postgresql_database=my shop' "
            "--postgresql_username=reader --postgresql_password=env:SHOP_PASSWORD"
        )
    )
