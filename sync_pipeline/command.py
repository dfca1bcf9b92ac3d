"""The command: a command line becomes a run, its output and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from sync_pipeline.errors import SyncError, error_from_worker, message_of
from sync_pipeline.parameters.beam_options import pipeline_options
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.local_flags import local_flags
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import run
from sync_pipeline.printable import printable
from sync_pipeline.publishing.run_record import RunRecord
from sync_pipeline.run_log import start_logging
from sync_pipeline.run_output import Output


def main(argv: Sequence[str]) -> int:
    """Run the sync of a command line and return the exit code. `argv` excludes the program's name.

    0: done, or submitted. 2: the parameters, the query or the data must change. 1: any other error.
    """
    start_logging()
    flags, _, _ = local_flags(argv)
    if not flags.prints_json:
        error = _run_command(argv)
        return 0 if error is None else _failed(error)
    with RunRecord.open() as record:
        try:
            error = _run_command(argv, record)
        except Exception as unexpected:
            # Python ends by its traceback and this exit code.
            _print_json(record.output(unexpected, 1))
            raise
        exit_code = 0 if error is None else _failed(error)
        _print_json(record.output(error, exit_code))
    return exit_code


def _run_command(argv: Sequence[str], record: RunRecord | None = None) -> SyncError | None:
    """Run the sync of a command line; return the error that ended it. Raises errors that are not ours."""
    try:
        command_line = parse_command_line(argv)
        run(RunConfig.from_parameters(command_line.parameters), pipeline_options(command_line), record)
    except SyncError as error:
        return error
    except RuntimeError as error:
        # A runner with workers in other processes reports their errors as text.
        from_worker = error_from_worker(str(error))
        if from_worker is None:
            raise
        return from_worker
    return None


def _print_json(output: Output) -> None:
    print(json.dumps(output.model_dump(mode="json")))


def _failed(error: SyncError) -> int:
    for line in message_of(error).split("\n"):
        print(printable(f"error: {line}"), file=sys.stderr)
    return error.exit_code
