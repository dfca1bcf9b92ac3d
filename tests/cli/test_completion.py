"""A shell completes commands, parameters and values as a person types them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sync_pipeline.cli.completion import options_of
from sync_pipeline.cli.program import COMMANDS, main
from sync_pipeline.parameters.table import PARAMETERS


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last word; it takes the sign `=` for a word."""
    parts = [part for word in words for part in (word.replace("=", "\0=\0").split("\0") if "=" in word else [word])]
    if parts[-1] == "":
        parts.pop()
    listed = " ".join(f"'{part}'" for part in parts)
    ask = f"COMP_WORDS=({listed}); COMP_CWORD={len(parts) - 1}; compopt() {{ :; }}; _sync_to_bigquery"
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", f'{script}\n{ask}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", "bash"]) == 0
    return capsys.readouterr().out


def test_bash_completes(script: str) -> None:
    name = "sync-to-bigquery"
    assert completed(script, name, "re") == ["reconcile"]
    assert completed(script, name, "reconcile", "--rep") == ["--repair"]
    assert "--postgresql_host=" in completed(script, name, "plan", "sync.yaml", "--postgresql_")
    assert completed(script, name, "run", "--deletes=") == ["keep", "remove", "mark"]
    assert completed(script, name, "run", "--deletes=re") == ["remove"]
    assert completed(script, name, "launch", "sync.yaml", "--only=sch") == ["schedule"]
    assert completed(script, name, "chain", "r") == ["render", "run"]
    assert completed(script, name, "completion", "z") == ["zsh"]


def test_other_shells(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.endswith(script)
    assert main(["completion", "fish"]) == 0
    fish = capsys.readouterr().out
    assert "-n '__fish_seen_subcommand_from run' -l deletes -x -a 'keep remove mark'" in fish
    assert all(line.startswith("complete -c sync-to-bigquery ") for line in fish.splitlines())


def test_every_option_of_the_help_is_completed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["launch", "--help"])
    words = {word.rstrip(",.").partition("=")[0] for word in capsys.readouterr().out.split() if word.startswith("--")}
    assert words <= {option.rstrip("=") for option in options_of("launch")}
    for command in COMMANDS.keys() - {"chain", "completion", "version"}:
        assert {f"--{parameter.name}=" for parameter in PARAMETERS} <= set(options_of(command))
