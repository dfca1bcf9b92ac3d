"""On SIGTERM or Ctrl-C a run in this process stops and deletes its staged files.

Other threads could stage another file after the deletion. Only `exec` ends all threads in one step, so the process
becomes this module's program, with the arguments of `main` below. What to delete is its standard input, a file in
memory: the arguments of a program are limited to 128 KiB each and 2 MiB in all, and a file on disk could stay behind.
Dataflow sends its workers no signal: they stop, and the next run deletes what they leave.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

from sync_pipeline.output.run_log import start_logging, stop_progress
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing.clean_up import remove_all

_LOGGER = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def cleanup_on_signal(plan: RunPlan) -> Iterator[None]:
    """Make SIGTERM and SIGINT within the block end the run and delete what it staged; the exit code is 143 or 130.

    Outside the main thread, which alone receives signals, they end the process as usual.
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


def _watch(reader: int, plan: RunPlan) -> None:
    """Read signals from the pipe until it ends; start the clean-up at the first that ends the run."""
    while signals := os.read(reader, 1):
        if signals[0] in _SIGNALS:
            _clean_up_instead(plan, signal.Signals(signals[0]))


def _clean_up_instead(plan: RunPlan, received: signal.Signals) -> NoReturn:
    stop_progress()
    sys.stdout.flush()
    sys.stderr.flush()
    # A second signal must not end the clean-up; what is blocked stays so in the new program.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    staged = [(table.staging_folder, table.temporary_table_ids) for table in plan.tables]
    file = os.memfd_create("staged")
    with open(file, "w", closefd=False) as text:
        json.dump(staged, text)
    os.lseek(file, 0, os.SEEK_SET)
    os.dup2(file, 0)
    words = ["-m", __name__, received.name, plan.run.job_project]
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "PYTHONPATH": path})  # noqa: S606 - no shell


def main(staged: IO[str], received: str, project: str) -> int:
    """Delete what the run staged, and return the exit code of a process that the signal ended.

    `staged`: JSON, for each table of the run a folder and the ids of its tables.
    """
    start_logging()
    _LOGGER.warning("the run was told to end (%s): removing what it has staged; a job in BigQuery goes on", received)
    remove_all(project, json.load(staged))
    return 128 + signal.Signals[received]


if __name__ == "__main__":
    sys.exit(main(sys.stdin, *sys.argv[1:]))
