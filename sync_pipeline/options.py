"""The parameters as Beam options, for whoever reads a job's `sdkPipelineOptions`: all but the secrets."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from sync_pipeline.command_line import LAUNCHER_FLAGS, CommandLine
from sync_pipeline.parameters import PARAMETERS

# Beam has a `dry_run` of its own, and takes any text for true, "false" as well: the job would not be submitted.
BEAM_NAMES = frozenset({"dry_run"})
OPTION_PARAMETERS = tuple(
    parameter for parameter in PARAMETERS if not parameter.secret and parameter.name not in BEAM_NAMES
)


class SyncOptions(PipelineOptions):
    """The parameters that are not secret, as text.

    Beam copies all its options into the job's description and logs them, so secrets must not be among them.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        for parameter in OPTION_PARAMETERS:
            parser.add_argument(
                f"--{parameter.name}", default=parameter.default, help=parameter.help.replace("%", "%%")
            )
        # Declared only so that Beam does not warn about them.
        for flag in LAUNCHER_FLAGS:
            parser.add_argument(f"--{flag}", nargs="?", const="true", help=argparse.SUPPRESS)


def pipeline_options(command_line: CommandLine) -> PipelineOptions:
    """Return Beam's options and the parameters that are not secret, for `Pipeline` and its runner."""
    parameters = [
        f"--{parameter.name}={command_line.parameters[parameter.name]}"
        for parameter in OPTION_PARAMETERS
        if parameter.name in command_line.parameters
    ]
    return SyncOptions([*command_line.beam_arguments, *parameters])
