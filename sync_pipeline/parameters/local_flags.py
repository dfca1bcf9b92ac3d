"""Flags of `main.py` that are not parameters of the template: what a run in this process does besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEXT, JSON = "text", "json"
_OUTPUT, _UNTIL_CURRENT, _DETAILED = "output", "until-current", "detailed-exitcode"
# Is replaced by the parameters of its file before the others are read (`launching.local_run`).
CONFIG = "config"

# By name: the help text.
LOCAL_FLAGS: Mapping[str, str] = {
    CONFIG: "A launch file, whose parameters and tempLocation are used; what the command line gives takes precedence.",
    _OUTPUT: "What a run or a dry run prints on standard output at its end: text, or json for one JSON document as "
    "run-output.schema.json describes it. Log lines go to standard error. Default: text.",
    _UNTIL_CURRENT: "Run again until smart_sync_max_interval_hours leaves nothing. Ends with the first run that fails.",
    _DETAILED: "End a run with 4 if it found nothing new, and with 5 if it rejected rows into dead_letter_table, not "
    "with 0. A dry run still ends with 0.",
}


@dataclass(frozen=True)
class LocalFlags:
    """The given flags.

    Attributes:
        prints_json: print one JSON document instead of text.
        until_current: run again until nothing is left.
        detailed_exit_code: tell runs that end well apart by their exit code.
    """

    prints_json: bool = False
    until_current: bool = False
    detailed_exit_code: bool = False

    @property
    def given(self) -> list[str]:
        """The flags that are given with another value than their default."""
        flags = {
            f"--{_OUTPUT}={JSON}": self.prints_json,
            f"--{_UNTIL_CURRENT}": self.until_current,
            f"--{_DETAILED}": self.detailed_exit_code,
        }
        return [flag for flag, is_given in flags.items() if is_given]


NO_FLAGS = LocalFlags()


def local_flags(argv: Sequence[str]) -> tuple[LocalFlags, list[str], list[str]]:
    """Return the flags of a command line, its other words, and problems with the flags."""
    prints_json = False
    switches: set[str] = set()
    rest, problems = [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in LOCAL_FLAGS or name == CONFIG:
            rest.append(word)
            continue
        if name in (_UNTIL_CURRENT, _DETAILED):
            switches.add(name)
            if equals:
                problems.append(f"--{name} has a value: write --{name} alone")
            continue
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else ""
        if value not in (TEXT, JSON):
            problems.append(f"--{_OUTPUT} is '{value}': use {TEXT} or {JSON}")
        prints_json = value == JSON
    return LocalFlags(prints_json, _UNTIL_CURRENT in switches, _DETAILED in switches), rest, problems
