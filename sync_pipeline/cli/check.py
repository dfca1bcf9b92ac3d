"""`check`: tests what a sync needs, one thing after the other, and prints the commands that mend what is missing."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence

from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.cli.words import asks_for_help, command_words, run_help, words_of_file
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.local_run import with_config
from sync_pipeline.output.run_log import start_logging
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.run_config import RunConfig

_HELP = (
    "Test the connections and rights of a sync: the source, its tables, the bucket and the dataset. It writes an empty "
    "file and an empty table, and deletes them. The rights are those of whoever runs it. Ends with 2 if anything is "
    "missing."
)


def main(argv: Sequence[str]) -> int:
    """Print what works and what is missing; return the exit code.

    Raises:
        ConfigError: the parameters are wrong.
    """
    if asks_for_help(argv):
        run_help("check", _HELP).print_help()
        return 0
    command_line = parse_command_line(with_config(command_words(argv)))
    if command_line.local.given:
        raise ConfigError([f"{' and '.join(command_line.local.given)} is for runs: check does not take it"])
    config = RunConfig.from_parameters(command_line.parameters)
    from sync_pipeline.cli.findings import find
    from sync_pipeline.parameters.beam_options import pipeline_options
    from sync_pipeline.pipeline import given_location

    start_logging()
    # What fails is in the findings.
    logging.disable(logging.WARNING)
    try:
        findings = find(config, given_location(pipeline_options(command_line)) or "")
    finally:
        logging.disable(logging.NOTSET)
    for finding in findings:
        print("\n".join(finding.lines()))
    missing = [finding for finding in findings if not finding.is_fine]
    if not missing:
        print(f"Everything is there. Next: {shlex.join([PROGRAM, 'plan', *words_of_file(argv)])}")
        return 0
    print(f"{len(missing)} of {len(findings)} checks failed.")
    return ConfigError.exit_code
