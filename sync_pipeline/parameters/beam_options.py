"""Beam's options: the parameters except secrets, the outputs, and further options of a job on Dataflow.

Users who may view a job can read them in its `sdkPipelineOptions`, and launch it again with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import LAUNCHER_FLAGS, CommandLine
from sync_pipeline.parameters.job_labels import dataflow_labels, template_labels
from sync_pipeline.parameters.outputs import OUTPUTS
from sync_pipeline.parameters.parameter import Parameter, ParameterType
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import NAME_FORM, Secret, secrets_in
from sync_pipeline.parameters.table import PARAMETERS

# Beam has its own `dry_run` and reads any text as true, even "false", so it would not submit the job.
BEAM_NAMES = frozenset({"dry_run"})
OPTION_PARAMETERS = tuple(parameter for parameter in PARAMETERS if parameter.name not in BEAM_NAMES)

# Set by the Dockerfile: the name of the image of this process, and the template file that was built with it.
IMAGE_VARIABLE = "SDK_CONTAINER_IMAGE"
TEMPLATE_VARIABLE = "TEMPLATE_FILE"

_IMAGE_IS_MISSING = (
    "sdk_container_image is missing: this image was built without its own name, which the workers need. Build it "
    "again with `docker build --build-arg=IMAGE=NAME --tag=NAME .`, where NAME is, for example, "
    "us-central1-docker.pkg.dev/PROJECT/REPOSITORY/sync-to-bigquery:TAG, and push it; or launch this one with "
    "--additional-pipeline-options=sdk_container_image=NAME"
)


class SyncOptions(PipelineOptions):
    """The parameters and outputs, as text. Of secrets it has only names.

    Beam copies all options into the job's description and logs them, so they must not include secrets.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        for parameter in OPTION_PARAMETERS:
            default = None if parameter.asks else parameter.default
            parser.add_argument(f"--{parameter.name}", default=default, help=parameter.help.replace("%", "%%"))
        for output in OUTPUTS:
            parser.add_argument(f"--{output.name}", help=argparse.SUPPRESS)
        # Declared so that Beam does not warn about them.
        for flag in LAUNCHER_FLAGS:
            parser.add_argument(f"--{flag}", nargs="?", const="true", help=argparse.SUPPRESS)


def pipeline_options(command_line: CommandLine) -> PipelineOptions:
    """Return Beam's options and the parameters except secrets, for `Pipeline` and its runner."""
    parameters = [
        f"--{parameter.name}={text}"
        for parameter in OPTION_PARAMETERS
        if (text := command_line.parameters.get(parameter.name)) is not None and not _is_secret(parameter, text)
    ]
    options = SyncOptions([*command_line.beam_arguments, *parameters])
    # Only a run that is not a dry run becomes a job, which shows our value under our name.
    options.view_as(TestOptions).dry_run = _FalseText("false")
    return options


class _FalseText(str):
    """A text that is false to Beam's `if options.dry_run`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


def _is_secret(parameter: Parameter, text: str) -> bool:
    """Whether the text is a secret itself, not where one is kept."""
    is_pem = parameter.type is ParameterType.PEM
    return parameter.secret and Secret(parameter.name, text, may_be_file=is_pem).is_plain


def show_outputs(options: PipelineOptions, outputs: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Add a run's outputs to the options, and the template that was built with the image of this process.

    Args:
        outputs: the values by the names of `OUTPUTS`; those without a value are left out.
        environment: the variables of this process.
    """
    shown = options.view_as(SyncOptions)
    for name, value in outputs.items():
        setattr(shown, name, value)
    shown.output_template = environment.get(TEMPLATE_VARIABLE) or None


def is_launched_from_template(options: PipelineOptions) -> bool:
    """Whether the launcher of a Flex Template runs this process: it alone asks for the job in a file."""
    return options.view_as(GoogleCloudOptions).template_location is not None


def runs_here(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process instead of on a service."""
    return options.view_as(StandardOptions).runner in (None, "DirectRunner", "FnApiRunner")


def runs_on_dataflow(options: PipelineOptions) -> bool:
    """Whether the pipeline becomes a Dataflow job, or the description of one."""
    return "dataflow" in (options.view_as(StandardOptions).runner or "").lower()


def complete_job_options(options: PipelineOptions, config: RunConfig, environment: Mapping[str, str]) -> None:
    """Set the workers' image of a Dataflow job, which is the image of this process, and its labels.

    Keeps an image and labels that the caller has set.

    Raises:
        ConfigError: the workers would run Beam's own image, which has no `sync_pipeline`; or a secret is in an
            environment variable, which the workers do not have.
    """
    problems = [
        f"{secret.parameter} is env:{secret.variable}, but Dataflow's workers do not have this variable: store the "
        f"secret in Secret Manager and pass {NAME_FORM}"
        for secret in dict.fromkeys(secrets_in(config))
        if secret.variable is not None
    ]
    if problems:
        raise ConfigError(problems)
    workers, setup = options.view_as(WorkerOptions), options.view_as(SetupOptions)
    workers.sdk_container_image = (
        workers.sdk_container_image or workers.worker_harness_container_image or environment.get(IMAGE_VARIABLE) or None
    )
    if workers.sdk_container_image is None and setup.setup_file is None and setup.extra_packages is None:
        raise ConfigError([_IMAGE_IS_MISSING])
    if setup.save_main_session is None:
        # Beam would send the workers a pickled copy of main.py; the image already has all they need.
        setup.save_main_session = False
    cloud = options.view_as(GoogleCloudOptions)
    labels = dataflow_labels(config) | (template_labels() if is_launched_from_template(options) else {})
    # If two labels have the same key, Beam uses the later one.
    cloud.labels = [f"{key}={value}" for key, value in labels.items()] + list(cloud.labels or [])
