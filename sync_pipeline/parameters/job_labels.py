"""The labels of a job on Dataflow. Beam is not imported: the sandbox's Dataflow needs them without it."""

from __future__ import annotations

import hashlib
import re

import sync_pipeline
from sync_pipeline.parameters.run_config import RunConfig

# https://cloud.google.com/resource-manager/docs/labels-overview: lower case, digits, dashes and underscores.
_MAX_LABEL_LENGTH = 63


def template_labels() -> dict[str, str]:
    """Return the labels of a job that was launched from the template.

    Dataflow itself does not mark jobs of Flex Templates. Programs look for the label that templates carry which are
    built with Google's own tools; only those have its companions for name and version.
    https://github.com/GoogleCloudPlatform/DataflowTemplates
    """
    return {
        "goog-dataflow-provided-template-type": "flex",
        "template": "sync-to-bigquery",
        "template_version": _label(sync_pipeline.__version__),
    }


def dataflow_labels(config: RunConfig) -> dict[str, str]:
    """Return the labels that identify jobs and their costs: source and destination; of several tables, the dataset."""
    labels = {
        "data_source": config.data_source,
        "destination_project": config.destination_project,
        "destination_dataset": config.destination_dataset,
    }
    if config.single is not None:
        labels["destination_table"] = config.single.destination.table
    return {key: _label(value) for key, value in labels.items()}


def _label(value: str) -> str:
    allowed = re.sub("[^a-z0-9_-]", "_", value.lower())
    if len(allowed) <= _MAX_LABEL_LENGTH:
        return allowed
    # A hash keeps truncated labels distinct.
    digest = hashlib.sha256(value.encode()).hexdigest()[:8]
    return f"{allowed[: _MAX_LABEL_LENGTH - len(digest) - 1]}_{digest}"
