"""Flags of `main.py` that are not parameters of the template: what a run in this process does besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEXT, JSON = "text", "json"
_OUTPUT = "output"

# By name: the help text.
LOCAL_FLAGS: Mapping[str, str] = {
    _OUTPUT: "What a run or a dry run prints on standard output at its end: text, or json for one JSON document as "
    "run-output.schema.json describes it. Log lines go to standard error. Default: text.",
}


@dataclass(frozen=True)
class LocalFlags:
    """The given flags.

    Attributes:
        prints_json: print one JSON document instead of text.
    """

    prints_json: bool = False


NO_FLAGS = LocalFlags()


def local_flags(argv: Sequence[str]) -> tuple[LocalFlags, list[str], list[str]]:
    """Return the flags of a command line, its other words, and problems with the flags."""
    prints_json = False
    rest, problems = [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in LOCAL_FLAGS:
            rest.append(word)
            continue
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else ""
        if value not in (TEXT, JSON):
            problems.append(f"--{_OUTPUT} is '{value}': use {TEXT} or {JSON}")
        prints_json = value == JSON
    return LocalFlags(prints_json), rest, problems
