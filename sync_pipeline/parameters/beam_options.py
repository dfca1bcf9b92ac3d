"""Beam's options: the parameters that are not secret, and what a job on Dataflow needs besides.

Whoever reads a job's `sdkPipelineOptions` finds them there.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Mapping

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import LAUNCHER_FLAGS, CommandLine
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.secrets import NAME_FORM, secrets_in
from sync_pipeline.parameters.table import PARAMETERS

# Beam has a `dry_run` of its own, and takes any text for true, "false" as well: the job would not be submitted.
BEAM_NAMES = frozenset({"dry_run"})
OPTION_PARAMETERS = tuple(
    parameter for parameter in PARAMETERS if not parameter.secret and parameter.name not in BEAM_NAMES
)

# Set by the Dockerfile: the name of the image that this process runs in.
IMAGE_VARIABLE = "SDK_CONTAINER_IMAGE"

# https://cloud.google.com/resource-manager/docs/labels-overview: lower case, digits, dashes and underscores.
_MAX_LABEL_LENGTH = 63

_IMAGE_IS_MISSING = (
    "sdk_container_image is missing: this image was built without its own name, by which the workers get it. Build it "
    "again with `docker build --build-arg=IMAGE=NAME --tag=NAME .`, where NAME is such as "
    "us-central1-docker.pkg.dev/PROJECT/REPOSITORY/sync-to-bigquery:TAG, and push it; or launch this one with "
    "--additional-pipeline-options=sdk_container_image=NAME"
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


def runs_here(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process, and not on a service."""
    return options.view_as(StandardOptions).runner in (None, "DirectRunner", "FnApiRunner")


def runs_on_dataflow(options: PipelineOptions) -> bool:
    """Whether the pipeline becomes a job on Dataflow, or the description of one."""
    return "dataflow" in (options.view_as(StandardOptions).runner or "").lower()


def complete_job_options(options: PipelineOptions, config: SyncConfig, environment: Mapping[str, str]) -> None:
    """Give a job on Dataflow the image its workers run, which is this process's own, and its labels.

    What the caller has chosen stays: an image, or another value for one of the labels.

    Raises:
        ConfigError: the workers would run Beam's own image, in which there is no `sync_pipeline`; or a secret is to be
            found in the environment, which the workers do not have.
    """
    problems = [
        f"{secret.parameter} is env:{secret.variable}, and Dataflow's workers do not have this environment: store the "
        f"secret in Secret Manager and pass {NAME_FORM}"
        for secret in secrets_in(config)
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
        # Beam would hand the workers a copy of whatever main.py holds; all they need is in the image.
        setup.save_main_session = False
    cloud = options.view_as(GoogleCloudOptions)
    # Of two labels with one key Beam takes the later.
    cloud.labels = [f"{key}={value}" for key, value in job_labels(config).items()] + list(cloud.labels or [])


def job_labels(config: SyncConfig) -> dict[str, str]:
    """Return the labels by which jobs and their costs are found: where rows come from, and where they go."""
    labels = {
        "data_source": config.data_source,
        "destination_project": config.destination.project,
        "destination_dataset": config.destination.dataset,
        "destination_table": config.destination.table,
    }
    return {key: _label(value) for key, value in labels.items()}


def _label(value: str) -> str:
    allowed = re.sub("[^a-z0-9_-]", "_", value.lower())
    if len(allowed) <= _MAX_LABEL_LENGTH:
        return allowed
    # What has to be cut stays different from what begins the same.
    digest = hashlib.sha256(value.encode()).hexdigest()[:8]
    return f"{allowed[: _MAX_LABEL_LENGTH - len(digest) - 1]}_{digest}"
