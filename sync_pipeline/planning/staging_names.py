"""The names of what a run stages, and the patterns by which a later run recognises them."""

from __future__ import annotations

import re
import uuid
from datetime import datetime

from sync_pipeline.bigquery_api.own_tables import STAGING, TABLE_NAME
from sync_pipeline.parameters.config import DestinationConfig
from sync_pipeline.smart_sync.interval import LOWEST_NUMBER, Bound, bound_text

# Replaces the timestamp in names of runs that do not depend on one.
NO_START = "none"

# The format of `folder_name`, and nothing like it: anybody who may write to the bucket names objects, and what is found
# by it names what is deleted.
FOLDER = re.compile(
    rf"start=(?P<start>{NO_START}|0|[0-9]{{20}}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{6}}\.[0-9]{{6}}),"
    rf"run=(?P<run>{TABLE_NAME.pattern})/"
)


def new_run_id(started_at: datetime) -> str:
    """Return a unique id that sorts by time, such as `20250722T150000_1f0c9a7b`."""
    return f"{started_at:%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}"


def start_name(latest: Bound | None) -> str:
    """Return the destination's latest timestamp or number as text that sorts alike; an empty destination is first."""
    if latest is None:
        return "0"
    if not isinstance(latest, datetime):
        return f"{latest - LOWEST_NUMBER:020}"
    return bound_text(latest).removesuffix("+00").replace(" ", "T").replace(":", "")


def folder_name(start: str, name: str) -> str:
    """Return the name of the folder of a run's files for one table.

    Args:
        start: from `start_name`, or NO_START.
        name: see `TableSync.name`.
    """
    return f"start={start},run={name}/"


def staging_table_id(destination: DestinationConfig, name: str, kind: str = STAGING) -> str:
    """Return the id of a staging table, in `staging_dataset` or else in the destination's dataset.

    Args:
        name: see `TableSync.name`.
        kind: the prefix of its name.
    """
    return f"{destination.project}.{destination.staging_dataset or destination.dataset}.{kind}_{name}"
