"""`launch`: the commands that launch a sync on Dataflow, on Cloud Run or on a schedule."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.cli.words import asks_for_help, split_file
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.__main__ import main as launching


def main(argv: Sequence[str]) -> int:
    """Print or run the commands of a launch file; return the exit code.

    Raises:
        ConfigError: there is no launch file.
    """
    file, words = split_file(argv)
    if file is None and not asks_for_help(words):
        raise ConfigError([f"a launch needs a launch file: name it, or write one with {PROGRAM} init"])
    return launching([*([] if file is None else [file]), *words], f"{PROGRAM} launch")
