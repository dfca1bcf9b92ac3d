"""Logging of a run: single lines at INFO, identical on Dataflow and on a terminal."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from sync_pipeline.printable import on_one_line, printable

# Beam's format for a line that a worker in another process logged.
_WORKER_LINE = re.compile(r'message: "((?:[^"\\]|\\.)*)".* log_location: "([^"]*)"', re.DOTALL)


# What a line says, for programs: where Cloud Logging takes fields, they are `jsonPayload.sync.…`.
FIELDS = "sync"


def fields(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return `extra` for a logger: what the line says, as names and values without those that are None."""
    return {FIELDS: {name: value for name, value in values.items() if value is not None}}


def pairs(values: Mapping[str, object]) -> str:
    """Return names and values as the end of a line."""
    return " ".join(f"{name}={value}" for name, value in values.items())


class _LineFormatter(logging.Formatter):
    """Escapes terminal control sequences. A record of this package always takes one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return on_one_line(line) if record.name.startswith("sync_pipeline") else printable(line)


def start_logging() -> None:
    """Log to standard error at INFO and above."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # This logger reports every type annotation that Beam ignores.
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)


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
