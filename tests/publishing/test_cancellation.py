"""Signals within a run: asked for in the main thread only, and given back afterwards."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from sync_pipeline.bigquery_api import threads
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing import cancellation, clean_up
from sync_pipeline.publishing.cancellation import cleanup_on_signal
from tests.plans import plan, run_plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    threads = threading.active_count()
    with cleanup_on_signal(run_plan(plan())):
        assert signal.getsignal(number) is not before
        assert threading.active_count() == threads + 1
        os.kill(os.getpid(), signal.SIGURG)
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_other_threads_ask_for_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run() -> None:
        with cleanup_on_signal(run_plan(plan())):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def many_tables(mode: WriteMode) -> RunPlan:
    root = f"gs://bucket/{50_000 * 'x'}/"
    names = [f"t{number}" for number in range(50)]
    return run_plan(*(plan({"destination_bigquery_table": name}, write_mode=mode, staging_root=root) for name in names))


@pytest.mark.parametrize(
    ("number", "mode"), [(signal.SIGTERM, WriteMode.APPEND), (signal.SIGINT, WriteMode.REPLACE)], ids=str
)
def test_the_cleaner_starts_from_anywhere_though_the_main_thread_is_busy(
    tmp_path: Path, number: signal.Signals, mode: WriteMode
) -> None:
    """The main thread sits in a C function, as a driver does that waits for its server; the folder is another one.

    The names of the folders are longer than what the kernel takes as the arguments of a program.
    """
    program = f"""
import hashlib, sys
sys.path.insert(0, {str(ROOT)!r})
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing import cancellation
from tests.publishing.test_cancellation import many_tables
cancellation.__name__ = "cleaner"
with cancellation.cleanup_on_signal(many_tables({mode!s})):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    (tmp_path / "cleaner.py").write_text(
        "import signal, sys\nprint(sys.argv[1:], sorted(map(int, signal.pthread_sigmask(0, []))), sys.stdin.read())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        told = process.stdout.read()
    staged = [[table.staging_folder, list(table.temporary_table_ids)] for table in many_tables(mode).tables]
    assert len(staged[0][1]) == (2 if mode is WriteMode.REPLACE else 1)
    assert told == f"{[number.name, 'my-project']} [2, 15] {json.dumps(staged)}\n"
    assert len(told) > 2 * 2**20
    assert process.returncode == 0


def test_the_cleaner_removes_every_folder_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    existing = [SimpleNamespace(table_id=name) for name in ("_replacement_1", "_staging_1", "_staging_2", "_staging_3")]
    client = SimpleNamespace(list_tables=lambda dataset, retry: existing)
    monkeypatch.setattr(clean_up, "open_client", lambda project: client)
    monkeypatch.setattr(threads, "open_client", lambda project: project)
    monkeypatch.setattr(clean_up, "remove", lambda *told: removed.append(told))
    staged = '[["gs://b/1/", ["p.d._replacement_1", "p.d._staging_1"]], ["gs://b/2/", ["p.d._staging_2"]]]'
    code = cancellation.main(io.StringIO(staged), "SIGINT", "p")
    assert sorted(removed) == [
        ("p", "gs://b/1/", ["p.d._replacement_1", "p.d._staging_1"]),
        ("p", "gs://b/2/", ["p.d._staging_2"]),
    ]
    assert code == 130
