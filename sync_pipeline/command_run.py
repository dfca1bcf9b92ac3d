"""The runs of a command line that was accepted, and their output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from sync_pipeline.errors import ConfigError, SyncError, error_from_worker
from sync_pipeline.output.run_log import fields, live_progress
from sync_pipeline.output.terminal import width_of
from sync_pipeline.parameters.beam_options import pipeline_options, runs_here
from sync_pipeline.parameters.command_line import CommandLine
from sync_pipeline.parameters.local_flags import LocalFlags
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import run
from sync_pipeline.planning.plan_text import plan_page, styled_page
from sync_pipeline.printable import printable
from sync_pipeline.publishing.failure_report import FailureReport
from sync_pipeline.publishing.run_record import RunRecord

_LOGGER = logging.getLogger(__name__)

# The exit code of a run that has compared tables, and found differences.
DIFFERENCES_FOUND = 3
# The exit codes that --detailed-exitcode has instead of 0.
NOTHING_NEW, WITH_DEAD_LETTERS = 4, 5


def run_command(command_line: CommandLine, config: RunConfig, print_error: Callable[[SyncError], None]) -> int:
    """Run the syncs of a command line and print their output; return the exit code.

    Raises errors that are not ours, after the output.
    """
    with RunRecord.open() as record:
        record.is_dry_run = config.dry_run
        try:
            with live_progress():
                error = _run(command_line, config, record)
        except Exception as unexpected:
            # Python ends by its traceback and this exit code.
            _report_failure(record, unexpected)
            _print_output(record, command_line.local, unexpected, 1)
            raise
        if error is not None:
            _report_failure(record, error)
            print_error(error)
        exit_code = _exit_code(record, error, is_detailed=command_line.local.detailed_exit_code)
        _print_output(record, command_line.local, error, exit_code)
    return exit_code


def _report_failure(record: RunRecord, error: Exception) -> None:
    """Log the last line of a run that failed outside its publishing step: while it was planned or read, for example."""
    if record.is_dry_run or record.tells_failure:
        return
    failure = FailureReport.of(error, record.run)
    _LOGGER.error("%s", failure, extra=fields(failure.values, screen=""))


def _exit_code(record: RunRecord, error: SyncError | None, *, is_detailed: bool) -> int:
    if error is not None:
        return error.exit_code
    if record.found_differences:
        return DIFFERENCES_FOUND
    if is_detailed and record.rejected_rows:
        return WITH_DEAD_LETTERS
    return NOTHING_NEW if is_detailed and record.found_nothing_new else 0


def print_refusal(error: SyncError) -> None:
    """Print the JSON document about a command line that was refused."""
    with RunRecord.open() as record:
        print(record.output(error, error.exit_code).model_dump_json())


def _run(command_line: CommandLine, config: RunConfig, record: RunRecord) -> SyncError | None:
    try:
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
        print(styled_page(printable(plan_page(record.dry_run, width_of(sys.stdout))), sys.stdout))
