"""The Cloud Function: `on_event` receives CloudEvents and starts the steps that are due.

Environment: CHAINS, the folder of the rendered chains (default: `chains` beside this file); PATIENCE_SECONDS and
CHECK_HOURS, see `Conductor`.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import flask
import functions_framework
from cloudevents.http import CloudEvent

sys.path.insert(0, str(Path(__file__).parent))

from flow.chain import read_rendered
from flow.conductor import ChainError, Conductor
from flow.dataflow import Dataflow, DataflowError, DataflowUnavailableError
from flow.events import EventError, parse_event

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
_LOGGER = logging.getLogger("chain")

# Cloud Scheduler's time of a run, the same for all attempts.
# https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs#HttpTarget
_SCHEDULE_TIME = "X-CloudScheduler-ScheduleTime"


@functions_framework.cloud_event
def on_event(event: CloudEvent) -> None:
    """Handle an event. An exception makes Eventarc and Cloud Scheduler deliver it again, which is always safe."""
    problem = ""
    try:
        started = conductor().handle(parse_event(event["type"], event.data), _time())
    except EventError as error:
        problem = f"{error}: ignored"
    except DataflowUnavailableError:
        raise
    except (ChainError, DataflowError) as error:
        # The same event would end alike. The next check tries again, and tells it again.
        problem = str(error)
    else:
        for name in started:
            _LOGGER.info("started %s", name)
    if problem:
        _LOGGER.error("%s", problem)


@cache
def conductor() -> Conductor:
    """Return the conductor of the deployed chains."""
    folder = Path(os.environ.get("CHAINS") or Path(__file__).with_name("chains"))
    patience = float(os.environ.get("PATIENCE_SECONDS", "60"))

    def connect(project: str, region: str) -> Dataflow:
        return Dataflow(project, region, patience=patience)

    hours = float(os.environ.get("CHECK_HOURS", "24"))
    return Conductor(read_rendered(folder), cache(connect), patience=patience, check_hours=hours)


def _time() -> datetime:
    """Return the time for which Cloud Scheduler sends a request, the current one of another request."""
    text = flask.request.headers.get(_SCHEDULE_TIME, "")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
