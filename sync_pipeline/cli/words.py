"""What the commands' words have in common: the launch file in front, and parameters behind it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from sync_pipeline import command
from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import help_parser

DEFAULT_FILE = "sync.yaml"
_CONFIG = "--config"


def split_file(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the launch file that stands in front of the options, or else the default if it exists, and the options."""
    words = list(argv)
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    if any(word.partition("=")[0] == _CONFIG for word in words):
        return None, words
    return (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None), words


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
