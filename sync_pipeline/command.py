"""The command: a command line becomes a run, its output and an exit code.

Help and the refusal of a command line wait for no import of Beam, Arrow or Google's clients: what runs is imported when
there is something to run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sync_pipeline.beam_import import import_beam, importing
from sync_pipeline.errors import SyncError, message_of
from sync_pipeline.launching.local_run import with_config
from sync_pipeline.output.run_log import start_logging
from sync_pipeline.output.terminal import RED, coloured
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.local_flags import local_flags
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.printable import printable


def main(argv: Sequence[str]) -> int:
    """Run the sync of a command line and return the exit code. `argv` excludes the program's name.

    0: done, or submitted. 2: the parameters, the query or the data must change. 3: reconcile=report found differences.
    1: any other error. With --detailed-exitcode, 4: nothing new; 5: rows were rejected into the dead letter table.
    """
    start_logging()
    flags, _, _ = local_flags(argv)
    try:
        command_line = parse_command_line(with_config(argv))
        config = RunConfig.from_parameters(command_line.parameters)
    except SyncError as error:
        print_error(error)
        if flags.prints_json:
            from sync_pipeline.command_run import print_refusal

            print_refusal(error)
        return error.exit_code
    with importing():
        import_beam(argv)
        from sync_pipeline.command_run import run_command

    return run_command(command_line, config, print_error)


def print_error(error: SyncError) -> None:
    """Print the sentences of an error, a line each, on standard error."""
    for line in message_of(error).split("\n"):
        print(coloured(printable(f"error: {line}"), RED, sys.stderr), file=sys.stderr)
