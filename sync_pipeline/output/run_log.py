"""Logging of a run: single lines at INFO, with time and level; on a terminal what a person needs of them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from sync_pipeline.output.progress import PROGRESS
from sync_pipeline.output.screen import Screen
from sync_pipeline.output.terminal import is_terminal
from sync_pipeline.printable import on_one_line, printable

# Beam's format for a line that a worker in another process logged.
_WORKER_LINE = re.compile(r'message: "((?:[^"\\]|\\.)*)".* log_location: "([^"]*)"', re.DOTALL)


# Cloud Run sets it to the name of the job. https://cloud.google.com/run/docs/container-contract#jobs-env-vars
CLOUD_RUN_VARIABLE = "CLOUD_RUN_JOB"
_SEVERITIES = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})

# What a line says, for programs: where Cloud Logging takes fields, they are `jsonPayload.sync.…`.
FIELDS = "sync"


def fields(values: Mapping[str, object], screen: str | None = None) -> dict[str, object]:
    """Return `extra` for a logger: what the line says, as names and values without those that are None.

    Args:
        screen: see `on_screen`.
    """
    return {FIELDS: {name: value for name, value in values.items() if value is not None}, **on_screen(screen)}


def on_screen(text: str | None) -> dict[str, object]:
    """Return `extra` for a logger: what a terminal shows instead of the line, nothing if it is empty."""
    return {} if text is None else {"screen": text}


def pairs(values: Mapping[str, object]) -> str:
    """Return names and values as the end of a line."""
    return " ".join(f"{name}={value}" for name, value in values.items())


class _LineFormatter(logging.Formatter):
    """Escapes terminal control sequences. A record of this package always takes one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return on_one_line(line) if record.name.startswith("sync_pipeline") else printable(line)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, which Cloud Run makes an entry of Cloud Logging.

    https://cloud.google.com/run/docs/logging#using-json
    """

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        line = {
            "severity": severity_of(record),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": printable(message),
        }
        said = getattr(record, FIELDS, None)
        return json.dumps(line if said is None else {**line, FIELDS: said})


def severity_of(record: logging.LogRecord) -> str:
    """Return the severity as Cloud Logging names it."""
    return record.levelname if record.levelname in _SEVERITIES else "DEFAULT"


def start_logging() -> None:
    """Log to standard error at INFO and above."""
    handler: logging.Handler
    if is_terminal(sys.stderr):
        handler = Screen(sys.stderr, PROGRESS.line)
    elif os.environ.get(CLOUD_RUN_VARIABLE):
        handler = logging.StreamHandler()
        handler.setFormatter(_JsonFormatter())
    else:
        handler = logging.StreamHandler()
        formatter = _LineFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # This logger reports every type annotation that Beam ignores.
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)


@contextlib.contextmanager
def live_progress() -> Iterator[None]:
    """Show the progress on one line within the block, if the log goes to a terminal."""
    with contextlib.ExitStack() as stack:
        for screen in _screens():
            stack.enter_context(screen.live())
        yield


def stop_progress() -> None:
    """Remove the line about the progress, if there is one: the process is about to become another program."""
    for screen in _screens():
        screen.stop()


def _screens() -> list[Screen]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Screen)]


def show_own_lines_only() -> None:
    """Hide Beam's own log lines, tracebacks included: a local run prints this package's error at the end."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_own_lines)


def _own_lines(record: logging.LogRecord) -> bool:
    line = _WORKER_LINE.search(record.getMessage())
    if line is None:
        return not record.name.startswith("apache_beam")
    from google.protobuf import text_encoding

    record.msg, record.args = text_encoding.CUnescape(line[1]).decode(), ()
    return "/sync_pipeline/" in line[2]
