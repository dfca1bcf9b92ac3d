"""A launch file for a run in this process: its parameters and its folder in Cloud Storage as words of a command line.

What only a job on Dataflow or Cloud Run needs may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.launch_file import KEYS
from sync_pipeline.parameters.file_values import content_of, text_of
from sync_pipeline.parameters.local_flags import CONFIG
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.suggestions import did_you_mean

_FLAG = f"--{CONFIG}"
_TEMP_LOCATION = "temp_location"
_ASKS_ONLY = frozenset({"--help", "-h", "--version"})


def with_config(argv: Sequence[str]) -> list[str]:
    """Return a command line in which `--config=FILE` is replaced by what the launch file says.

    A flag of the command line takes precedence over the file; an empty one, `--NAME=`, takes the file's value away.

    Raises:
        ConfigError: the file cannot be read, or has errors; each names the file.
    """
    words, files = _without_config(argv)
    if not files or not _ASKS_ONLY.isdisjoint(words):
        return words
    if len(files) > 1 or not files[0]:
        raise ConfigError([f"{_FLAG} is given {'twice' if len(files) > 1 else 'no file'}: write {_FLAG}=FILE once"])
    given = {word.partition("=")[0].removeprefix("--") for word in words}
    try:
        values = read_local_run(text_of_file(files[0]))
    except ConfigError as error:
        raise ConfigError([f"{files[0]}: {problem}" for problem in error.problems]) from None
    return [*words, *(f"--{name}={text}" for name, text in values.items() if name not in given)]


def read_local_run(text: str) -> dict[str, str]:
    """Return the parameters of a launch file, and its `tempLocation` as `temp_location`, as texts by name.

    Raises:
        ConfigError: the file has errors; holds all of them. The values of parameters are not checked.
    """
    content = content_of(text)
    if not isinstance(content, dict):
        raise ConfigError([f"this is not a launch file: it has to be a mapping with {', '.join(KEYS)}"])
    problems = [f"{key} is not known{did_you_mean(str(key), KEYS)}" for key in content if key not in KEYS]
    parts: dict[str, dict[str, Any]] = {}
    for key in ("parameters", "environment"):
        value = content.get(key)
        if value is not None and not isinstance(value, dict):
            problems.append(f"{key} is not a mapping of names to values")
        parts[key] = value if isinstance(value, dict) else {}
    texts: dict[str, str] = {}
    for name, value in parts["parameters"].items():
        if name not in BY_NAME:
            problems.append(f"parameters.{name} is not a parameter of this template{did_you_mean(str(name), BY_NAME)}")
        elif (found := text_of(name, value)) is None:
            problems.append(f"parameters.{name} is not a text: put its value in quotes")
        elif found.strip():
            texts[name] = found
    if folder := parts["environment"].get("tempLocation"):
        texts[_TEMP_LOCATION] = str(folder)
    if problems:
        raise ConfigError(problems)
    return texts


def text_of_file(name: str) -> str:
    """Return the text of a file; `-` is the standard input. Raises ConfigError."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"the file cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigError(["the file is not text in UTF-8"]) from None


def _without_config(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the other words of a command line, and the files that `--config` names."""
    words, files = [], []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != _FLAG:
            words.append(word)
            continue
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        files.append(value)
    return words, files
