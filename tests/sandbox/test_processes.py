"""Server processes are started, watched and stopped without ever touching another process."""

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from sandbox.processes import Process, SandboxError, is_alive, launch, log_tail, stop, wait_until_ready


def _process(folder: Path, program: str) -> Process:
    return Process(name="server", command=(sys.executable, "-IS", "-c", program), log=folder / "server.log")


def test_stop_ends_the_process(tmp_path: Path) -> None:
    process = launch(_process(tmp_path, "import time; time.sleep(60)"), detached=False)
    assert is_alive(process)
    stop(process)
    assert not is_alive(process)
    stop(process)


def test_stop_uses_force_in_the_end(tmp_path: Path) -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    process = launch(_process(tmp_path, program), detached=False)
    wait_until_ready(process, lambda: process.log.read_text().index("deaf"))
    stop(process, seconds=0.1)
    assert not is_alive(process)


def test_a_reused_pid_is_another_process(tmp_path: Path) -> None:
    process = launch(_process(tmp_path, "import time; time.sleep(60)"), detached=False)
    earlier = dataclasses.replace(process, started=process.started - 1)
    assert not is_alive(earlier)
    stop(earlier)
    assert is_alive(process)
    stop(process)


def test_waiting_ends_when_the_process_does(tmp_path: Path) -> None:
    process = launch(_process(tmp_path, "raise SystemExit('bad setting')"), detached=False)
    started = time.monotonic()
    with pytest.raises(
        SandboxError, match=r"server ended while starting; its log .*server\.log ends with:\n  bad setting"
    ):
        wait_until_ready(process, _never)
    assert time.monotonic() - started < 10


def test_waiting_ends_at_the_deadline(tmp_path: Path) -> None:
    process = launch(_process(tmp_path, "import time; time.sleep(60)"), detached=False)
    with pytest.raises(SandboxError, match=r"server was not ready after 0 s \(not yet\); its log .* is empty"):
        wait_until_ready(process, _never, seconds=0.2)
    stop(process)


def test_the_log_is_shown_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert log_tail(log).splitlines()[1:] == [f"  line {number}" for number in range(88, 100)]


def _never() -> None:
    raise ConnectionError("not yet")
