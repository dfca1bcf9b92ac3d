"""What a run says while it runs: single lines at INFO, the same on Dataflow and on a person's screen."""

from __future__ import annotations

import logging
import re

from google.protobuf import text_encoding

from sync_pipeline.printable import on_one_line, printable

# How Beam prints a line that a worker in another process logged.
_WORKER_LINE = re.compile(r'message: "((?:[^"\\]|\\.)*)".* log_location: "([^"]*)"', re.DOTALL)


class _LineFormatter(logging.Formatter):
    """Writes nothing that a terminal would obey; a record of ours is one line, whatever a name in it holds."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return on_one_line(line) if record.name.startswith("sync_pipeline") else printable(line)


def start_logging() -> None:
    """Log to the standard error from INFO on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # It tells of every annotation of a transform that it makes no use of.
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)


def show_own_lines_only() -> None:
    """Leave Beam's own story out, tracebacks included: on a local runner it ends with an error of ours anyway."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_own_lines)


def _own_lines(record: logging.LogRecord) -> bool:
    line = _WORKER_LINE.search(record.getMessage())
    if line is None:
        return not record.name.startswith("apache_beam")
    record.msg, record.args = text_encoding.CUnescape(line[1]).decode(), ()
    return "/sync_pipeline/" in line[2]
