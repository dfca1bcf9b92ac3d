"""Programs on a terminal: what a person sees of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

TERMINAL = {"TERM": "xterm-256color", "NO_COLOR": ""}


def run_on_terminal(
    argv: Sequence[str], environment: Mapping[str, str] = TERMINAL, width: int = 100, cwd: str | None = None
) -> tuple[int, str]:
    """Run a program on a terminal; return its exit code, and all that it wrote there, control sequences included."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    with subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env={**os.environ, **environment}
    ) as process:
        os.close(slave)
        written = b""
        # Linux ends the stream by an error when nobody has the terminal open any more.
        with contextlib.suppress(OSError):
            while part := os.read(master, 65536):
                written += part
        os.close(master)
    return process.returncode, written.decode()


def visible(written: str) -> list[str]:
    """Return the lines that stay on the screen: what a carriage return and an erased line leave."""
    lines = []
    for line in written.replace("\r\n", "\n").split("\n"):
        shown = line.rpartition("\r\033[K")[2]
        lines.append(shown)
    return lines[:-1] if lines[-1] == "" else lines
