"""A run in this process that is told to end, by SIGTERM: it ends at once, and what it has staged is removed.

Its threads go on whatever one of them does, and may stage another file after all were removed. Only `exec` ends them in
one step; the process then goes on as this module's program: python -m sync_pipeline.cancellation FOLDER TABLE PROJECT.
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

from sync_pipeline.bigquery_client import open_client
from sync_pipeline.plan import SyncPlan
from sync_pipeline.run_log import start_logging
from sync_pipeline.sweep import remove

_LOGGER = logging.getLogger(__name__)

# What a shell reports of a process that SIGTERM has ended.
EXIT_CODE = 128 + signal.SIGTERM


@contextlib.contextmanager
def cleaning_up_when_told_to_end(plan: SyncPlan) -> Iterator[None]:
    """Within the block SIGTERM ends the run and removes what it has staged; the exit code is then 143.

    Outside the main thread, which alone can ask for signals, SIGTERM ends the process as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Python would call a handler only when the main thread is back from the database; the pipe tells at once.
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: None)
    previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, plan), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_writer)
        signal.signal(signal.SIGTERM, previous_handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, plan: SyncPlan) -> None:
    """Wait until the pipe ends, or begin the clean-up when it says SIGTERM; other signals pass through it as well."""
    while signals := os.read(reader, 1):
        if signals[0] == signal.SIGTERM:
            _clean_up_instead(plan)


def _clean_up_instead(plan: SyncPlan) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # A second signal must not end the clean-up; what is blocked stays so in the new program.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    package = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    words = ["-m", __name__, plan.staging_folder, plan.staging_table_id, plan.job_project]
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONPATH": path})  # noqa: S606 - no shell


def main(folder: str, table_id: str, project: str) -> int:
    """Remove what the run has staged, and return the exit code."""
    start_logging()
    _LOGGER.warning("the run was told to end (SIGTERM): removing what it has staged; a job in BigQuery goes on")
    remove(open_client(project), folder, table_id)
    return EXIT_CODE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
