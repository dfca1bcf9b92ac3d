"""The command: a command line becomes a run, its output and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sync_pipeline.errors import ConfigError, SyncError, error_from_worker, message_of
from sync_pipeline.parameters.beam_options import pipeline_options, runs_here
from sync_pipeline.parameters.command_line import CommandLine, parse_command_line
from sync_pipeline.parameters.local_flags import LocalFlags, local_flags
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import run
from sync_pipeline.planning.plan_text import plan_page
from sync_pipeline.printable import printable
from sync_pipeline.publishing.run_record import RunRecord
from sync_pipeline.run_log import start_logging


def main(argv: Sequence[str]) -> int:
    """Run the sync of a command line and return the exit code. `argv` excludes the program's name.

    0: done, or submitted. 2: the parameters, the query or the data must change. 1: any other error.
    """
    start_logging()
    flags, _, _ = local_flags(argv)
    with RunRecord.open() as record:
        try:
            error = _run_command(argv, record)
        except Exception as unexpected:
            # Python ends by its traceback and this exit code.
            _print_output(record, flags, unexpected, 1)
            raise
        exit_code = 0 if error is None else error.exit_code
        if error is not None:
            _print_error(error)
        _print_output(record, flags, error, exit_code)
    return exit_code


def _run_command(argv: Sequence[str], record: RunRecord) -> SyncError | None:
    """Run the syncs of a command line; return the error that ended them. Raises errors that are not ours."""
    try:
        command_line = parse_command_line(argv)
        config = RunConfig.from_parameters(command_line.parameters)
        record.is_dry_run = config.dry_run
        _check_is_local(command_line, config)
        run(config, pipeline_options(command_line), record)
        while command_line.local.until_current and record.more_is_left:
            run(config, pipeline_options(command_line), record)
    except SyncError as error:
        return error
    except RuntimeError as error:
        # A runner with workers in other processes reports their errors as text.
        from_worker = error_from_worker(str(error))
        if from_worker is None:
            raise
        return from_worker
    return None


def _check_is_local(command_line: CommandLine, config: RunConfig) -> None:
    """Raise ConfigError when a flag needs a run in this process, and the runner is another."""
    given = command_line.local.given
    if given and not config.dry_run and not runs_here(pipeline_options(command_line)):
        problem = f"{' and '.join(given)} can only follow a run in this process, and the runner is another"
        raise ConfigError([f"{problem}: omit the flag, or --runner"])


def _print_output(record: RunRecord, flags: LocalFlags, error: BaseException | None, exit_code: int) -> None:
    if flags.prints_json:
        print(record.output(error, exit_code).model_dump_json())
    elif record.dry_run is not None:
        print(printable(plan_page(record.dry_run)))


def _print_error(error: SyncError) -> None:
    for line in message_of(error).split("\n"):
        print(printable(f"error: {line}"), file=sys.stderr)
