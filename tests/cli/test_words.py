"""The launch file among the words of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.cli.words import split_file, words_of_file
from sync_pipeline.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], (None, [])),
        (["shop.yaml", "--deletes=keep"], ("shop.yaml", ["--deletes=keep"])),
        (["--deletes=keep", "shop.yaml"], ("shop.yaml", ["--deletes=keep"])),
        (["--deletes", "keep", "shop.yaml"], ("shop.yaml", ["--deletes=keep"])),
        (["--until-current", "shop.yaml"], ("shop.yaml", ["--until-current"])),
        (["--repair", "shop.yaml"], ("shop.yaml", ["--repair"])),
        (["--dry_run", "shop.yaml"], ("shop.yaml", ["--dry_run"])),
        (["--dry_run", "true", "shop.yaml"], ("shop.yaml", ["--dry_run=true"])),
        (["--output", "json", "-"], ("-", ["--output=json"])),
        (["--runner", "DirectRunner"], (None, ["--runner=DirectRunner"])),
        (["--tables_file=", "shop.yaml"], ("shop.yaml", ["--tables_file="])),
        (["--deletes"], (None, ["--deletes"])),
        (["--config=shop.yaml"], (None, ["--config=shop.yaml"])),
    ],
)
def test_the_file_may_stand_anywhere(argv: list[str], expected: tuple[str | None, list[str]]) -> None:
    assert split_file(argv) == expected


def test_two_files_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"b\.yaml is a second launch file: give one"):
        split_file(["a.yaml", "--until-current", "b.yaml"])


def test_the_default_file_needs_no_word(tmp_path: Path) -> None:
    (tmp_path / "sync.yaml").touch()
    assert split_file(["--deletes=keep"]) == ("sync.yaml", ["--deletes=keep"])
    assert split_file(["--config=shop.yaml"]) == (None, ["--config=shop.yaml"])
    assert words_of_file([]) == []
    assert words_of_file(["--deletes=keep", "shop.yaml"]) == ["shop.yaml"]
