from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.local_flags import LOCAL_FLAGS, LocalFlags, local_flags
from sync_pipeline.parameters.table import BY_NAME


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param([], LocalFlags(), id="none"),
        pytest.param(["--output=json"], LocalFlags(prints_json=True), id="json"),
        pytest.param(["--output", "json"], LocalFlags(prints_json=True), id="apart"),
        pytest.param(["--until-current"], LocalFlags(until_current=True), id="until current"),
        pytest.param(["--detailed-exitcode"], LocalFlags(detailed_exit_code=True), id="detailed exit code"),
        pytest.param(["--output=json", "--output=text"], LocalFlags(), id="the last counts"),
    ],
)
def test_what_is_asked_for(argv: list[str], expected: LocalFlags) -> None:
    assert local_flags(["--batch_size=1", *argv, "--dry_run"]) == (expected, ["--batch_size=1", "--dry_run"], [])


@pytest.mark.parametrize("argv", [["--output=yaml"], ["--output"], ["--output", "--dry_run"]])
def test_a_wrong_value_is_reported_with_the_other_mistakes(argv: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_command_line([*argv, "--batch_size=0"])
    assert f"--output is '{'yaml' if '=' in argv[0] else ''}': use text or json" in caught.value.problems
    assert [problem for problem in caught.value.problems if problem.startswith("batch_size")]


@pytest.mark.parametrize("switch", ["--until-current", "--detailed-exitcode"])
def test_a_switch_has_no_value(switch: str) -> None:
    with pytest.raises(ConfigError, match=f"{switch} has a value: write {switch} alone"):
        parse_command_line([f"{switch}=true"])


def test_what_is_given() -> None:
    assert LocalFlags().given == []
    assert LocalFlags(True, True, True).given == ["--output=json", "--until-current", "--detailed-exitcode"]


def test_a_misspelt_flag_has_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"did you mean --output\?"):
        parse_command_line(["--outptu=json"])


def test_the_flags_are_no_parameters_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert not set(LOCAL_FLAGS) & set(BY_NAME)
    with pytest.raises(SystemExit):
        parse_command_line(["--help"])
    printed = capsys.readouterr().out
    assert all(f"--{name}" in printed for name in LOCAL_FLAGS)
