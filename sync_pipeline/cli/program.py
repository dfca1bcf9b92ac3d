"""`sync-to-bigquery COMMAND …`: finds the command's module and calls its `main`.

A module is imported when its command is given, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import sync_pipeline
from sync_pipeline.command import print_error
from sync_pipeline.errors import ConfigError, SyncError
from sync_pipeline.printable import printable
from sync_pipeline.suggestions import did_you_mean

PROGRAM = "sync-to-bigquery"

# By name: a line for the help. The module of the same name has `main(argv)`.
COMMANDS: Mapping[str, str] = {
    "init": "look at a source and write a launch file",
    "check": "test the connections and rights of a sync, and print the commands that mend what is missing",
    "plan": "show what a run would do; writes nothing, and needs no bucket",
    "run": "run the sync here, until its rows are in BigQuery",
    "reconcile": "compare the tables with their source; with --repair, correct them",
    "launch": "print the commands that launch it on Dataflow, on Cloud Run or on a schedule; with --execute, run one",
    "chain": "check, show or run a chain of several syncs",
    "completion": "print the completion script of bash, zsh or fish",
    "version": "print the version",
}

# As a shell reports the end by SIGINT, and by SIGPIPE.
_STOPPED, _PIPE_CLOSED = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, `argv` or the process's own, and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    match words:
        case [] | ["--help" | "-h" | "help"]:
            print(_help())
            # Without a command nothing was done.
            return 0 if words else 2
        case ["help", name, *_] if name in COMMANDS and name != "version":
            return _carry_out(name, ["--help"])
        case ["--version" | "version"]:
            print(sync_pipeline.__version__)
            return 0
        case [name, *rest] if name in COMMANDS:
            return _carry_out(name, rest)
    print_error(ConfigError([f"{words[0]} is not a command{did_you_mean(words[0], COMMANDS)}: see {PROGRAM} --help"]))
    return ConfigError.exit_code


def _carry_out(name: str, argv: Sequence[str]) -> int:
    if name == "version":
        print_error(ConfigError([f"version takes no words, and {printable(argv[0])} is given: omit it"]))
        return ConfigError.exit_code
    command: Callable[[Sequence[str]], int] = importlib.import_module(f"sync_pipeline.cli.{name}").main
    try:
        exit_code = command(argv)
        sys.stdout.flush()
        return exit_code
    except SyncError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return _STOPPED
    except BrokenPipeError:
        # Whoever reads the output has seen enough. Python flushes it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        (
            f"usage: {PROGRAM} COMMAND [FILE] [OPTIONS]",
            "",
            "Keep BigQuery tables equal to tables of PostgreSQL, MongoDB or BigQuery.",
            "",
            *lines,
            "",
            "FILE is a launch file; without it, sync.yaml in this folder. A parameter on the command line,",
            "such as --deletes=remove, takes precedence over the file.",
            f"{PROGRAM} COMMAND --help shows the options of a command.",
        )
    )
