"""What the commands' words have in common: the launch file, and parameters that take precedence over it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from sync_pipeline import command
from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import help_parser
from sync_pipeline.parameters.local_flags import LOCAL_FLAGS
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.printable import printable

DEFAULT_FILE = "sync.yaml"
_CONFIG = "--config"
# Options that have no value.
_SWITCHES = frozenset({"h", "help", "force", "no-input", "repair", "update", "execute", "validate-only"})
_SWITCHES |= LOCAL_FLAGS.keys() - {"config", "output"}


def split_file(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the launch file, or else the default if it exists, and the options, each with its value in one word.

    The file may stand anywhere, except behind an option that it could be the value of.

    Raises:
        ConfigError: there are two files.
    """
    files, options = [], []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            files.append(word)
        elif word.startswith("--") and "=" not in word and rest and _is_value(word.removeprefix("--"), rest[0]):
            options.append(f"{word}={rest.pop(0)}")
        else:
            options.append(word)
    if len(files) > 1:
        raise ConfigError([f"{printable(files[1])} is a second launch file: give one"])
    if files:
        return files[0], options
    if any(word.partition("=")[0] == _CONFIG for word in options):
        return None, options
    return (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None), options


def _is_value(name: str, word: str) -> bool:
    """Whether a word is the value of the option in front of it."""
    if name in _SWITCHES or word.startswith("--"):
        return False
    parameter = BY_NAME.get(name)
    return parameter is None or parameter.type is not ParameterType.BOOLEAN or word in ("true", "false")


def words_of_file(argv: Sequence[str]) -> list[str]:
    """Return the launch file as another command takes it: no word for the default."""
    file, _ = split_file(argv)
    return [] if file in (None, DEFAULT_FILE) else [str(file)]


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the words ask for help."""
    return not {"--help", "-h"}.isdisjoint(argv)


def command_words(argv: Sequence[str], added: Collection[str] = ()) -> list[str]:
    """Return the words of `main.py` for those of a command.

    Raises:
        ConfigError: neither a launch file nor parameters are given.
    """
    file, words = split_file(argv)
    if file is None and not words:
        raise ConfigError(
            [f"there is no {DEFAULT_FILE} in this folder: write it with {PROGRAM} init, or name a launch file"]
        )
    return [*([] if file is None else [f"{_CONFIG}={file}"]), *words, *added]


def start(name: str, argv: Sequence[str], help_text: str, added: Collection[str] = ()) -> int:
    """Do what `main.py` does with the words of a command and those that are added; return the exit code."""
    if asks_for_help(argv):
        run_help(name, help_text).print_help()
        return 0
    return command.main(command_words(argv, added))


def run_help(name: str, text: str) -> argparse.ArgumentParser:
    """Return a parser that prints the help of a command that takes every parameter."""
    return help_parser(f"{PROGRAM} {name}", "[FILE] [OPTIONS] [--PARAMETER=VALUE …]", text)
