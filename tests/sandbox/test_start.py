"""A sandbox that cannot start at once starts at a second attempt, or the reason is seen."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import SandboxError, processes, running, stack
from sandbox.processes import free_port

_ROOT = Path(__file__).resolve().parents[2]
# With these, a sandbox starts only Cloud Storage and Dataflow; nobody calls the addresses.
_OTHER_SERVERS = {
    "SANDBOX_POSTGRESQL_DSN": "host=127.0.0.1 port=1 dbname=demo user=reader",
    "SANDBOX_MONGODB_URI": "mongodb://127.0.0.1:1/",
    "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1",
}


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that this process has, without an answer from it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def _other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANDBOX_FOLDER", raising=False)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    for name, value in _OTHER_SERVERS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_other_servers")
def test_a_port_that_was_taken_meanwhile(tmp_path: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([taken_port])
    monkeypatch.setattr(stack, "free_port", lambda: next(ports, 0) or free_port())
    with running(tmp_path) as endpoints:
        assert endpoints.storage_host != f"http://127.0.0.1:{taken_port}"
    assert "Address already in use" in (tmp_path / "storage.log").read_text()


@pytest.mark.usefixtures("_other_servers")
def test_ports_that_are_always_taken(tmp_path: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "free_port", lambda: taken_port)
    with (
        pytest.raises(SandboxError, match=r"storage ended while starting; [^$]*Address already in use"),
        running(tmp_path),
    ):
        pass


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(processes, "_PORTS", range(port, port + 1))
    with pytest.raises(SandboxError, match="no free TCP port"):
        free_port()
    other = f"from sandbox import processes; processes._PORTS = range({port}, {port + 1}); processes.free_port()"
    done = subprocess.run([sys.executable, "-c", other], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert "no free TCP port" in done.stderr


_CONFTEST = """
import pytest
from tests.session_end import end_session

@pytest.fixture(scope="session")
def endpoints(request):
    end_session(request, "mongodb ended while starting; its log ends with:\\n  the reason")
"""
_TESTS = """
def test_one(endpoints): print("ran")
def test_two(endpoints): print("ran")
def test_three(endpoints): print("ran")
"""


@pytest.mark.parametrize("processes", ["-n0", "-n1"])
def test_a_session_without_a_sandbox_ends_with_the_reason(tmp_path: Path, processes: str) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_server.py").write_text(_TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    words = [
        "-q",
        processes,
        "--dist=worksteal",
        f"--basetemp={tmp_path}/tests",
        "-pno:cacheprovider",
        "-pno:hypothesispytest",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "."],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ended while starting; its log ends with:\n  the reason" in done.stderr
    assert "Interrupted: mongodb ended while starting" in done.stdout
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.INTERRUPTED
