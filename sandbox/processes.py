"""Starting, watching and stopping server processes. Linux only: it reads /proc."""

import contextlib
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ATTACHED = str(Path(__file__).with_name("attached.py"))
# For a machine that is slow, busy with other things, and reads the programs from its disk for the first time. A server
# that has ended is noticed at once.
START_SECONDS = 110.0
_LOG_LINES_SHOWN = 12
# Below the range of ports for outgoing connections, so that no connection takes a port between our check and the
# server's bind. Some systems have that range lower.
_PORTS = range(20_000, 32_000)
_PORT_TAKEN = re.compile("address already in use|failed to bind", re.IGNORECASE)


class SandboxError(Exception):
    """A server of the sandbox cannot be started or used. The message is for the person at the terminal."""


class PortTakenError(SandboxError):
    """Another program took a server's port before the server did."""


@dataclass(frozen=True)
class Process:
    """One server process. `started`, its start time in clock ticks, tells it from a later process with the same pid."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "-"
    stop_signal: int = signal.SIGTERM
    pid: int = 0
    started: int = 0


def free_port() -> int:
    """Return an unused TCP port on 127.0.0.1, which no other call gets while this process lives, in any process.

    Raises:
        SandboxError: there is none.
    """
    # A generator of its own: Hypothesis gives the common one the same state in every process.
    for port in random.SystemRandom().sample(_PORTS, min(len(_PORTS), 200)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _reserve(port)
            return port
    raise SandboxError("no free TCP port on 127.0.0.1")


def launch(process: Process, *, detached: bool) -> Process:
    """Start `process` and return it with its pid; its output goes to its log.

    Unless `detached`, the kernel stops the process when the calling *thread* ends for any reason. Call this from a
    thread that lives as long as the server.
    """
    parent_signal = 0 if detached else int(_signal_of_orphans(process))
    arguments = [
        sys.executable,
        "-IS",
        ATTACHED,
        str(os.getpid()),
        str(parent_signal),
        process.user,
        *process.command,
    ]
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        sys.executable,
        arguments,
        {**os.environ, **process.environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(process.log), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # In its own session a server does not receive Ctrl-C from the terminal; we do, and stop the servers in order.
        setsid=True,
    )
    return replace(process, pid=pid, started=_start_time(pid))


def is_alive(process: Process) -> bool:
    """Return whether this process, and not another one with its pid, still runs."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return process.pid > 0 and _start_time(process.pid) == process.started


def wait_for_exit(process: Process, seconds: float) -> int | None:
    """Wait until our child `process` has ended; return its exit status, or None after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def wait_until_ready(process: Process, probe: Callable[[], object], seconds: float = START_SECONDS) -> None:
    """Call `probe` until it returns without an exception.

    Raises:
        PortTakenError: the process ends because its port is taken.
        SandboxError: the process ends or `seconds` pass; the message has the last lines of the log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            probe()
        except Exception as error:  # noqa: BLE001 - any exception of a client means "not ready" until the deadline
            if not is_alive(process):
                raise _ended(process) from None
            if time.monotonic() > deadline:
                reason = f"{process.name} was not ready after {seconds:.0f} s ({error})"
                raise SandboxError(f"{reason}; {log_tail(process.log)}") from None
            time.sleep(0.05)
        else:
            # If its port was taken, another server answered.
            if not is_alive(process):
                raise _ended(process)
            return


def signal_to_stop(process: Process) -> bool:
    """Send the process its stop signal; return whether it was there."""
    is_there = is_alive(process)
    if is_there:
        os.kill(process.pid, process.stop_signal)
    return is_there


def stop(process: Process, seconds: float = 10) -> None:
    """Stop the process with its stop signal, after `seconds` with SIGKILL. Does nothing if the process has ended."""
    if not signal_to_stop(process):
        return
    deadline = time.monotonic() + seconds
    while is_alive(process):
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.01)


def log_tail(log: Path) -> str:
    """Return the name and the last lines of the log, for an error message."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    if not lines:
        return f"its log {log} is empty"
    shown = "\n".join(f"  {line}" for line in lines[-_LOG_LINES_SHOWN:])
    return f"its log {log} ends with:\n{shown}"


def _ended(process: Process) -> SandboxError:
    taken = process.log.exists() and _PORT_TAKEN.search(process.log.read_text(errors="replace"))
    kind = PortTakenError if taken else SandboxError
    return kind(f"{process.name} ended while starting; {log_tail(process.log)}")


def _reserve(port: int) -> None:
    """Take the name of the port in the kernel's list of abstract names, until this process ends.

    Raises:
        OSError: a living process has it; its server may not listen yet.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0sandbox-port-{port}")
    except OSError:
        name.close()
        raise
    name.detach()  # the file descriptor stays open


def _signal_of_orphans(process: Process) -> signal.Signals:
    # On SIGQUIT PostgreSQL's child processes end too.
    return signal.SIGQUIT if process.stop_signal == signal.SIGINT else signal.SIGKILL


def _start_time(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot; 0 if it does not exist or is a zombie."""
    try:
        # The second field is the command's name in parentheses; the name may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
