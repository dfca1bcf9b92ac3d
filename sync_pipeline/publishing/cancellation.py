"""A run in this process that is told to end, by SIGTERM or Ctrl-C: it ends at once, and what it staged is removed.

Its threads go on whatever one of them does, and may stage another file after all were removed. Only `exec` ends them in
one step; the process then goes on as this module's program, with what `main` below takes as its arguments.
On Dataflow nobody is told: workers just stop, and the next run removes what they leave.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from sync_pipeline.bigquery_api.client import open_client
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.clean_up import remove
from sync_pipeline.run_log import start_logging

_LOGGER = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def cleanup_on_signal(plan: TableSync) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT end the run and remove what it has staged; it then exits with 143 or 130.

    Outside the main thread, which alone can ask for signals, they end the process as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Python would call a handler only when the main thread is back from the database; the pipe tells at once.
    previous_handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, plan), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_writer)
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, plan: TableSync) -> None:
    """Wait until the pipe ends, or begin the clean-up when it says so; other signals pass through it as well."""
    while signals := os.read(reader, 1):
        if signals[0] in _SIGNALS:
            _clean_up_instead(plan, signal.Signals(signals[0]))


def _clean_up_instead(plan: TableSync, received: signal.Signals) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # A second signal must not end the clean-up; what is blocked stays so in the new program.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    words = ["-m", __name__, received.name, plan.staging_folder, plan.staging_table_id, plan.job_project]
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONPATH": path})  # noqa: S606 - no shell


def main(received: str, folder: str, table_id: str, project: str) -> int:
    """Remove what the run has staged, and return what a shell reports of a process that the signal has ended."""
    start_logging()
    _LOGGER.warning("the run was told to end (%s): removing what it has staged; a job in BigQuery goes on", received)
    remove(open_client(project), folder, table_id)
    return 128 + signal.Signals[received]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
